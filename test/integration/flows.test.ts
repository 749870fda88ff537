import { FlowProducer, QueueEvents, Worker, type Job } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig;
let flows: FlowProducer;
const closing: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  rig = await startKnowhere();
  flows = new FlowProducer({ connection: rig.harness.redis.duplicate(), prefix: rig.harness.prefix });
  closing.push(() => flows.close());
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
  await rig.stop();
});

/** A worker of the user's own on a queue of theirs, which tells what the children of its jobs gave. */
async function parents(): Promise<{ values: unknown[]; failed: Record<string, string>[]; worker: Worker }> {
  const values: unknown[] = [];
  const failed: Record<string, string>[] = [];
  const worker = new Worker(
    'reports',
    async (job: Job) => {
      values.push(...Object.values(await job.getChildrenValues()));
      failed.push(await job.getFailedChildrenValues());
    },
    { connection: rig.harness.redis.duplicate(), prefix: rig.harness.prefix },
  );
  worker.on('error', () => undefined);
  closing.push(() => worker.close());
  await worker.waitUntilReady();
  return { values, failed, worker };
}

const failing = '?sandbox=fail--INTERNAL_ERROR';

function child(name: string, opts: object = {}, data: object = {}): Parameters<FlowProducer['add']>[0] {
  return {
    name: 'parse',
    queueName: 'knowhere.submit',
    data: { input: urlInput(name), poll: quickPoll, ...data },
    opts,
  };
}

describe('a submission as a child in a flow', () => {
  it('lets the parent run when it is settled, with the data of its event as the value', async () => {
    const { values } = await parents();
    await flows.add({
      name: 'report',
      queueName: 'reports',
      children: [child('a.pdf', { jobId: 'child-a' }), child('b.pdf', { jobId: 'child-b' })],
    });
    const events = [await rig.harness.event('child-a'), await rig.harness.event('child-b')];
    await until(() => values.length === 2);
    expect(values).toEqual(expect.arrayContaining(events.map((event) => event.data)));
    expect(rig.created()).toHaveLength(2);
    const submit = rig.harness.queue('knowhere.submit');
    await until(async () => (await submit.getCompletedCount()) === 2);
    expect(await submit.getJobCounts('active', 'waiting', 'waiting-children', 'failed')).toEqual({
      active: 0,
      waiting: 0,
      'waiting-children': 0,
      failed: 0,
    });
  });

  it('fails its parent where it did not succeed and the flow says so', async () => {
    const { values } = await parents();
    const { job } = await flows.add({
      name: 'report',
      queueName: 'reports',
      children: [child(`x.pdf${failing}`, { jobId: 'bad', failParentOnFailure: true })],
    });
    expect((await rig.harness.event('bad')).data.outcome).toBe('failed');
    await until(() => job.isFailed());
    expect(values).toEqual([]);
    const submit = (await rig.harness.queue('knowhere.submit').getJob('bad'))!;
    expect(await submit.isFailed()).toBe(true);
    expect(submit.failedReason).toMatch(/^failed: INTERNAL_ERROR/);
  });

  it('that waits for another submission is settled by its own work, not by that of its child', async () => {
    const { values } = await parents();
    const { job } = await flows.add({
      name: 'report',
      queueName: 'reports',
      children: [
        {
          ...child(`a.pdf${failing}`, { jobId: 'second', failParentOnFailure: true }),
          children: [child('b.pdf', { jobId: 'first', failParentOnFailure: true })],
        },
      ],
    });
    expect((await rig.harness.event('first')).data.outcome).toBe('succeeded');
    expect((await rig.harness.event('second')).data.outcome).toBe('failed');
    await until(() => job.isFailed());
    expect(values).toEqual([]);
    const second = (await rig.harness.queue('knowhere.submit').getJob('second'))!;
    expect(second.failedReason).toMatch(/^failed: INTERNAL_ERROR/);
  });

  it('that is bad input, or whose failure is ignored or dropped, is told to the parent', async () => {
    const { failed } = await parents();
    await flows.add({
      name: 'report',
      queueName: 'reports',
      children: [
        child('x', { jobId: 'refused', ignoreDependencyOnFailure: true }, { input: { sourceType: 'nowhere' } }),
        child(`y.pdf${failing}`, { jobId: 'dropped', removeDependencyOnFailure: true }),
        child('z.pdf', { jobId: 'good' }),
      ],
    });
    await until(() => failed.length === 1);
    expect(Object.values(failed[0]!)).toEqual([expect.stringMatching(/^rejected: invalid_submission/)]);
  });

  it('is settled once where its poll job is removed by hand, however it is removed', async () => {
    await parents();
    const slow = { poll: { initialDelayMs: 60_000, maxDelayMs: 60_000 } };
    const { job } = await flows.add({
      name: 'report',
      queueName: 'reports',
      children: [
        child('a.pdf', { jobId: 'removed', failParentOnFailure: true }, slow),
        child('b.pdf', { jobId: 'deleted' }, slow),
      ],
    });
    const { redis, prefix } = rig.harness;
    const poll = rig.harness.queue('knowhere.poll');
    const submit = rig.harness.queue('knowhere.submit');
    await until(async () => (await submit.getJobCountByTypes('waiting-children')) === 2);
    await until(async () => (await poll.getDelayedCount()) === 2);
    await (await poll.getJob('removed'))!.remove();
    const event = await rig.harness.event('removed', 30_000);
    expect(event.data).toMatchObject({ outcome: 'canceled', error: { code: 'job_removed' } });
    await until(() => job.isFailed());
    // As a script that tidies by key would.
    await redis.del(`${prefix}:knowhere.poll:deleted`);
    await redis.zrem(`${prefix}:knowhere.poll:delayed`, 'deleted');
    const second = await rig.harness.event('deleted', 60_000);
    expect(second.data).toMatchObject({ outcome: 'canceled', error: { code: 'job_removed' } });
    await until(async () => (await submit.getJobCountByTypes('waiting-children')) === 0);
    expect(new Set(rig.harness.events.map(({ id }) => id)).size).toBe(2);
  }, 100_000);
});

