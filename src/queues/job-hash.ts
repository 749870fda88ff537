import { readRecord } from '../core/record.ts';
import { readCancelRequest, readOldRecord, type Resolution, type SubmissionState } from '../core/submission.ts';
import { jobFields } from './bullmq-internals/layout.ts';
import { hashFields, oversizedField } from './keys.ts';
import { maxJobDataBytes } from './submit-job.ts';

/** What the engine reads of a job's hash; a field that is missing is undefined. */
export interface JobHash {
  readonly [field: string]: string | undefined;
}

/** The stored record, in whichever place the version that wrote it kept it. */
export function recordOf(hash: JobHash): SubmissionState | undefined {
  return readRecord(hash[hashFields.record]) ?? readOldRecord(parseJson(hash[jobFields.progress]));
}

/** When a caller asked for a cancel, epoch ms. */
export function cancelOf(hash: JobHash): number | undefined {
  const at = Number(hash[hashFields.cancel]);
  return hash[hashFields.cancel] !== undefined && Number.isFinite(at)
    ? at
    : readCancelRequest(parseJson(hash[jobFields.progress]));
}

/** The request as it was when the submission was taken; before that, the job's data. */
export function requestTextOf(hash: JobHash): string | undefined {
  return hash[hashFields.request] ?? hash[jobFields.data];
}

export function decisionOf(hash: JobHash): Resolution | undefined {
  return parseJson(hash[hashFields.decision]) as Resolution | undefined;
}

/** True where the submit job stays until its submission is settled: another job, or a deduplication, waits for it. */
export function isHeld(hash: JobHash): boolean {
  return hash[jobFields.parentKey] !== undefined || hash[jobFields.deduplicationId] !== undefined;
}

/** @returns undefined for text that is missing or not valid JSON. */
export function parseJson(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Data larger than this is not parsed at all, bytes. */
const maxSalvagedBytes = 8 * maxJobDataBytes;

/** Lets go of data that will be refused for its size, before a small heap dies of many at a time. */
export function shrinkData(hash: JobHash): JobHash {
  const data = hash[jobFields.data];
  if (data === undefined || data.length <= maxJobDataBytes / 4) return hash;
  const bytes = Buffer.byteLength(data);
  if (bytes <= maxJobDataBytes) return hash;
  const parsed = bytes <= maxSalvagedBytes ? parseJson(data) : undefined;
  const { account, replyTo, metadata } = (parsed ?? {}) as Record<string, unknown>;
  return { ...hash, [jobFields.data]: JSON.stringify({ account, replyTo, metadata }), [oversizedField]: String(bytes) };
}
