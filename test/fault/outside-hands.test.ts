import { randomUUID } from 'node:crypto';
import { Queue as Queue3 } from 'bullmq3';
import { Queue as Queue4 } from 'bullmq4';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

let rig: KnowhereRig;
beforeEach(async () => {
  rig = await startKnowhere();
});
afterEach(async () => {
  await rig.stop();
});

const slowPoll = { initialDelayMs: 60_000, maxDelayMs: 60_000 };

function events(id: string): CompletionEvent[] {
  return rig.harness.events.filter((event) => event.subject === id);
}

async function inPhase(id: string, phase: string): Promise<void> {
  await until(async () => (await rig.harness.record('knowhere', id))?.startsWith(`${phase} `));
}

/** Puts a job in line without a client. */
async function write(id: string, fields: Record<string, string>): Promise<void> {
  const { redis, prefix } = rig.harness;
  const base = `${prefix}:knowhere.submit`;
  if (Object.keys(fields).length > 0) await redis.hset(`${base}:${id}`, fields);
  await redis.lpush(`${base}:wait`, id);
  await redis.zadd(`${base}:marker`, 0, '0');
}

describe('an outsider that writes over a job', () => {
  it.each(['progress as a number', 'progress as an object', 'data with a field more', 'other data altogether'])(
    'costs its submission nothing: %s',
    async (what) => {
      const { harness } = rig;
      const metadata = { order: 17 };
      const data = { input: { ...urlInput('x.pdf'), download: true }, poll: slowPoll, metadata };
      await harness.push('knowhere', 'parse', data, { jobId: 'touched' });
      await inPhase('touched', 'polling');
      const job = (await harness.queue('knowhere.poll').getJob('touched'))!;
      if (what === 'progress as a number') await job.updateProgress(50);
      else if (what === 'progress as an object') await job.updateProgress({ percent: 10 });
      else if (what === 'data with a field more') await job.updateData({ ...(job.data as object), seen: true });
      else await job.updateData({ metadata: { order: 'changed' }, replyTo: 'nowhere' });
      await until(() => rig.created().length === 1);
      await job.promote();
      await until(async () => {
        if (events('touched').length > 0) return true;
        await job.promote().catch(() => undefined);
        return false;
      });
      const [event] = events('touched');
      expect(event?.data).toMatchObject({ outcome: 'succeeded', metadata, operation: 'parse', account: 'default' });
      // What the request asked for is still known.
      expect(event?.data.vendorJobs[0]?.result).toHaveProperty('artifact');
      expect(rig.creates()).toHaveLength(1);
    },
  );

  it('sends nothing twice where the submit is under way or in doubt', async () => {
    const { harness, sandbox } = rig;
    sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'doubt' });
    await inPhase('doubt', 'reconciling');
    const job = (await harness.queue('knowhere.submit').getJob('doubt'))!;
    await job.updateProgress(1);
    await job.updateData({});
    const event = await harness.event('doubt');
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });
});

