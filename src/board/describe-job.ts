import { describeDuration, describeState } from '../core/describe.ts';
import { overallProgress, type SubmissionState, type VendorJob } from '../core/submission.ts';
import type { StoredJob } from './stored-job.ts';

/** What a person wants to know about a submission, most important first. */
export interface JobSummary {
  state: string;
  /** 1 to 100, if the vendor reports it or the submission is done. */
  percent?: number;
  /** Label to words. */
  facts: Record<string, unknown>;
}

/** The two facts about a queue that the wording depends on. */
export interface QueueRole {
  stage: 'submit' | 'poll';
  vendor: string;
}

/** A submission's job in words. Never throws, because the record may contain anything. */
export function summarizeSubmission(stored: StoredJob, role: QueueRole, now: number): JobSummary {
  try {
    const { record } = stored;
    return record === undefined ? summarizeUntaken(stored, now) : summarizeRecord(stored, record, role, now);
  } catch {
    return { state: 'its record cannot be read', facts: {} };
  }
}

function summarizeUntaken(stored: StoredJob, now: number): JobSummary {
  const { job, cancelRequestedAt: canceled } = stored;
  let state = 'waiting for a worker';
  if (canceled !== undefined) state = 'waiting for a worker, cancel requested';
  else if (job.finishedOn !== undefined)
    state = job.failedReason === undefined ? 'finished without a record' : 'failed without a record';
  else if (job.processedOn !== undefined) state = 'taken by a worker';
  return { state, facts: { ...whenFact('cancel requested', canceled, now), ...whenFact('due', stored.dueAt, now) } };
}

function summarizeRecord(stored: StoredJob, record: SubmissionState, role: QueueRole, now: number): JobSummary {
  const { settled, deadlineAt, lastError, polls, jobs } = record;
  // The submit job keeps the record as it was handed over; the poll job shows what has happened since.
  const handedOver = role.stage === 'submit' && settled === undefined && stored.job.finishedOn !== undefined;
  const state = handedOver ? `accepted, continues in ${role.vendor}.poll` : describeState(withCancel(record, stored));
  const percent = percentOf(record);
  const error = settled?.error ?? lastError;
  return {
    state,
    ...(percent === undefined || handedOver ? {} : { percent }),
    facts: {
      ...vendorJobFacts(jobs),
      ...(handedOver ? {} : { polls }),
      ...(settled === undefined && record.acceptedAt !== null && stored.dueAt !== undefined
        ? whenFact('last look', stored.job.processedOn, now)
        : {}),
      ...(settled === undefined ? whenFact('next look', stored.dueAt, now) : whenFact('settled', settled.at, now)),
      ...(settled === undefined && !handedOver
        ? whenFact(record.acceptedAt === null ? 'accept by' : 'deadline', deadlineAt, now)
        : {}),
      ...(settled === undefined ? whenFact('not before', record.notBefore, now) : {}),
      ...(error === undefined || error === null
        ? {}
        : { [settled === undefined ? 'last error' : 'error']: `${error.code}: ${error.message}` }),
    },
  };
}

function withCancel(record: SubmissionState, stored: StoredJob): SubmissionState {
  const at = record.cancelRequestedAt ?? stored.cancelRequestedAt;
  return at === undefined ? record : { ...record, cancelRequestedAt: at };
}

function vendorJobFacts(jobs: readonly VendorJob[]): Record<string, unknown> {
  const [only] = jobs;
  if (only === undefined) return {};
  if (jobs.length === 1) return { 'vendor job': describeVendorJob(only) };
  return { [`${jobs.length} vendor jobs`]: jobs.map(describeVendorJob) };
}

/** `job_abc: running, 42/100` */
export function describeVendorJob(job: VendorJob): string {
  const progress = job.progress === undefined ? '' : `, ${job.progress.done}/${job.progress.total}`;
  const error = job.error === undefined ? '' : ` (${job.error.code})`;
  return `${job.id}: ${job.outcome ?? job.vendorStatus ?? job.status}${job.outcome === undefined ? progress : ''}${error}`;
}

function percentOf(record: SubmissionState): number | undefined {
  // Bull Board draws the ring of a completed job green, so a submission that did not succeed shows none.
  if (record.settled !== undefined) return record.settled.outcome === 'succeeded' ? 100 : undefined;
  const progress = overallProgress(record);
  if (progress === undefined || !(progress.total > 0)) return undefined;
  // Bull Board draws the ring from 1 on.
  return Math.min(Math.max(Math.round((100 * progress.done) / progress.total), 1), 100);
}

/** `{ deadline: '2026-11-22 06:30:00 UTC, in 25 min 3 s' }`; empty if there is no such time. */
function whenFact(label: string, at: number | undefined, now: number): Record<string, string> {
  if (at === undefined || !Number.isFinite(at) || Math.abs(at) > 8.64e15) return {};
  const clock = new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
  const distance = at >= now ? `in ${describeDuration(at - now)}` : `${describeDuration(now - at)} ago`;
  return { [label]: `${clock}, ${distance}` };
}

/** A completion event in words, from the data of a results job; undefined for other data. */
export function summarizeEvent(data: unknown): JobSummary | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { type, subject, data: inner } = data as { type?: unknown; subject?: unknown; data?: unknown };
  if (
    typeof type !== 'string' ||
    !type.startsWith('jobferry.submission.') ||
    typeof inner !== 'object' ||
    inner === null
  ) {
    return undefined;
  }
  const { vendor, operation, polls, error, timings } = inner as Record<string, unknown>;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '?');
  const { enqueuedAt, settledAt } = (typeof timings === 'object' && timings !== null ? timings : {}) as Record<
    string,
    unknown
  >;
  const took = Date.parse(text(settledAt)) - Date.parse(text(enqueuedAt));
  const { code, message } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  return {
    state: `${type.slice('jobferry.submission.'.length)} · ${text(vendor)}.${text(operation)}`,
    facts: {
      submission: text(subject),
      ...(typeof polls === 'number' ? { polls } : {}),
      ...(Number.isFinite(took) ? { took: describeDuration(took) } : {}),
      ...(typeof code === 'string' ? { error: `${code}: ${text(message)}` } : {}),
    },
  };
}

/** A copy of a record with readable times. */
export function withReadableTimes(value: unknown, depth = 6): unknown {
  if (typeof value !== 'object' || value === null || depth <= 0) return value;
  if (Array.isArray(value)) return value.map((item) => withReadableTimes(item, depth - 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const isTime =
        typeof item === 'number' && /(?:At|^at|^since|Since|^notBefore)$/.test(key) && item > 1e12 && item < 1e14;
      return [key, isTime ? new Date(item).toISOString() : withReadableTimes(item, depth - 1)];
    }),
  );
}
