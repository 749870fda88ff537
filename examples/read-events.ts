/**
 * Reads completion events and acts on each once. While `npm start` runs: npx tsx examples/read-events.ts
 *
 * Events are delivered at least once: after a crash between sending an event and noting that it was sent, the same
 * event comes again, with the same `id`. So the act and the note that it was done must not come apart. Three ways:
 *
 * 1. Make the act repeatable, such as "set the order's status to parsed". Then there is nothing to remember.
 * 2. Where the act is a write to your database, put the id into a table with a unique key in the same transaction:
 *      BEGIN; INSERT INTO handled_events (id) VALUES ($1) ON CONFLICT DO NOTHING; -- no row inserted: stop here
 *      UPDATE orders SET ...; COMMIT;
 * 3. Where it is something else, such as a mail, remember the id in Redis, as below. Claimed for a minute while the act
 *    runs and kept for a week once it is done: a crash in between repeats the act instead of losing it. That is the
 *    choice to make: an act that can not share a transaction with its note happens at least once or at most once.
 */
import { Redis } from 'ioredis';
import { onCompletion } from 'jobferry/client';

const redisUrl = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379';
const prefix = process.env['JOBFERRY_PREFIX'] ?? 'bull';
const redis = new Redis(redisUrl);

async function once(id: string, act: () => void | Promise<void>): Promise<void> {
  const key = `handled:${prefix}:${id}`;
  if ((await redis.set(key, 'claimed', 'EX', 60, 'NX')) === null) {
    if ((await redis.get(key)) === 'done') return;
    throw new Error(`${id} is being handled by another consumer`); // thrown: the event comes again, after a while
  }
  try {
    await act();
  } catch (error) {
    await redis.del(key);
    throw error;
  }
  await redis.set(key, 'done', 'EX', 604_800);
}

const consumer = await onCompletion(
  {
    succeeded: (event) =>
      once(event.id, () => console.log(`${event.subject} succeeded:`, event.data.vendorJobs[0]?.result)),
    rejected: (event) =>
      once(event.id, () => console.log(`${event.subject} was refused: ${event.data.error?.message}`)),
    otherwise: (event) =>
      once(event.id, () => console.log(`${event.subject} ${event.data.outcome}: ${event.data.error?.message ?? ''}`)),
  },
  { redisUrl, prefix, onError: (error) => console.error(error.message) },
);
console.log('reading events, Ctrl+C ends');

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void consumer.close().then(() => redis.disconnect());
  });
}
