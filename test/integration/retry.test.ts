import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Queue } from 'bullmq';
import { createProducer, catalogue, type Producer } from '../../src/index.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';
import { signal } from '../helpers/signal.ts';

let rig: KnowhereRig;
const producers: Producer<typeof catalogue>[] = [];
let producer: Producer<typeof catalogue>;
beforeEach(async () => {
  rig = await startKnowhere();
  producer = openProducer();
});
afterEach(async () => {
  await Promise.all(producers.splice(0).map((one) => one.close()));
  await rig.stop();
});

/** Each with connections of its own, as another process has. */
function openProducer(): Producer<typeof catalogue> {
  const opened = createProducer({ vendors: catalogue, redisUrl: redisUrl(), prefix: rig.harness.prefix });
  producers.push(opened);
  return opened;
}

const failing = '?sandbox=fail--INTERNAL_ERROR';

/** Pushes a submission and waits for its end. */
async function settled(jobId: string, marker = failing, rest: object = {}): Promise<void> {
  const data = { input: urlInput(`x.pdf${marker}`), poll: quickPoll, ...rest };
  await rig.harness.push('knowhere', 'parse', data, { jobId });
  const event = await rig.harness.event(jobId);
  expect(event.data.outcome).toBe(marker === failing ? 'failed' : 'succeeded');
}

describe('a retry', () => {
  it('starts a settled submission anew under a new event id, linked to the first', async () => {
    await settled('order', failing, { metadata: { n: 1 } });
    expect(await producer.retry('knowhere', 'order')).toEqual({ kind: 'started', submissionId: 'order#2' });
    const second = await rig.harness.event('order#2');
    expect(second.id).toMatch(/^knowhere\.order#2\./);
    expect(second).toMatchObject({ data: { retryOf: 'order', metadata: { n: 1 } } });
    expect(await producer.retry('knowhere', 'order#2')).toEqual({ kind: 'started', submissionId: 'order#3' });
    expect(await rig.harness.event('order#3')).toMatchObject({ data: { retryOf: 'order' } });
    expect(rig.creates()).toHaveLength(3);
  });

  it('is refused while the first still runs', async () => {
    const data = { input: urlInput(), poll: { initialDelayMs: 20_000 } };
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'busy' });
    await until(async () => (await producer.status('knowhere', 'busy'))?.phase === 'polling');
    for (const force of [false, true]) {
      const result = await producer.retry('knowhere', 'busy', { force });
      expect(result).toEqual({ kind: 'not-over', submissionId: 'busy' });
    }
    expect(await producer.retry('knowhere', 'nobody')).toEqual({ kind: 'unknown' });
    expect(rig.creates()).toHaveLength(1);
  });

  it('asked for a second time is told of the run that there was, and starts none', async () => {
    await settled('order');
    await producer.retry('knowhere', 'order');
    await rig.harness.event('order#2');
    const again = { kind: 'retried', submissionId: 'order#2' };
    expect(await producer.retry('knowhere', 'order')).toEqual(again);
    expect(await openProducer().retry('knowhere', 'order')).toEqual(again);
    await producer.retry('knowhere', 'order#2');
    await rig.harness.event('order#3');
    // The latest run is named, whichever one is asked for.
    expect(await producer.retry('knowhere', 'order')).toEqual({ kind: 'retried', submissionId: 'order#3' });
    expect(await producer.retry('knowhere', 'order#2')).toEqual({ kind: 'retried', submissionId: 'order#3' });
    expect(rig.creates()).toHaveLength(3);
  });

  it('of what succeeded is refused', async () => {
    await settled('paid', '');
    expect(await producer.retry('knowhere', 'paid')).toEqual({ kind: 'succeeded' });
    expect(await producer.status('knowhere', 'paid#2')).toBeUndefined();
    expect(rig.creates()).toHaveLength(1);
  });

  it('by force runs what succeeded and what was retried before, but nothing beside a run at work', async () => {
    await settled('paid', '');
    const force = { force: true };
    expect(await producer.retry('knowhere', 'paid', force)).toEqual({ kind: 'started', submissionId: 'paid#2' });
    await rig.harness.event('paid#2');
    expect(await producer.retry('knowhere', 'paid')).toEqual({ kind: 'retried', submissionId: 'paid#2' });
    expect(await producer.retry('knowhere', 'paid', force)).toEqual({ kind: 'started', submissionId: 'paid#3' });
    await rig.harness.event('paid#3');
    await rig.harness.stopWorkers();
    expect(await producer.retry('knowhere', 'paid#2', force)).toEqual({ kind: 'started', submissionId: 'paid#4' });
    for (const id of ['paid', 'paid#2', 'paid#4']) {
      expect(await producer.retry('knowhere', id, force)).toEqual({ kind: 'not-over', submissionId: 'paid#4' });
    }
    expect(rig.creates()).toHaveLength(3);
  });
});

describe('two that retry one submission at the same moment', () => {
  /** Between its look and its add, `whenSeen` happens: what it saw is old by then. */
  async function retryAcross(whenSeen: () => Promise<unknown>): Promise<unknown> {
    const reader = new SubmissionReader(rig.harness.redis, rig.harness.prefix);
    const opened = rig.harness.queue('knowhere.submit');
    const slow = {
      add: async (...given: Parameters<Queue['add']>) => {
        await whenSeen();
        return opened.add(...given);
      },
    };
    try {
      return await reader.retry('knowhere', 'order', () => slow as unknown as Queue);
    } finally {
      await reader.close();
    }
  }

  async function expectOneMoreRun(): Promise<void> {
    await rig.harness.event('order#2');
    const { harness } = rig;
    await until(async () => (await harness.queue('knowhere.submit').getJobCountByTypes('wait', 'active')) === 0);
    await until(async () => (await harness.queue('knowhere.poll').getJobCountByTypes('active', 'delayed')) === 0);
    expect(rig.creates()).toHaveLength(2);
    expect(harness.events.map(({ subject }) => subject)).toEqual(['order', 'order#2']);
    expect(await producer.status('knowhere', 'order#3')).toBeUndefined();
  }

  it('start one run, where both saw it before either started', async () => {
    await settled('order');
    const started = { kind: 'started', submissionId: 'order#2' };
    const both = signal();
    let seen = 0;
    const whenBothSaw = (): Promise<void> => {
      seen += 1;
      if (seen === 2) both.happen();
      return both.happened;
    };
    expect(await Promise.all([retryAcross(whenBothSaw), retryAcross(whenBothSaw)])).toEqual([started, started]);
    await expectOneMoreRun();
  });

  it('start one run, where the one is over before the other starts', async () => {
    await settled('order');
    const late = await retryAcross(async () => {
      await producer.retry('knowhere', 'order');
      await rig.harness.event('order#2');
    });
    expect(late).toEqual({ kind: 'started', submissionId: 'order#2' });
    await expectOneMoreRun();
  });

  it('start one run, as producers do', async () => {
    await settled('order');
    const many = Array.from({ length: 6 }, () => openProducer());
    const results = await Promise.all(many.map((one) => one.retry('knowhere', 'order')));
    for (const result of results) {
      expect(['started', 'not-over', 'retried']).toContain(result.kind);
      expect(result).toMatchObject({ submissionId: 'order#2' });
    }
    await expectOneMoreRun();
  });
});
