import { afterEach, expect, it } from 'vitest';
import { hashFields } from '../../src/queues/keys.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
});

it('a job that something made failed goes on, however many jobs of flows failed with their submissions since', async () => {
  rig = await startKnowhere({ groups: 0 });
  const { harness } = rig;
  const base = `${harness.prefix}:knowhere.submit`;
  const now = Date.now();
  const failed = { finishedOn: now, failedReason: 'by hand' };
  await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'by-hand' });
  await harness.redis
    .multi()
    .lrem(`${base}:wait`, 0, 'by-hand')
    .hset(`${base}:by-hand`, failed)
    .zadd(`${base}:failed`, now - 60_000, 'by-hand')
    .exec();
  // BullMQ lists the latest first.
  const ended = Array.from({ length: 250 }, (_, index) => `child-${index}`);
  const pipeline = harness.redis.pipeline();
  for (const id of ended) {
    const job = { name: 'parse', data: '{}', opts: '{}', timestamp: now, parentKey: `${harness.prefix}:theirs:1` };
    pipeline.hset(`${base}:${id}`, { ...job, ...failed, [hashFields.ended]: 1 });
    pipeline.zadd(`${base}:failed`, now, id);
  }
  await pipeline.exec();
  await harness.startWorkers();
  expect((await harness.event('by-hand', 90_000)).data.outcome).toBe('succeeded');
  await until(async () => (await harness.redis.zcard(`${base}:failed`)) === ended.length);
  expect(harness.events.map(({ subject }) => subject)).toEqual(['by-hand']);
}, 120_000);
