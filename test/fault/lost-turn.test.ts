import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { VendorJob } from '../../src/core/submission.ts';
import type { ResendSafety, StepContext } from '../../src/ports/vendor-adapter.ts';
import { hashFields } from '../../src/queues/keys.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { createProducer } from '../../src/index.ts';
import { Harness, until } from '../helpers/harness.ts';
import { redisUrl } from '../helpers/redis.ts';

/**
 * A worker that hangs loses its jobs, and may be the one that takes them again. BullMQ names a lock by the slot that
 * holds it, so the second turn of a job in the same slot has the very lock that the first one had: the lock alone does
 * not tell them apart.
 */
let harness: Harness | undefined;
afterEach(async () => {
  await harness?.stop();
});

describe('a turn that lost its job', () => {
  it('sends nothing when its worker has the job again under the same lock', async () => {
    const { adapter, seen } = waitingVendor();
    harness = await Harness.start({
      adapters: [adapter],
      env: { SLOW_API_KEY: 'key' },
      change: (config) => ({ ...config, concurrency: { submit: 1, poll: 1 } }),
    });
    const id = await harness.submit('slow', 'make', {});
    await until(() => seen.waiting.length === 1);
    const firstLock = await lockOf(harness, id);
    await putBackInLine(harness, id);
    await until(() => seen.waiting.length === 2);
    expect(await lockOf(harness, id), 'the slot keeps its lock').toBe(firstLock);

    for (const goOn of seen.waiting) goOn();
    const event = await harness.event(id);
    expect(event.data.outcome).toBe('succeeded');
    expect(seen.submits).toBe(1);
  });

  it.each([
    ['where nobody can ask the vendor again', 'none', false],
    ['where it is the only one that knows what to prepare', 'lookup', true],
  ] as const)('leaves what the vendor answers it to the next one, %s', async (_where, resend, isPrepared) => {
    const { adapter, seen } = waitingVendor('submit', { resend, isPrepared });
    harness = await Harness.start({
      adapters: [adapter],
      env: { SLOW_API_KEY: 'key' },
      change: (config) => ({ ...config, reconcile: { ...config.reconcile, inFlightMs: 8_000, absenceMs: 1_000 } }),
    });
    const id = await harness.submit('slow', 'make', {});
    await until(() => seen.submits === 1);
    await putBackInLine(harness, id);
    // The next turn finds the intent, and waits for what may still come.
    await until(async () => (await recordOf(harness, id)).includes('"phase":"reconciling"'));
    for (const goOn of seen.waiting) goOn();
    const event = await harness.event(id);
    expect(event.data.outcome).toBe('succeeded');
    expect(event.data.vendorJobs.map((job) => job.id)).toEqual(['v1']);
    expect(seen.prepared).toEqual(isPrepared ? ['link-1'] : []);
    expect(seen.submits).toBe(1);
    expect(harness.events).toEqual([event]);
    const left = async (): Promise<number> =>
      harness?.redis.hexists(`${harness.prefix}:slow.submit:${id}`, 'jobferry.answer') ?? 1;
    await until(async () => (await left()) === 0);
  });
});

interface Undecided extends ReturnType<typeof waitingVendor> {
  harness: Harness;
  id: string;
}

describe('an answer that is left while the next turn looks the submit up', () => {
  it('is taken over, though the look-up can not tell', async () => {
    const { adapter, seen } = waitingVendor('submit', { resend: 'lookup', isFound: 'unknowable' });
    harness = await Harness.start({
      adapters: [adapter],
      env: { SLOW_API_KEY: 'key' },
      change: (config) => ({ ...config, reconcile: { ...config.reconcile, inFlightMs: 0 } }),
    });
    const id = await harness.submit('slow', 'make', {});
    await until(() => seen.submits === 1);
    await putBackInLine(harness, id);
    await until(() => seen.reconciling.length === 1);
    for (const goOn of seen.waiting) goOn();
    const answer = `${harness.prefix}:slow.submit:${id}`;
    await until(async () => (await harness?.redis.hexists(answer, hashFields.answer)) === 1);
    for (const goOn of seen.reconciling) goOn();
    const event = await harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'v1' }] });
    expect(seen.submits).toBe(1);
  });
});

