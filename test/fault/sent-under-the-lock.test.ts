import { fork, type ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { RecordStore } from '../../src/queues/record-store.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness, until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

const script = fileURLToPath(new URL('../helpers/suspended-worker.ts', import.meta.url));

/**
 * A machine is suspended after a worker saved its intent, and wakes when another worker has looked for the submit, found
 * nothing and sent it. What it is about to send would be a second vendor job.
 */
describe('a worker that stood still between intent and request', () => {
  let rig: KnowhereRig | undefined;
  let suspended: ChildProcess | undefined;
  afterEach(async () => {
    suspended?.kill('SIGKILL');
    await rig?.stop();
  });

  async function runSuspended(env: Record<string, string>): Promise<KnowhereRig> {
    const started = await startKnowhere({ groups: 0 });
    rig = started;
    const { harness, sandbox } = started;
    const wakeFile = path.join(harness.folder, 'wake');
    const said: string[] = [];
    const child = fork(script, {
      execArgv: ['--import', 'tsx'],
      env: {
        ...process.env,
        REDIS_URL: redisUrl(),
        JOBFERRY_PREFIX: harness.prefix,
        JOBFERRY_ARTIFACTS_DIR: harness.artifactsDir,
        KNOWHERE_API_KEY: 'sk_test',
        KNOWHERE_BASE_URL: sandbox.knowhereUrl,
        WAKE_FILE: wakeFile,
        ...env,
      },
    });
    suspended = child;
    child.on('message', (message) => void said.push(message as string));
    const poll = { ...quickPoll, deadlineMs: 90_000 };
    await harness.push('knowhere', 'parse', { input: urlInput(), poll }, { jobId: 'asleep' });
    await until(() => said.includes('intended'), 30_000);
    await harness.startWorkers();
    const event = await harness.event('asleep', 40_000);
    expect(event.data.outcome).toBe('succeeded');
    expect(started.creates()).toHaveLength(1);

    await writeFile(wakeFile, '');
    child.kill('SIGCONT');
    await until(() => said.some((line) => line === 'sent' || /lost the job|not sent/.test(line)), 20_000);
    return started;
  }

  it.each([
    ['its clock going on', 'stop'],
    ['its clock standing still as well', 'with-clock'],
  ])(
    'sends nothing when it goes on, %s',
    async (_how, how) => {
      const started = await runSuspended({ SUSPEND: how });
      expect(started.creates()).toHaveLength(1);
      expect(started.harness.events).toHaveLength(1);
    },
    120_000,
  );

  it('would send a second time if it went by its clock alone', async () => {
    const started = await runSuspended({ SUSPEND: 'with-clock', TRUSTS_ITS_CLOCK: '1' });
    expect(started.creates()).toHaveLength(2);
  }, 120_000);
});

describe('a lock that is gone when the submit is about to be sent', () => {
  let harness: Harness | undefined;
  afterEach(async () => {
    vi.restoreAllMocks();
    await harness?.stop();
  });

  /** Between intent and request of the first submit, another worker's lock stands in Redis. */
  async function runRobbed(): Promise<{ attempts: number[]; outcome: string }> {
    const attempts: number[] = [];
    const adapter = defineVendor({
      name: 'blind',
      summary: 'Can not be asked what became of a submit.',
      account: z.strictObject({ apiKey: z.string() }),
      http: { baseUrl: () => 'http://127.0.0.1:1/' },
      lookups: { job: { look: async () => new Map() } },
      operations: {
        make: {
          summary: 'Makes it.',
          input: z.strictObject({}),
          resend: 'none',
          async submit({ attempt }) {
            attempts.push(attempt);
            return { jobs: [{ id: `v${attempt}`, kind: 'job', status: 'succeeded' }] };
          },
        },
      },
    });
    let isRobbed = false;
    const started = await Harness.start({
      adapters: [adapter],
      env: { BLIND_API_KEY: 'key' },
      change: (config) => ({ ...config, reconcile: { ...config.reconcile, inFlightMs: 12_000 } }),
      checkpoint: async (point) => {
        if (point !== 'intent-saved' || isRobbed) return;
        isRobbed = true;
        await harness?.redis.set(`${harness.prefix}:blind.submit:robbed:lock`, 'another worker', 'PX', 500);
      },
    });
    harness = started;
    await started.push('blind', 'make', { input: {} }, { jobId: 'robbed' });
    const event = await started.event('robbed', 40_000);
    return { attempts, outcome: event.data.outcome };
  }

  it('keeps it from being sent, and the next worker knows that it was not', { timeout: 60_000 }, async () => {
    expect(await runRobbed()).toEqual({ attempts: [2], outcome: 'succeeded' });
  });

  it('would not keep it from being sent if it were not asked for', { timeout: 60_000 }, async () => {
    vi.spyOn(RecordStore.prototype, 'holdToSend').mockResolvedValue(true);
    expect((await runRobbed()).attempts).toEqual([1]);
  });

  it('is asked for by the token, and lives on for its full time', async () => {
    const started = await Harness.start({ groups: 0 });
    harness = started;
    const { redis, prefix } = started;
    const store = new RecordStore(redis, prefix);
    const address = { queue: 'knowhere.submit', jobId: 'one' };
    const lock = `${prefix}:knowhere.submit:one:lock`;
    expect(await store.holdToSend(address, 'mine', 5_000)).toBe(false);
    await redis.set(lock, 'mine', 'PX', 700);
    expect(await store.holdToSend(address, 'theirs', 5_000)).toBe(false);
    expect(await redis.pttl(lock)).toBeLessThanOrEqual(700);
    expect(await store.holdToSend(address, 'mine', 5_000)).toBe(true);
    expect(await redis.pttl(lock)).toBeGreaterThan(4_000);
  });
});