describe('whole numbers as ids', () => {
  const data = { input: urlInput(), poll: quickPoll };

  function open<Old extends typeof Queue3 | typeof Queue4>(OldQueue: Old): InstanceType<Old> {
    const { hostname, port } = new URL(redisUrl());
    const connection = { host: hostname, port: Number(port) };
    return new OldQueue('knowhere.submit', { connection, prefix: rig.harness.prefix }) as InstanceType<Old>;
  }

  it.each([
    ['BullMQ 3', Queue3],
    ['BullMQ 4', Queue4],
  ] as const)('are idempotency keys: %s', async (_name, OldQueue) => {
    const queue = open(OldQueue);
    try {
      await queue.add('parse', data, { jobId: '88001' });
      const event = await rig.harness.event('88001');
      await queue.add('parse', data, { jobId: '88001' });
      await until(async () => (await rig.harness.queue('knowhere.submit').getJob('88001')) === undefined);
      expect(event.data).toMatchObject({ submissionId: '88001', outcome: 'succeeded' });
      expect(rig.harness.events.map(({ subject }) => subject)).toEqual(['88001']);
      expect(rig.created()).toHaveLength(1);
    } finally {
      await queue.close();
    }
  });

  it('are idempotency keys as JSON numbers too, as Python’s client stores them', async () => {
    const { harness } = rig;
    // It packs the id as it was given, and the script that all clients share stores what was packed.
    const opts = JSON.stringify({ attempts: 0, delay: 0, jobId: 88_001 });
    const fields = { name: 'parse', data: JSON.stringify(data), opts, delay: '0', priority: '0' };
    const add = (): Promise<void> => write('88001', { ...fields, timestamp: String(Date.now()) });
    await add();
    const event = await harness.event('88001');
    const key = `${harness.prefix}:knowhere.submit:88001`;
    await until(async () => (await harness.redis.exists(key)) === 0);
    await add();
    await until(async () => (await harness.redis.exists(key)) === 0);
    expect(event.data).toMatchObject({ submissionId: '88001', outcome: 'succeeded' });
    expect(harness.events.map(({ subject }) => subject)).toEqual(['88001']);
    expect(rig.created()).toHaveLength(1);
  });

  it('stay apart from the numbers that BullMQ gives', async () => {
    const { harness } = rig;
    const queue = open(Queue4);
    try {
      const first = await harness.push('knowhere', 'parse', data);
      await harness.event(`knowhere-${first.id}`);
      await until(async () => (await harness.queue('knowhere.submit').getJob(first.id!)) === undefined);
      // The number that BullMQ gave to another, and is done with, chosen beside a job that it gives the next one.
      const [second] = await Promise.all([
        harness.push('knowhere', 'parse', data),
        queue.add('parse', data, { jobId: first.id! }),
      ]);
      expect([first.id, second.id]).toEqual(['1', '2']);
      const ids = ['knowhere-1', 'knowhere-2', '1'];
      for (const id of ids) {
        const { data: told } = await harness.event(id);
        expect(told).toMatchObject({ submissionId: id, outcome: 'succeeded' });
      }
      expect(harness.events.map(({ subject }) => subject).sort()).toEqual([...ids].sort());
      expect(new Set(harness.events.map(({ id }) => id)).size).toBe(3);
      expect(new Set(harness.events.map((event) => event.data.vendorJobs[0]?.id)).size).toBe(3);
      expect(rig.created()).toHaveLength(3);
    } finally {
      await queue.close();
    }
  });
});

describe('jobs written by hand', () => {
  const data = JSON.stringify({ input: urlInput(), poll: quickPoll });

  it.each([
    ['a timestamp in seconds', () => ({ timestamp: String(Math.floor(Date.now() / 1_000)) })],
    ['a timestamp as ISO text', () => ({ timestamp: new Date().toISOString() })],
    ['no timestamp', () => ({})],
    ['a timestamp that makes no sense', () => ({ timestamp: 'yesterday' })],
    ['options that are not JSON', () => ({ timestamp: String(Date.now()), opts: '{{' })],
    ['options that are a list', () => ({ timestamp: String(Date.now()), opts: '[]' })],
    ['a parent that is not JSON', () => ({ timestamp: String(Date.now()), opts: '{}', parent: 'not JSON' })],
    ['progress that is not JSON', () => ({ timestamp: String(Date.now()), opts: '{}', progress: '{' })],
  ])('are understood with %s', async (_what, fields) => {
    const id = `hand-${randomUUID().slice(0, 8)}`;
    await write(id, { name: 'parse', data, ...fields() });
    const event = await rig.harness.event(id);
    expect(event.data.outcome).toBe('succeeded');
    const waited = Date.parse(event.data.timings.settledAt) - Date.parse(event.data.timings.enqueuedAt);
    expect(waited).toBeLessThan(20_000);
    expect(events(id)).toHaveLength(1);
  });

  it('end as rejected once where an id has no job', async () => {
    await write('hollow', {});
    const event = await rig.harness.event('hollow');
    expect(event.data).toMatchObject({ outcome: 'rejected', error: { code: 'invalid_submission' } });
    await until(async () => {
      const { redis, prefix } = rig.harness;
      const base = `${prefix}:knowhere.submit`;
      return (await redis.exists(`${base}:hollow`)) === 0 && (await redis.llen(`${base}:active`)) === 0;
    });
    expect(events('hollow')).toHaveLength(1);
  });

  it('may say nothing with an empty array, as PHP does', async () => {
    await rig.harness.push(
      'knowhere',
      'parse',
      { input: { ...urlInput(), parsingParams: [] }, poll: [], metadata: [] },
      { jobId: 'php' },
    );
    const event = await rig.harness.event('php');
    expect(event.data).toMatchObject({ outcome: 'succeeded', metadata: {} });
  });
});
