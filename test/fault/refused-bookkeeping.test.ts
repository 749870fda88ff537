import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { AccountHeldError, VendorThrottledError } from '../../src/core/errors.ts';
import { openKey } from '../../src/queues/keys.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness, until } from '../helpers/harness.ts';

/**
 * Redis refuses a single write around a submit, and takes all that come after it. What refuses is a key of the wrong
 * type: it fails one command and lets the others through.
 */
let harness: Harness | undefined;
afterEach(async () => {
  await harness?.stop();
});

/** A vendor that can not be asked what became of a submit. */
function silentVendor(submit: (attempt: number) => void | Promise<void>) {
  const seen = { submits: 0 };
  const adapter = defineVendor({
    name: 'silent',
    summary: 'Says nothing twice.',
    account: z.strictObject({ apiKey: z.string() }),
    http: { baseUrl: () => 'http://127.0.0.1:1/' },
    lookups: { job: { look: async () => new Map() } },
    operations: {
      make: {
        summary: 'Makes it.',
        input: z.strictObject({}),
        resend: 'none',
        async submit() {
          seen.submits += 1;
          await submit(seen.submits);
          return { jobs: [{ id: `v${seen.submits}`, kind: 'job', status: 'succeeded' }] };
        },
      },
    },
  });
  return { adapter, seen };
}

const env = { SILENT_API_KEY: 'key' };
const change: NonNullable<Parameters<typeof Harness.start>[0]>['change'] = (config) => ({
  ...config,
  reconcile: { ...config.reconcile, inFlightMs: 500 },
});

describe('a write that Redis refuses', () => {
  it('when the intent is saved, leaves the submit unsent, not in doubt', async () => {
    const { adapter, seen } = silentVendor(() => undefined);
    let isRefused = false;
    const started = await Harness.start({
      adapters: [adapter],
      env,
      change,
      async checkpoint(point) {
        if (point !== 'before-intent' || isRefused) return;
        isRefused = true;
        await harness?.redis.set(openKey(harness.prefix, 'silent'), 'no hash');
      },
    });
    harness = started;
    const id = await started.submit('silent', 'make', {});
    await until(() => isRefused);
    await until(async () => (await started.queue('silent.submit').getDelayedCount()) === 1);
    await started.redis.del(openKey(started.prefix, 'silent'));
    expect((await started.event(id)).data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'v1' }] });
    expect(seen.submits).toBe(1);
  });

  it.each([
    ['throttles', () => new VendorThrottledError('slow down', { retryAfterMs: 500 })],
    ['holds', () => new AccountHeldError('quota', 'no credit')],
  ])('when an answer that %s the account is noted, leaves the refusal known', async (_what, refusal) => {
    const { adapter, seen } = silentVendor(async (attempt) => {
      if (attempt > 1) return;
      await harness?.redis.set(accounts(), 'no hash');
      throw refusal();
    });
    const started = await Harness.start({ adapters: [adapter], env, change });
    harness = started;
    const id = await started.submit('silent', 'make', {});
    await until(() => seen.submits === 1);
    await until(async () => (await started.queue('silent.submit').getDelayedCount()) === 1);
    await started.redis.del(accounts());
    expect((await started.event(id)).data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'v2' }] });
    expect(seen.submits).toBe(2);
  });

  it('when the account is noted to work again, costs no acceptance', async () => {
    const { adapter, seen } = silentVendor(async (attempt) => {
      if (attempt === 1) throw new AccountHeldError('quota', 'no credit');
      await harness?.redis.set(accounts(), 'no hash');
    });
    const started = await Harness.start({ adapters: [adapter], env, change });
    harness = started;
    const id = await started.submit('silent', 'make', {});
    await until(() => seen.submits === 2, 20_000);
    await until(async () => (await started.record('silent', id)) !== null);
    setTimeout(() => void started.redis.del(accounts()), 500);
    expect((await started.event(id)).data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'v2' }] });
    expect(seen.submits).toBe(2);
  }, 45_000);
});

function accounts(): string {
  return `${harness?.prefix ?? ''}:jobferry:accounts`;
}
