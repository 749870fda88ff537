import { Worker } from 'bullmq';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
});

async function run(id: string, data: object = {}): Promise<void> {
  await rig!.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll, ...data }, { jobId: id });
}

/** Every different event about a submission. */
function told(id: string): CompletionEvent[] {
  const about = rig!.harness.events.filter((event) => event.subject === id);
  return [...new Map(about.map((event) => [event.id, event])).values()];
}

describe('a submission id that is used again', () => {
  it('after its jobs were cleaned is told again, under another event id', async () => {
    rig = await startKnowhere();
    const poll = rig.harness.queue('knowhere.poll');
    for (let day = 1; day <= 3; day += 1) {
      await run('daily');
      await until(() => told('daily').length === day);
      await until(async () => (await poll.getCompletedCount()) === 1);
      await poll.clean(0, 100, 'completed');
    }
    expect(rig.created()).toHaveLength(3);
    const vendorJobs = told('daily').map((event) => event.data.vendorJobs[0]?.id);
    expect(new Set(vendorJobs).size).toBe(3);
    for (const event of told('daily')) expect(event.id).toMatch(/^knowhere\.daily\.[a-z0-9]+$/);
  });

  it('right after a removal keeps no first use from being told', async () => {
    rig = await startKnowhere();
    const { harness } = rig;
    const seconds = { taken: ['succeeded', {}], refused: ['rejected', { input: { sourceType: 'nowhere' } }] } as const;
    for (const id of Object.keys(seconds)) {
      await run(id, { poll: { initialDelayMs: 60_000, maxDelayMs: 60_000 }, metadata: { use: 'first' } });
      await until(async () => (await harness.record('knowhere', id))?.startsWith('polling '));
      await until(async () => (await harness.queue('knowhere.submit').getJob(id)) === undefined);
    }
    await harness.queue('knowhere.poll').obliterate({ force: true });
    for (const [id, [, data]] of Object.entries(seconds)) await run(id, { ...data, metadata: { use: 'second' } });
    for (const [id, [outcome]] of Object.entries(seconds)) {
      await until(() => told(id).length === 2, 45_000);
      expect(told(id).map(({ data }) => [data.outcome, data.metadata?.['use']])).toEqual([
        [outcome, 'second'],
        ['canceled', 'first'],
      ]);
    }
    expect(await harness.redis.hlen(`${harness.prefix}:jobferry:open:knowhere`)).toBe(0);
  }, 60_000);

  it('beside a results job that failed for good is told', async () => {
    rig = await startKnowhere();
    const { harness } = rig;
    const failing = new Worker('results-picky', async () => Promise.reject(new Error('no')), {
      connection: harness.redis.duplicate(),
      prefix: harness.prefix,
      settings: { backoffStrategy: () => -1 },
    });
    failing.on('error', () => undefined);
    await run('twice', { replyTo: 'results-picky' });
    const picky = harness.queue('results-picky');
    await until(async () => (await picky.getJobCountByTypes('failed', 'delayed')) === 1);
    await failing.close();
    const [first] = await picky.getJobs(['failed', 'delayed']);
    await harness.redis.zrem(`${harness.prefix}:results-picky:delayed`, first!.id!);
    await harness.redis.zadd(`${harness.prefix}:results-picky:failed`, Date.now(), first!.id!);
    await harness.queue('knowhere.poll').clean(0, 100, 'completed');
    await run('twice', { replyTo: 'results-picky' });
    await harness.consume('results-picky');
    await until(() => told('twice').length === 1);
    expect(told('twice')[0]?.id).not.toBe(first!.id);
  });

  it('because numbers began anew is told', async () => {
    rig = await startKnowhere();
    const { harness } = rig;
    const data = { input: urlInput(), poll: quickPoll };
    const first = await harness.push('knowhere', 'parse', data);
    await until(() => told(`knowhere-${first.id}`).length === 1);
    await until(async () => (await harness.queue('knowhere.poll').getCompletedCount()) === 1);
    for (const queue of ['knowhere.submit', 'knowhere.poll']) await harness.queue(queue).obliterate({ force: true });
    const second = await harness.push('knowhere', 'parse', data);
    expect(second.id).toBe(first.id);
    await until(() => told(`knowhere-${first.id}`).length === 2);
    expect(rig.created()).toHaveLength(2);
  });
});
