import { Job, type Queue } from 'bullmq';
import type { SubmissionState } from '../core/submission.ts';
import { dueAtOf, jobFields, queueKeys } from '../queues/bullmq-internals/layout.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { cancelOf, parseJson, recordOf, requestTextOf } from '../queues/job-hash.ts';
import { hashFields } from '../queues/keys.ts';

/** Larger fields are not fetched, because the board reads them again every few seconds. */
const maxFieldBytes = 262_144;

/** Fields of a job's hash that its producer or a worker can fill with anything. */
const largeFields = [
  jobFields.data,
  hashFields.record,
  hashFields.request,
  jobFields.progress,
  jobFields.returnvalue,
  jobFields.stacktrace,
  jobFields.failedReason,
  jobFields.opts,
  jobFields.name,
] as const;
const smallFields = [
  jobFields.timestamp,
  jobFields.delay,
  jobFields.priority,
  jobFields.processedOn,
  jobFields.finishedOn,
  jobFields.attemptsStarted,
  jobFields.attemptsMade,
  jobFields.oldAttemptsMade,
  jobFields.stalledCounter,
  jobFields.processedBy,
  jobFields.repeatJobKey,
  jobFields.deduplicationId,
  jobFields.deferredFailure,
  jobFields.parentKey,
  hashFields.cancel,
] as const;

/** A BullMQ job as it is stored, read without trusting that any part of it is small or well-formed. */
export interface StoredJob {
  job: Job;
  /** The original request, or else the job's data. */
  data: unknown;
  record: SubmissionState | undefined;
  progress: unknown;
  returnValue: unknown;
  /** When a delayed job is due, epoch ms. */
  dueAt: number | undefined;
  /** When a caller requested a cancel while a worker held the job, epoch ms. */
  cancelRequestedAt: number | undefined;
}

/** Reads jobs by id in two round trips for all of them; ids that are not jobs are left out. */
export async function readStoredJobs(
  connection: RedisConnection,
  queue: Queue,
  ids: readonly string[],
): Promise<StoredJob[]> {
  if (ids.length === 0) return [];
  const sizing = connection.pipeline();
  for (const id of ids) for (const field of largeFields) sizing.hstrlen(queue.toKey(id), field);
  const sizes = (await sizing.exec()) ?? [];

  const reading = connection.pipeline();
  ids.forEach((id, index) => {
    const wanted = largeFields.filter((_field, position) => sizeOf(sizes, index, position) <= maxFieldBytes);
    reading.hmget(queue.toKey(id), ...wanted, ...smallFields);
    reading.zscore(queue.toKey(queueKeys.delayed), id);
  });
  const answers = (await reading.exec()) ?? [];

  return ids.flatMap((id, index) => {
    const values = answers[index * 2]?.[1];
    if (!Array.isArray(values)) return [];
    const fields = new Map<string, string>();
    const wanted: string[] = [];
    largeFields.forEach((field, position) => {
      const size = sizeOf(sizes, index, position);
      if (size <= maxFieldBytes) wanted.push(field);
      else fields.set(field, JSON.stringify(`${(size / 1_048_576).toFixed(1)} MB, too large to be shown here`));
    });
    [...wanted, ...smallFields].forEach((field, position) => {
      const value: unknown = values[position];
      if (typeof value === 'string') fields.set(field, value);
    });
    // Every job has both; the other hashes of a queue, such as `meta`, have neither.
    if (!fields.has(jobFields.timestamp) || !fields.has(jobFields.opts)) return [];
    const dueAt = dueAtOf(answers[index * 2 + 1]?.[1]);
    return [build(queue, id, fields, dueAt)];
  });
}

function sizeOf(sizes: readonly [Error | null, unknown][], index: number, position: number): number {
  const size = sizes[index * largeFields.length + position]?.[1];
  return typeof size === 'number' ? size : 0;
}

function build(queue: Queue, id: string, fields: ReadonlyMap<string, string>, dueAt: number | undefined): StoredJob {
  const number = (field: string): number | undefined => {
    const value = Number(fields.get(field));
    return fields.has(field) && Number.isFinite(value) ? value : undefined;
  };
  const name = fields.get(jobFields.name) ?? '';
  const hash = Object.fromEntries(fields);
  const data = parse(requestTextOf(hash));
  const progress = parse(fields.get(jobFields.progress)) ?? 0;
  const job = new Job(queue, name, {}, {}, id);
  job.opts = readOptions(fields.get(jobFields.opts));
  job.timestamp = number(jobFields.timestamp) ?? 0;
  job.delay = number(jobFields.delay) ?? 0;
  job.priority = number(jobFields.priority) ?? 0;
  job.attemptsMade = number(jobFields.attemptsMade) ?? number(jobFields.oldAttemptsMade) ?? 0;
  job.attemptsStarted = number(jobFields.attemptsStarted) ?? 0;
  job.stalledCounter = number(jobFields.stalledCounter) ?? 0;
  job.stacktrace = readStack(fields.get(jobFields.stacktrace));
  assignDefined(job, {
    processedOn: number(jobFields.processedOn),
    finishedOn: number(jobFields.finishedOn),
    processedBy: fields.get(jobFields.processedBy),
    failedReason: fields.get(jobFields.failedReason),
    deferredFailure: fields.get(jobFields.deferredFailure),
    deduplicationId: fields.get(jobFields.deduplicationId),
    repeatJobKey: fields.get(jobFields.repeatJobKey),
    parentKey: fields.get(jobFields.parentKey),
  });
  return {
    job,
    data,
    record: recordOf(hash),
    progress,
    returnValue: parse(fields.get(jobFields.returnvalue)) ?? null,
    dueAt,
    cancelRequestedAt: cancelOf(hash),
  };
}

/** Text that is not JSON is shown as it is. */
function parse(text: string | undefined): unknown {
  return text === undefined ? undefined : (parseJson(text) ?? text);
}

function readOptions(text: string | undefined): Job['opts'] {
  try {
    return Job.optsFromJSON(text);
  } catch {
    return {};
  }
}

function readStack(text: string | undefined): string[] {
  const stack = parse(text);
  if (typeof stack === 'string') return [stack];
  return Array.isArray(stack) ? stack.filter((entry) => typeof entry === 'string') : [];
}

function assignDefined(job: Job, fields: Partial<Record<keyof Job, unknown>>): void {
  for (const [field, value] of Object.entries(fields)) if (value !== undefined) Object.assign(job, { [field]: value });
}
