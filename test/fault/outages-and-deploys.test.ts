import type { Job } from 'bullmq';
import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { Config } from '../../src/config/load-config.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { startSandbox } from '../../sandbox/index.ts';
import { Harness, until } from '../helpers/harness.ts';
import { closedPort, quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

async function start(options: Parameters<typeof startKnowhere>[0] = {}): Promise<KnowhereRig> {
  rig = await startKnowhere(options);
  return rig;
}

function withoutAccounts(config: Config): Config {
  return { ...config, vendors: config.vendors.map((vendor) => ({ ...vendor, accounts: other(vendor.accounts) })) };
}

function other(accounts: Config['vendors'][number]['accounts']): Config['vendors'][number]['accounts'] {
  return accounts.map((account) => ({ ...account, name: 'another' }));
}

function withStricterSchemas(config: Config): Config {
  return {
    ...config,
    vendors: config.vendors.map(({ adapter, accounts }) => ({
      accounts,
      adapter: {
        ...adapter,
        operations: Object.fromEntries(
          Object.entries(adapter.operations).map(([name, operation]) => [name, { ...operation, input: z.never() }]),
        ),
      },
    })),
  };
}

describe('an outage of the vendor', () => {
  it('costs one probe at a time, ends nothing, and is over by itself', { timeout: 60_000 }, async () => {
    const { harness, sandbox, ...vendor } = await start({ groups: 2 });
    const outage = ['create', 'list', 'lookup'].map((route) =>
      sandbox.faults.arm({ fault: 'server-error', route, times: 100_000 }),
    );
    const ids = Array.from({ length: 150 }, (_, index) => `out-${index}`);
    await Promise.all(ids.map((id) => harness.push('knowhere', 'parse', pushed(id), { jobId: id })));
    await until(() => vendor.creates().length >= 5);
    // What was under way when the breaker opened comes in; from then on it is probes.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const before = sandbox.ledger.entries().length;
    await new Promise((resolve) => setTimeout(resolve, 9_000));
    // Probes after 1, 2, 4, 8 s and so on; without a breaker these would be hundreds.
    expect(sandbox.ledger.entries().length - before).toBeLessThan(12);
    expect(harness.events).toEqual([]);
    for (const { id } of outage) expect(sandbox.faults.disarm(id)).toBe(true);
    await until(() => harness.events.length === ids.length, 40_000);
    expect(harness.events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
    expect(vendor.created()).toHaveLength(ids.length);
  });

  it('holds submissions that were never sent while nobody listens', { timeout: 60_000 }, async () => {
    const port = await closedPort();
    const harness = await Harness.start({
      env: { KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: `http://127.0.0.1:${port}/knowhere` },
    });
    try {
      for (const id of ['a', 'b', 'c']) await harness.push('knowhere', 'parse', pushed(id), { jobId: id });
      await until(async () => (await harness.record('knowhere', 'a'))?.includes('vendor_unavailable'));
      const sandbox = await startSandbox({ vendors: ['knowhere'], speed: 50, port });
      try {
        for (const id of ['a', 'b', 'c']) expect((await harness.event(id, 40_000)).data.outcome).toBe('succeeded');
        expect(sandbox.ledger.entries({ route: 'create' })).toHaveLength(3);
      } finally {
        await sandbox.close();
      }
    } finally {
      await harness.stop();
    }
  });
});

describe('a deploy', () => {
  it('with stricter schemas ends no submission that is under way', async () => {
    const { harness, ...vendor } = await start();
    await harness.push('knowhere', 'parse', pushed('old', { initialDelayMs: 1_500, maxDelayMs: 1_500 }), {
      jobId: 'old',
    });
    await until(() => vendor.created().length === 1);
    await harness.stopWorkers();
    await harness.startWorkers(undefined, withStricterSchemas(harness.config));
    expect((await harness.event('old')).data.outcome).toBe('succeeded');
    await harness.push('knowhere', 'parse', pushed('new'), { jobId: 'new' });
    expect((await harness.event('new')).data.outcome).toBe('rejected');
  });

  it('without an account lets its submissions wait until it is back', { timeout: 60_000 }, async () => {
    const { harness, ...vendor } = await start();
    const poll = { initialDelayMs: 1_000, maxDelayMs: 1_000 };
    await harness.push('knowhere', 'parse', pushed('waits', { ...poll, deadlineMs: 120_000 }), { jobId: 'waits' });
    await harness.push('knowhere', 'parse', pushed('ends', { ...poll, deadlineMs: 4_000 }), { jobId: 'ends' });
    await until(() => vendor.created().length === 2);
    await harness.stopWorkers();
    await harness.startWorkers(undefined, withoutAccounts(harness.config));
    const ended = await harness.event('ends', 20_000);
    expect(ended.data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(ended.data.error?.message).toContain('4 s after it was accepted, and it could not be processed');
    expect(ended.data.error?.message).toContain('no longer configured');
    expect(ended.data.vendorJobs).toHaveLength(1);
    expect(harness.events).toHaveLength(1);
    await harness.stopWorkers();
    await harness.startWorkers();
    expect((await harness.event('waits', 30_000)).data.outcome).toBe('succeeded');
    expect(vendor.created()).toHaveLength(2);
  });

  it('without an account ends what its caller cancels, and asks Redis for it no more than before', async () => {
    const { harness, ...vendor } = await start();
    const poll = { initialDelayMs: 1_000, maxDelayMs: 1_000, deadlineMs: 120_000 };
    await harness.push('knowhere', 'parse', pushed('canceled', poll), { jobId: 'canceled' });
    await until(() => vendor.created().length === 1);
    await harness.stopWorkers();
    await harness.startWorkers(undefined, withoutAccounts(harness.config));
    const job = async (): Promise<Job | undefined> => harness.queue('knowhere.poll').getJob('canceled');
    await until(async () => /no longer configured/.test((await harness.record('knowhere', 'canceled')) ?? ''));
    const starts = (await job())?.attemptsStarted ?? 0;
    const reader = new SubmissionReader(harness.redis, harness.prefix);
    expect(await reader.cancel('knowhere', 'canceled', Date.now())).toBe('requested');
    const { data } = await harness.event('canceled');
    expect(data).toMatchObject({ outcome: 'canceled', error: { code: 'canceled' } });
    expect(data.error?.message).toMatch(
      /the vendor was not told, as it could not be processed: .*no longer configured/,
    );
    await until(async () => (await job())?.isCompleted());
    expect((await job())?.attemptsStarted).toBeLessThan(starts + 4);
  });
});

function pushed(id: string, poll: object = {}): object {
  return { input: urlInput(`${id}.pdf`), poll: { ...quickPoll, deadlineMs: 300_000, ...poll } };
}
