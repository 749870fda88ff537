import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueGuard } from '../../src/queues/queue-guard.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

/** BullMQ wakes one blocked worker by a marker. Whoever takes it and dies, or hangs, leaves the others asleep. */
describe('a queue whose marker is gone', () => {
  const prefix = freshPrefix();
  const base = `${prefix}:knowhere.poll:`;
  let redis: Redis;

  beforeEach(() => {
    redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  });
  afterEach(async () => {
    await redis.del(`${base}wait`, `${base}delayed`, `${base}marker`);
    redis.disconnect();
  });

  const wake = (): Promise<number> => new QueueGuard(redis, prefix, 'knowhere.poll').wake(Date.now(), 3_000);
  const marker = (): Promise<string | null> => redis.zscore(`${base}marker`, '0');

  it('gets one while jobs wait', async () => {
    await redis.rpush(`${base}wait`, 'x');
    expect(await wake()).toBe(0);
    expect(await marker()).toBe('0');
  });

  it('gets one while delayed jobs are overdue, and none otherwise', async () => {
    await redis.zadd(`${base}delayed`, (Date.now() + 60_000) * 4_096, 'later');
    expect(await wake()).toBe(0);
    expect(await marker()).toBeNull();
    await redis.zadd(`${base}delayed`, (Date.now() - 5_000) * 4_096, 'overdue');
    expect(await wake()).toBeGreaterThan(4_000);
    expect(await marker()).toBe('0');
  });
});
