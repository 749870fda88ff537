import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { silentLogger } from '../../src/ports/logger.ts';
import { UnreadEvents } from '../../src/workers/upkeep/unread-events.ts';
import { Harness, until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

it('events that nothing takes are removed once they are too old, with one line, and no others', async () => {
  const connection = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  const queue = new Queue('results', { connection, prefix: freshPrefix() });
  const lines: object[] = [];
  const logger = { ...silentLogger, warn: (fields: object) => void lines.push(fields), child: () => silentLogger };
  // Redis' clock is the one that counts: here it is an hour ahead of this machine's.
  const now = Date.now() + 3_600_000;
  const clock = { now: () => now, random: Math.random };
  const unread = new UnreadEvents(600, clock, logger);
  try {
    await queue.add('young', {}, { jobId: 'young', timestamp: now - 590_000 });
    expect(await unread.removeFrom(queue)).toBe(0);
    await queue.obliterate();
    for (const [id, age] of [
      ['old-1', 700_000],
      ['old-2', 610_000],
      ['young', 590_000],
    ] as const)
      await queue.add('event', {}, { jobId: id, timestamp: now - age });
    expect(await unread.removeFrom(queue)).toBe(2);
    expect((await queue.getJobs()).map((job) => job.id)).toEqual(['young']);
    expect(lines).toEqual([{ queue: 'results', removed: 2, olderThanSeconds: 600 }]);
    expect(await unread.removeFrom(queue)).toBe(0);
    await queue.pause();
    await queue.add('event', {}, { jobId: 'old-3', timestamp: now - 700_000 });
    expect(await new UnreadEvents(580, clock, logger).removeFrom(queue)).toBe(2);
  } finally {
    await queue.obliterate({ force: true });
    await queue.close();
    connection.disconnect();
  }
});

const isOf = (data: unknown, id: string): boolean => (data as { subject?: string }).subject === id;

it('workers remove them by themselves where the configuration says how old they may get', async () => {
  const harness = await Harness.start({
    env: { KNOWHERE_API_KEY: 'sk_x' },
    change: (config) => ({ ...config, retention: { ...config.retention, unreadEventsSeconds: 3_600 } }),
  });
  try {
    const queue = harness.queue('results-unread');
    await queue.add('event', {}, { jobId: 'forgotten', timestamp: Date.now() - 3_700_000 });
    // A queue that the harness takes no events from, and one submission that makes its workers deliver there.
    const id = await harness.submit('knowhere', 'parse', {}, { replyTo: 'results-unread' });
    await until(async () => (await queue.getWaiting()).some(({ data }) => isOf(data, id)));
    await until(async () => (await queue.getJob('forgotten')) === undefined, 25_000);
    expect((await queue.getWaiting()).map(({ data }) => isOf(data, id))).toEqual([true]);
  } finally {
    await harness.stop();
  }
}, 40_000);
