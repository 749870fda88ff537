import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Config } from '../../src/config/load-config.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import type { Checkpoint } from '../../src/workers/engine.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { signal, type Signal } from '../helpers/signal.ts';

/** The places on the way from the submit queue to the poll queue, in order. */
const places = ['prepared', 'poll-job-added', 'poll-job-begun'] as const;

let rig: KnowhereRig;
let reader: SubmissionReader;
/** Where the submit worker stands still from now on, and what lets it go on. */
let hold: { at: Checkpoint; reached: Signal; release: Signal } | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  hold?.release.happen();
  hold = undefined;
  await reader.close();
  await rig.stop();
});

async function start(change?: (config: Config) => Config): Promise<void> {
  rig = await startKnowhere({
    dialect: change === undefined ? 'impl' : 'doc',
    ...(change === undefined ? {} : { change }),
    checkpoint: async (point) => {
      if (point !== hold?.at) return;
      hold.reached.happen();
      await hold.release.happened;
    },
  });
  reader = new SubmissionReader(rig.harness.redis, rig.harness.prefix);
}

function holdAt(at: Checkpoint): { reached: Signal; release: Signal } {
  hold = { at, reached: signal(), release: signal() };
  return hold;
}

const retry = (id: string, force = false): ReturnType<SubmissionReader['retry']> =>
  reader.retry('knowhere', id, (queue) => rig.harness.queue(queue), force);

const failing = { input: urlInput('x.pdf?sandbox=fail--INTERNAL_ERROR'), poll: quickPoll };
const giveUp = { kind: 'give-up' } as const;

describe('while the submit job hands over to the poll job', () => {
  it.each(places)('at %s: status, retry and resolve know the submission, and that it is at work', async (at) => {
    await start();
    const { harness } = rig;
    await harness.push('knowhere', 'parse', failing, { jobId: 'order' });
    await harness.event('order');
    const { reached, release } = holdAt(at);
    expect(await retry('order')).toEqual({ kind: 'started', submissionId: 'order#2' });
    await reached.happened;

    const vendorJobId = rig.created()[1]?.jobId;
    const status = await reader.status('knowhere', 'order#2');
    expect(status).toMatchObject({ submissionId: 'order#2', operation: 'parse', vendorJobs: [{ id: vendorJobId }] });
    expect(status).toMatchObject({ settledAt: null, outcome: null, submittedAt: expect.any(String) });
    expect(['accepted', 'polling']).toContain(status?.phase);
    for (const id of ['order', 'order#2']) {
      expect(await retry(id)).toEqual({ kind: 'not-over', submissionId: 'order#2' });
      expect(await retry(id, true)).toEqual({ kind: 'not-over', submissionId: 'order#2' });
    }
    expect(await reader.resolve('knowhere', 'order#2', giveUp)).toBe('not-waiting');

    release.happen();
    const event = await harness.event('order#2');
    expect(event.id).toBe(status?.eventId);
    expect(event.data.vendorJobs[0]?.id).toBe(vendorJobId);
    expect(rig.creates()).toHaveLength(2);
  });

  /** Between a first look, at the poll queue, and the second, the whole hand-over happens. */
  async function handOverAfterFirstLook(method: 'readHash' | 'resolve', release: Signal): Promise<void> {
    const { harness } = rig;
    type Look = (this: RecordStore, ...given: unknown[]) => Promise<unknown>;
    const { [method]: look } = RecordStore.prototype as unknown as Record<typeof method, Look>;
    const spy = vi.spyOn(RecordStore.prototype, method as 'readHash') as unknown as ReturnType<typeof vi.fn<Look>>;
    spy.mockImplementationOnce(async function (this: RecordStore, ...given) {
      const first = await look.apply(this, given);
      expect([(given[0] as { queue: string }).queue, first ?? 'missing']).toEqual(['knowhere.poll', 'missing']);
      release.happen();
      await until(async () => (await harness.queue('knowhere.submit').getJob('moves')) === undefined);
      return first;
    });
  }

  it.each(['status', 'retry', 'resolve'] as const)(
    '%s finds a submission that is handed over between its looks',
    async (what) => {
      await start();
      const { reached, release } = holdAt('prepared');
      const slow = { input: urlInput(), poll: { initialDelayMs: 30_000, maxDelayMs: 30_000 } };
      await rig.harness.push('knowhere', 'parse', slow, { jobId: 'moves' });
      await reached.happened;
      await handOverAfterFirstLook(what === 'resolve' ? 'resolve' : 'readHash', release);
      if (what === 'status') {
        const found = await reader.status('knowhere', 'moves');
        expect(found).toMatchObject({ phase: 'polling', vendorJobs: [{ id: rig.created()[0]?.jobId }] });
        expect(found?.nextAt).not.toBeNull();
        expect(found?.log.length).toBeGreaterThan(0);
      } else if (what === 'retry') {
        expect(await retry('moves')).toEqual({ kind: 'not-over', submissionId: 'moves' });
      } else expect(await reader.resolve('knowhere', 'moves', giveUp)).toBe('not-waiting');
      expect(rig.creates()).toHaveLength(1);
    },
  );

  it.each(places)('at %s: a second decision comes too late for a submission that was decided on', async (at) => {
    await start((config) => ({ ...config, ambiguity: { 'knowhere.parse': 'wait' } }));
    const { harness, sandbox } = rig;
    sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'stuck' });
    await until(async () => /waiting for a person/.test((await reader.status('knowhere', 'stuck'))?.state ?? ''));
    expect(await retry('stuck')).toEqual({ kind: 'not-over', submissionId: 'stuck' });
    const { reached, release } = holdAt(at);
    const vendorJobId = rig.created()[0]?.jobId ?? '';
    expect(await reader.resolve('knowhere', 'stuck', { kind: 'adopt', vendorJobId })).toBe('resolved');
    await reached.happened;
    expect(await reader.resolve('knowhere', 'stuck', giveUp)).toBe('not-waiting');
    expect(await retry('stuck')).toEqual({ kind: 'not-over', submissionId: 'stuck' });
    release.happen();
    const event = await harness.event('stuck');
    expect(event.data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: vendorJobId }] });
    expect(rig.creates()).toHaveLength(1);
  });
});

describe('before any worker has taken a submission', () => {
  it('status knows it, and retry and resolve leave it alone', async () => {
    await start();
    const { harness } = rig;
    await harness.stopWorkers();
    await harness.push('knowhere', 'parse', failing, { jobId: 'waits' });
    expect(await reader.status('knowhere', 'waits')).toMatchObject({
      phase: 'received',
      state: 'waiting to be sent',
      eventId: null,
    });
    for (const force of [false, true]) {
      expect(await retry('waits', force)).toEqual({ kind: 'not-over', submissionId: 'waits' });
    }
    expect(await reader.resolve('knowhere', 'waits', giveUp)).toBe('not-waiting');
    await harness.startWorkers();
    await harness.event('waits');
    // So is the next run of one that is over.
    await harness.stopWorkers();
    expect(await retry('waits')).toEqual({ kind: 'started', submissionId: 'waits#2' });
    expect(await retry('waits', true)).toEqual({ kind: 'not-over', submissionId: 'waits#2' });
    expect(await harness.queue('knowhere.submit').getJobCounts('wait')).toEqual({ wait: 1 });
    expect(rig.creates()).toHaveLength(1);
  });
});
