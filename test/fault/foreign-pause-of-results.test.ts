import { Queue as Queue5 } from 'bullmq5';
import { afterEach, expect, it } from 'vitest';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

let rig: KnowhereRig | undefined;
let queue: Queue5 | undefined;
afterEach(async () => {
  await queue?.close();
  await rig?.stop();
});

it('events that an older client drops from a results queue at its resume are delivered all the same', async () => {
  rig = await startKnowhere();
  const { harness } = rig;
  const { hostname, port } = new URL(redisUrl());
  queue = new Queue5('ours', { connection: { host: hostname, port: Number(port) }, prefix: harness.prefix });
  const push = (id: string): Promise<unknown> =>
    harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll, replyTo: 'ours' }, { jobId: id });
  const base = `${harness.prefix}:ours`;
  await push('first');
  await until(async () => (await harness.redis.llen(`${base}:wait`)) === 1);
  // From here on pauses of this queue are noticed.
  await until(async () => (await harness.redis.exists(`${base}:jobferry.heard`)) === 1, 30_000);
  await queue.pause();
  for (const id of ['second', 'third', 'fourth']) await push(id);
  await until(async () => (await harness.redis.llen(`${base}:wait`)) === 3);
  await queue.resume();
  expect(await harness.redis.lrange(`${base}:wait`, 0, -1)).toHaveLength(1);
  await harness.consume('ours');
  await until(() => new Set(harness.events.map(({ subject }) => subject)).size === 4, 60_000);
  expect(new Set(harness.events.map(({ id }) => id)).size).toBe(4);
}, 120_000);
