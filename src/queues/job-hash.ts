import { readRecord } from '../core/record.ts';
import { readCancelRequest, readOldRecord, type Resolution, type SubmissionState } from '../core/submission.ts';
import { maxJobDataBytes } from './submit-job.ts';

/**
 * Our own fields in the hash of a BullMQ job. No call of a BullMQ client writes them, so whatever an outsider does to
 * `data` or `progress` of a job, its submission goes on from what is known.
 */
export const hashFields = {
  /** The record (core/record.ts). */
  record: 'jobferry.record',
  /** The job's data as it was when its submission was taken, JSON text. */
  request: 'jobferry.request',
  /** When a caller asked for a cancel, epoch ms. */
  cancel: 'jobferry.cancel',
  /** What a person decided about a submit whose fate is unknown, JSON text. */
  decision: 'jobferry.decision',
  /** What the vendor answered a worker that had lost the job by then. Gone with the next record without an intent. */
  answer: 'jobferry.answer',
  /** In a submit job: its poll job has the record. */
  handedOver: 'jobferry.handed-over',
  /** In a submit job that a flow or a deduplication waits for: it is about to fail, as its submission did not succeed. */
  ended: 'jobferry.ended',
} as const;

/** What the engine reads of a job's hash; a field that is missing is undefined. */
export interface JobHash {
  readonly [field: string]: string | undefined;
}

/** The stored record, in whichever place the version that wrote it kept it. */
export function recordOf(hash: JobHash): SubmissionState | undefined {
  return readRecord(hash[hashFields.record]) ?? readOldRecord(parseJson(hash['progress']));
}

/** When a caller asked for a cancel, epoch ms. */
export function cancelOf(hash: JobHash): number | undefined {
  const at = Number(hash[hashFields.cancel]);
  return hash[hashFields.cancel] !== undefined && Number.isFinite(at)
    ? at
    : readCancelRequest(parseJson(hash['progress']));
}

/** The request as it was when the submission was taken; before that, the job's data. */
export function requestTextOf(hash: JobHash): string | undefined {
  return hash[hashFields.request] ?? hash['data'];
}

export function decisionOf(hash: JobHash): Resolution | undefined {
  return parseJson(hash[hashFields.decision]) as Resolution | undefined;
}

/** True where the submit job stays until its submission is settled: another job, or a deduplication, waits for it. */
export function isHeld(hash: JobHash): boolean {
  return hash['parentKey'] !== undefined || hash['deid'] !== undefined;
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

/** Stands for data that is larger than may be read, in bytes; `data` then holds only what says where an answer goes. */
export const oversizedField = 'jobferry.oversized';
/** Data larger than this is not parsed at all, bytes. */
const maxSalvagedBytes = 8 * maxJobDataBytes;

/** Lets go of data that will be refused for its size, before a small heap dies of many at a time. */
export function shrinkData(hash: JobHash): JobHash {
  const { data } = hash;
  if (data === undefined || data.length <= maxJobDataBytes / 4) return hash;
  const bytes = Buffer.byteLength(data);
  if (bytes <= maxJobDataBytes) return hash;
  const parsed = bytes <= maxSalvagedBytes ? parseJson(data) : undefined;
  const { account, replyTo, metadata } = (parsed ?? {}) as Record<string, unknown>;
  return { ...hash, data: JSON.stringify({ account, replyTo, metadata }), [oversizedField]: String(bytes) };
}

/** When a delayed job is due, epoch ms, from its score: BullMQ packs a sequence number into the low twelve bits. */
export function dueAtOf(score: unknown): number | undefined {
  const value = typeof score === 'string' || typeof score === 'number' ? Number(score) : Number.NaN;
  return Number.isFinite(value) ? Math.floor(value / 4_096) : undefined;
}
