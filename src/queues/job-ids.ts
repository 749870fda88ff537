import { createHash } from 'node:crypto';
import { reservedIds } from './bullmq-internals/layout.ts';
import type { Stage } from './names.ts';

const maxIdLength = 512;

/**
 * Why BullMQ must not be given this job id, or undefined when it may.
 * Integers are refused by BullMQ itself, a colon separates its keys, and `0:…` is dropped without a word by `addBulk`.
 */
export function whyJobIdIsUnsafe(id: string): string | undefined {
  if (id === '') return 'is empty';
  if (id.length > maxIdLength) return `is longer than ${maxIdLength} characters`;
  if (reservedIds.has(id)) return `is a name that BullMQ uses for its own keys; it would damage the queue`;
  if (id.includes(':')) return 'contains a colon, which separates BullMQ’s keys';
  if (/^[+-]?\d+$/.test(id)) return 'is a whole number; BullMQ keeps those for itself';
  // eslint-disable-next-line no-control-regex -- control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(id)) return 'contains a control character';
  return undefined;
}

/** True for ids of the form that jobs without an id of their own get; they can not be chosen. */
export function isNumberedId(id: string, vendor: string): boolean {
  return id.startsWith(`${vendor}-`) && /^\d+$/.test(id.slice(vendor.length + 1));
}

/**
 * The submission id of a job: the job id, or `<vendor>-<n>` for the number that BullMQ gives a job without one.
 * @param opts - the job's options; BullMQ keeps an id there that the caller chose, also a whole number from a client that
 * takes those (Python, PHP, BullMQ 3 and 4).
 */
export function submissionIdOf(vendor: string, jobId: string, opts: { jobId?: unknown } = {}): string {
  const chosen = opts.jobId;
  const isChosen = (typeof chosen === 'string' || typeof chosen === 'number') && String(chosen) === jobId;
  return /^\d+$/.test(jobId) && !isChosen ? `${vendor}-${jobId}` : jobId;
}

/**
 * The id of the poll job of a submission: the submission id, unless BullMQ can not carry it, which happens when
 * a foreign producer pushed a job with an id that ours refuse.
 */
export function pollJobId(submissionId: string): string {
  return safeId(submissionId);
}

/** The id of the results job that carries an event: fixed by the event id, so that a second delivery is no second job. */
export function resultJobId(eventId: string): string {
  return safeId(eventId);
}

/** Where a submission's job can be, the later stage first. */
export function placesOf(vendor: string, submissionId: string): { stage: Stage; jobId: string }[] {
  const submitJobId = isNumberedId(submissionId, vendor) ? submissionId.slice(vendor.length + 1) : submissionId;
  return [
    { stage: 'poll', jobId: pollJobId(submissionId) },
    { stage: 'submit', jobId: submitJobId },
  ];
}

function safeId(id: string): string {
  if (whyJobIdIsUnsafe(id) === undefined) return id;
  return `sha256-${createHash('sha256').update(id).digest('hex').slice(0, 40)}`;
}
