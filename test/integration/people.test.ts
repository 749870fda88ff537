import { Job } from 'bullmq';
import { afterEach, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/load-config.ts';
import { createProducer, catalogue, type Producer } from '../../src/index.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

let rig: KnowhereRig | undefined;
let producer: Producer<typeof catalogue> | undefined;
afterEach(async () => {
  await producer?.close();
  await rig?.stop();
});

async function start(
  options: Parameters<typeof startKnowhere>[0] = {},
): Promise<{ rig: KnowhereRig; producer: Producer<typeof catalogue> }> {
  rig = await startKnowhere(options);
  producer = createProducer({ vendors: catalogue, redisUrl: redisUrl(), prefix: rig.harness.prefix });
  return { rig, producer };
}

describe('a submit of unknown fate that waits for a person', () => {
  const waiting = {
    dialect: 'doc' as const,
    change: (config: Config): Config => ({ ...config, ambiguity: { 'knowhere.parse': 'wait' } }),
  };

  async function stuck(): Promise<{ rig: KnowhereRig; producer: Producer<typeof catalogue>; jobId: string }> {
    const started = await start(waiting);
    started.rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    await started.rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'stuck' });
    await until(async () =>
      /waiting for a person/.test((await started.producer.status('knowhere', 'stuck'))?.state ?? ''),
    );
    expect((await started.producer.status('knowhere', 'stuck'))?.acceptedAt).toBeNull();
    return { ...started, jobId: started.rig.created()[0]!.jobId! };
  }

  it('adopts the vendor job that the person names', async () => {
    const { rig, producer, jobId } = await stuck();
    expect(await producer.resolve('knowhere', 'stuck', { kind: 'adopt', vendorJobId: jobId })).toBe('resolved');
    const event = await rig.harness.event('stuck');
    expect(event.data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: jobId }] });
    expect(rig.creates()).toHaveLength(1);
  });

  it('sends again when the person says so', async () => {
    const { rig, producer } = await stuck();
    expect(await producer.resolve('knowhere', 'stuck', { kind: 'resend' })).toBe('resolved');
    expect((await rig.harness.event('stuck')).data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(2);
  });

  it('ends as unconfirmed when the person gives it up, or it may wait no longer', async () => {
    const { rig, producer } = await stuck();
    expect(await producer.resolve('knowhere', 'stuck', { kind: 'give-up' })).toBe('resolved');
    expect((await rig.harness.event('stuck')).data.outcome).toBe('unconfirmed');
    rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    const poll = { ...quickPoll, submitWithinMs: 3_000 };
    const id = await rig.harness.submit('knowhere', 'parse', urlInput(), { poll });
    expect((await rig.harness.event(id)).data.outcome).toBe('unconfirmed');
  });

  it('by the first of two people who decide differently, and the second is told', async () => {
    const { producer } = await stuck();
    const decide = (kind: 'give-up' | 'resend'): Promise<string> => producer.resolve('knowhere', 'stuck', { kind });
    const answers = await Promise.all([decide('give-up'), decide('resend'), decide('give-up')]);
    expect(answers).toEqual(['resolved', 'decided', 'resolved']);
  });

  it('and nothing else can be resolved', async () => {
    const { rig, producer } = await start();
    const id = await rig.harness.submit('knowhere', 'parse', urlInput('x.pdf?sandbox=stall'), {
      poll: { initialDelayMs: 30_000, maxDelayMs: 30_000 },
    });
    await until(async () => (await producer.status('knowhere', id))?.phase === 'polling');
    const { submittedAt, acceptedAt } = (await producer.status('knowhere', id))!;
    expect(Date.parse(acceptedAt!)).toBeGreaterThanOrEqual(Date.parse(submittedAt!));
    expect(await producer.resolve('knowhere', id, { kind: 'resend' })).toBe('not-waiting');
    expect(await producer.resolve('knowhere', 'nobody', { kind: 'resend' })).toBe('unknown');
  });
});

describe('a job that something made failed', () => {
  it('is taken up again and ends in its event', async () => {
    const { rig } = await start();
    await rig.harness.push(
      'knowhere',
      'parse',
      { input: urlInput(), poll: { ...quickPoll, initialDelayMs: 2_000, maxDelayMs: 2_000 } },
      { jobId: 'pushed-aside' },
    );
    const queue = rig.harness.queue('knowhere.poll');
    await until(async () => (await queue.getDelayedCount()) === 1);
    const { redis, prefix } = rig.harness;
    // As a worker with a stall limit of its own would leave it.
    await redis.zrem(`${prefix}:knowhere.poll:delayed`, 'pushed-aside');
    await redis.zadd(`${prefix}:knowhere.poll:failed`, Date.now(), 'pushed-aside');
    await redis.hset(
      `${prefix}:knowhere.poll:pushed-aside`,
      'failedReason',
      'job stalled more than allowable limit',
      'finishedOn',
      String(Date.now()),
    );
    expect(await (await Job.fromId(queue, 'pushed-aside'))?.isFailed()).toBe(true);
    const event = await rig.harness.event('pushed-aside', 25_000);
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  }, 40_000);
});