describe('a deduplication id', () => {
  it('holds until the submission is settled, and is free after it', async () => {
    const { harness } = rig;
    const opts = { deduplication: { id: 'invoice-17' } };
    const slow = { input: urlInput(), poll: { initialDelayMs: 2_000 } };
    const first = await harness.push('knowhere', 'parse', slow, opts);
    await until(async () => (await harness.queue('knowhere.poll').getDelayedCount()) === 1);
    const again = await harness.push('knowhere', 'parse', slow, opts);
    expect(again.id).toBe(first.id);
    await harness.event(`knowhere-${first.id}`);
    await until(async () => (await harness.queue('knowhere.submit').getCompletedCount()) === 1);
    const later = await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, opts);
    expect(later.id).not.toBe(first.id);
    await harness.event(`knowhere-${later.id}`);
    expect(rig.created()).toHaveLength(2);
  });
});

describe('waitUntilFinished', () => {
  it('ends with the event’s data for a held submit job, and at acceptance for every other', async () => {
    const { harness } = rig;
    const events = new QueueEvents('knowhere.submit', {
      connection: harness.redis.duplicate(),
      prefix: harness.prefix,
    });
    closing.push(() => events.close());
    await events.waitUntilReady();
    const data = { input: urlInput(), poll: quickPoll };
    const held = await harness.push('knowhere', 'parse', data, { deduplication: { id: 'one' }, jobId: 'held' });
    expect(await held.waitUntilFinished(events, 15_000)).toEqual((await harness.event('held')).data);
    const bad = await harness.push(
      'knowhere',
      'parse',
      { input: urlInput(`x${failing}`), poll: quickPoll },
      {
        deduplication: { id: 'two' },
        jobId: 'held-bad',
      },
    );
    await expect(bad.waitUntilFinished(events, 15_000)).rejects.toThrow(/^failed: INTERNAL_ERROR/);
    // One that is not held is over as a job when the vendor has accepted it, long before it is settled.
    const slow = { input: urlInput(), poll: { initialDelayMs: 60_000, maxDelayMs: 60_000 } };
    const other = await harness.push('knowhere', 'parse', slow, { jobId: 'not-held', delay: 300 });
    expect(await other.waitUntilFinished(events, 15_000)).toBe('handed over');
    expect(rig.created()).toHaveLength(3);
    expect(await harness.queue('knowhere.poll').getDelayedCount()).toBe(1);
    expect(harness.events.filter(({ subject }) => subject === 'not-held')).toEqual([]);
  });

  it('tells a second use of a known id how the first one ended', async () => {
    const { harness } = rig;
    const { values } = await parents();
    await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'known' });
    const event = await harness.event('known');
    await until(async () => (await harness.queue('knowhere.submit').getJob('known')) === undefined);
    await flows.add({ name: 'report', queueName: 'reports', children: [child('a.pdf', { jobId: 'known' })] });
    await until(() => values.length === 1);
    expect(values).toEqual([event.data]);
    expect(rig.created()).toHaveLength(1);
  });
});
