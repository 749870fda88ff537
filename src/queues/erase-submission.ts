import { eventIdOf } from '../core/completion-event.ts';
import { jobFields } from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { parseJson, recordOf, requestTextOf } from './job-hash.ts';
import { placesOf, resultJobId } from './job-ids.ts';
import { openKey } from './keys.ts';
import { defaultResultQueue, resultQueuePattern, stageQueue } from './names.ts';
import { openQueueForReading } from './open-queue.ts';
import { RecordStore } from './record-store.ts';

export type EraseResult =
  /** `removed` names what is gone: `knowhere.poll`, `results` …; `accounts` where its artifacts may lie. */
  | { kind: 'erased'; removed: string[]; accounts: string[] }
  /** It is not over: it has to be canceled first. */
  | { kind: 'under-way' }
  /** Its event waits in this queue for a consumer, which would never hear of it. */
  | { kind: 'event-unread'; queue: string }
  | { kind: 'unknown' };

/**
 * Removes what is kept in Redis of one settled submission: its jobs with record and log, its event, its note. Repeatable. Its
 * id can be used again at once.
 * @param options - `force` also removes an event that no consumer has taken.
 */
export async function eraseSubmission(
  redis: RedisConnection,
  prefix: string,
  vendor: string,
  submissionId: string,
  options: { force?: boolean } = {},
): Promise<EraseResult> {
  const store = new RecordStore(redis, prefix);
  const jobs: { queue: string; jobId: string }[] = [];
  const events = new Map<string, { queue: string; jobId: string }>();
  const accounts = new Set<string>();
  let isSettled = false;
  for (const { stage, jobId } of placesOf(vendor, submissionId)) {
    const queue = stageQueue(vendor, stage);
    const hash = await store.readHash({ queue, jobId });
    if (hash === undefined) continue;
    const record = recordOf(hash);
    // A submit job that was handed over says `accepted` for ever: its poll job knows better, and is looked at first.
    isSettled ||= record?.settled !== undefined;
    if (!isSettled || (hash[jobFields.finishedOn] === undefined && stage === 'poll')) return { kind: 'under-way' };
    jobs.push({ queue, jobId });
    if (record === undefined) continue;
    const request = (parseJson(requestTextOf(hash)) ?? {}) as { replyTo?: unknown; account?: unknown };
    const { replyTo, account = 'default' } = request;
    if (typeof account === 'string') accounts.add(account);
    const named = typeof replyTo === 'string' && resultQueuePattern.test(replyTo) ? [replyTo] : [];
    for (const results of [...named, defaultResultQueue]) {
      const event = { queue: results, jobId: resultJobId(eventIdOf(vendor, record)) };
      events.set(`${event.queue} ${event.jobId}`, event);
    }
  }
  if (jobs.length === 0) return { kind: 'unknown' };

  // The event first: where it has to stay, nothing is removed.
  const removed: string[] = [];
  for (const { queue, jobId } of [...events.values(), ...jobs]) {
    const opened = openQueueForReading(queue, redis, prefix);
    opened.on('error', () => undefined);
    try {
      const job = await opened.getJob(jobId);
      if (job === undefined) continue;
      const isEvent = !jobs.some((one) => one.queue === queue);
      if (isEvent && options.force !== true && !(await job.isCompleted())) return { kind: 'event-unread', queue };
      await job.remove();
      removed.push(queue);
    } finally {
      await opened.close();
    }
  }
  await redis.hdel(openKey(prefix, vendor), submissionId);
  return { kind: 'erased', removed, accounts: [...accounts] };
}