describe('a submission that waits for a person', () => {
  /** Its first turn lost the job while the vendor answered, and the second one can not find out. */
  async function startUndecided(status: 'running' | 'succeeded'): Promise<Undecided> {
    const { adapter, seen } = waitingVendor('submit', { status });
    const started = await Harness.start({
      adapters: [adapter],
      env: { SLOW_API_KEY: 'key' },
      change: (config) => ({
        ...config,
        ambiguity: { 'slow.make': 'wait' },
        reconcile: { ...config.reconcile, inFlightMs: 500 },
      }),
    });
    harness = started;
    const id = await started.submit('slow', 'make', {}, { poll: { initialDelayMs: 1_000, maxDelayMs: 1_000 } });
    await until(() => seen.submits === 1);
    await putBackInLine(started, id);
    await until(async () => (await recordOf(started, id)).includes('"awaitsDecision"'));
    return { harness: started, adapter, seen, id };
  }

  it('takes over at once what the vendor answers the turn before', async () => {
    const { harness, seen, id } = await startUndecided('succeeded');
    for (const goOn of seen.waiting) goOn();
    const event = await harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'v1' }] });
    expect(seen.submits).toBe(1);
  });

  it('waits for nobody once the vendor has accepted it: a decision is refused, and hurries nothing', async () => {
    const { harness, adapter, seen, id } = await startUndecided('running');
    const queue = harness.queue('slow.submit');
    const producer = createProducer({ vendors: { slow: adapter }, redisUrl: redisUrl(), prefix: harness.prefix });
    try {
      for (const goOn of seen.waiting) goOn();
      await until(async () => {
        // Whoever wakes it.
        await (await queue.getJob(id))?.promote().catch(() => undefined);
        return /^polling /.test((await harness.record('slow', id)) ?? '');
      });
      await until(() => seen.looks > 0);
      expect(await producer.resolve('slow', id, { kind: 'give-up' })).toBe('not-waiting');
      expect(await harness.record('slow', id)).not.toContain('awaitsDecision');
      const before = seen.looks;
      const startedAt = performance.now();
      await until(() => seen.looks >= before + 3);
      expect(performance.now() - startedAt, 'three waits of a second').toBeGreaterThan(2_000);
      seen.isDone = true;
      expect((await harness.event(id)).data.outcome).toBe('succeeded');
    } finally {
      await producer.close();
    }
  });
});

async function recordOf(harness: Harness | undefined, id: string): Promise<string> {
  return (await harness?.redis.hget(`${harness.prefix}:slow.submit:${id}`, hashFields.record)) ?? '';
}

/** What the check for stalled jobs does once a lock has run out. */
async function putBackInLine({ redis, prefix }: Harness, id: string): Promise<void> {
  const base = `${prefix}:slow.submit`;
  await redis.multi().del(`${base}:${id}:lock`).lrem(`${base}:active`, 0, id).rpush(`${base}:wait`, id).exec();
}

function lockOf({ redis, prefix }: Harness, id: string): Promise<string | null> {
  return redis.get(`${prefix}:slow.submit:${id}:lock`);
}

/** Each look before a submit, or each submit, waits until the test lets it go on. */
function waitingVendor(
  waitsIn: 'preflight' | 'submit' = 'preflight',
  {
    resend = 'none',
    isPrepared = false,
    status = 'succeeded',
    isFound = 'absent',
  }: {
    resend?: ResendSafety;
    isPrepared?: boolean;
    status?: 'running' | 'succeeded';
    /** What its reconcile says; 'unknowable' waits until the test lets it go on. */
    isFound?: 'absent' | 'unknowable';
  } = {},
) {
  const seen = {
    waiting: [] as (() => void)[],
    submits: 0,
    prepared: [] as unknown[],
    looks: 0,
    isDone: false,
    reconciling: [] as (() => void)[],
  };
  const prepare = async ({ jobs }: Pick<StepContext<unknown, unknown>, 'jobs'>): Promise<VendorJob[]> => {
    seen.prepared.push(jobs[0]?.extra?.['link']);
    return jobs.map((job) => ({ ...job, status: 'succeeded', outcome: 'succeeded' }));
  };
  const wait = (): Promise<void> => new Promise((resolve) => void seen.waiting.push(resolve));
  const adapter = defineVendor({
    name: 'slow',
    summary: 'Waits.',
    account: z.strictObject({ apiKey: z.string() }),
    http: { baseUrl: () => 'http://127.0.0.1:1/' },
    lookups: {
      job: {
        async look() {
          seen.looks += 1;
          return new Map([['v1', { status: seen.isDone ? 'succeeded' : status }]]);
        },
      },
    },
    operations: {
      make: {
        summary: 'Makes it.',
        input: z.strictObject({}),
        resend,
        async reconcile() {
          if (isFound === 'absent') return { found: 'absent' };
          await new Promise<void>((resolve) => void seen.reconciling.push(resolve));
          return { found: 'unknowable', reason: 'two could be it' };
        },
        ...(isPrepared ? { prepare } : {}),
        async preflight() {
          if (waitsIn === 'preflight') await wait();
          return {};
        },
        async submit() {
          seen.submits += 1;
          if (waitsIn === 'submit') await wait();
          const extra = { link: `link-${seen.submits}` };
          return { jobs: [{ id: 'v1', kind: 'job', extra, ...(isPrepared ? {} : { status }) }] };
        },
      },
    },
  });
  return { adapter, seen };
}
