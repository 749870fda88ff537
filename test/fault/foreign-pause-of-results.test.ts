import { Queue as Queue5 } from 'bullmq5';
import { describe, expect, it, type TestContext } from 'vitest';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

/** Events put on the queue while an older client has it paused; at the resume all but the first are in no list. */
async function loseEvents({ onTestFinished }: TestContext, noticedFirst: boolean): Promise<KnowhereRig['harness']> {
  const rig = await startKnowhere();
  onTestFinished(() => rig.stop());
  const { harness } = rig;
  const { hostname, port } = new URL(redisUrl());
  const queue = new Queue5('results-ours', {
    connection: { host: hostname, port: Number(port) },
    prefix: harness.prefix,
  });
  onTestFinished(() => queue.close());
  const push = (id: string): Promise<unknown> =>
    harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll, replyTo: 'results-ours' }, { jobId: id });
  const base = `${harness.prefix}:results-ours`;
  await push('first');
  await until(async () => (await harness.redis.llen(`${base}:wait`)) === 1);
  // From here on pauses of this queue are noticed.
  if (noticedFirst) await until(async () => (await harness.redis.exists(`${base}:jobferry.heard`)) === 1, 60_000);
  await queue.pause();
  for (const id of ['second', 'third', 'fourth']) await push(id);
  await until(async () => (await harness.redis.llen(`${base}:wait`)) === 3);
  await queue.resume();
  expect(await harness.redis.lrange(`${base}:wait`, 0, -1)).toHaveLength(1);
  return harness;
}

/** As 1,000 further events do, which a busy queue has within seconds. */
async function loseTheNews({ redis, prefix }: KnowhereRig['harness']): Promise<void> {
  await redis.xadd(`${prefix}:results-ours:events`, 'MAXLEN', 1, '*', 'event', 'waiting', 'jobId', 'another');
}

async function allTold(harness: KnowhereRig['harness']): Promise<void> {
  await harness.consume('results-ours');
  await until(() => new Set(harness.events.map(({ subject }) => subject)).size === 4, 90_000);
  expect(new Set(harness.events.map(({ id }) => id)).size).toBe(4);
}

describe(
  'events that an older client drops from a results queue at its resume',
  { timeout: 180_000, concurrent: true },
  () => {
    it('are delivered all the same', async (context) => {
      await allTold(await loseEvents(context, true));
    });

    it('are delivered when nobody looked at the queue before', async (context) => {
      await allTold(await loseEvents(context, false));
    });

    it('are delivered when the pause was trimmed away before it was seen', async (context) => {
      const harness = await loseEvents(context, true);
      await loseTheNews(harness);
      await allTold(harness);
    });

    it('are delivered by workers that have put none there', async (context) => {
      const harness = await loseEvents(context, true);
      await harness.stopWorkers();
      await loseTheNews(harness);
      await harness.startWorkers();
      await allTold(harness);
    });
  },
);
