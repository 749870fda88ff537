import type { RedisQueueBackend } from 'bullmq';

/** What BullMQ's scripts take and return. */

/** Where in the arguments of a script, keys included, the time of the caller stands. */
export const timePositions: Readonly<Record<string, number>> = {
  moveToActive: 12,
  moveToFinished: 15,
  moveToDelayed: 12,
  moveStalledJobsToWait: 11,
  retryJob: 12,
  moveToWaitingChildren: 9,
  changeDelay: 5,
};

/** The scripts that hand a job to a worker. */
const fetchingScripts: ReadonlySet<string> = new Set(['moveToActive', 'moveToFinished']);

/** A job as a script hands it to a worker. */
export interface FetchedJob {
  jobId: string;
  hash: Readonly<Record<string, string>>;
  /** What follows in the reply. */
  rest: readonly unknown[];
}

/** Reads `[[field, value, …], job id, …]`, the reply that hands a job to a worker. @returns undefined for every other reply */
export function readFetch(script: string, reply: unknown): FetchedJob | undefined {
  if (!fetchingScripts.has(script) || !Array.isArray(reply) || !Array.isArray(reply[0])) return undefined;
  const [fields, jobId, ...rest] = reply as [string[], string, ...unknown[]];
  const hash: Record<string, string> = {};
  for (let at = 0; at + 1 < fields.length; at += 2) hash[fields[at] ?? ''] = fields[at + 1] ?? '';
  return { jobId, hash, rest };
}

/** The other way round: the reply in which BullMQ finds this job. */
export function writeFetch(
  { jobId, rest }: FetchedJob,
  hash: Readonly<Record<string, string | undefined>>,
): readonly unknown[] {
  const fields = Object.entries(hash).flatMap(([field, value]) => (value === undefined ? [] : [field, value]));
  return [fields, jobId, ...rest];
}

/**
 * Gives a job back until later. One script removes the lock, writes the fields and delays the job, and it does nothing unless
 * `token` still holds the job. No attempt is spent.
 * @throws an error of which `isLockLost` is true where the token does not hold it
 */
export async function delayHeldJob(
  backend: RedisQueueBackend,
  jobId: string,
  token: string,
  { now, delayMs, fields }: { now: number; delayMs: number; fields: Record<string, string> | undefined },
): Promise<void> {
  await backend.moveToDelayed(jobId, now, delayMs, token, {
    skipAttempt: true,
    ...(fields === undefined ? {} : { fieldsToUpdate: fields }),
  });
}
