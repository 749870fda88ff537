import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccountHeldError, VendorUnavailableError } from '../../src/core/errors.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { AccountBoard } from '../../src/queues/account-board.ts';
import { AccountGate } from '../../src/workers/account-gate.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

let redis: Redis;
let prefix: string;
let clock: Clock & { at: number };

beforeEach(() => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  prefix = freshPrefix();
  clock = { at: 1_000_000, now: () => clock.at, random: () => 0.5 };
});
afterEach(async () => {
  const keys = await redis.keys(`${prefix}:*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
});

/** The gate of one worker: all of them share one account. */
function worker(): AccountGate {
  return new AccountGate(new AccountBoard(redis, prefix), 'knowhere/default', clock, silentLogger);
}

async function hold(gate: AccountGate): Promise<void> {
  const admission = await gate.admit('submit');
  if (!admission.admitted) throw new Error('not admitted');
  await gate.settle(admission, new AccountHeldError('unauthorized', 'HTTP 401'));
}

async function probe(
  gate: AccountGate,
): Promise<Extract<Awaited<ReturnType<AccountGate['admit']>>, { admitted: true }>> {
  const admission = await gate.admit('submit');
  if (!admission.admitted || admission.probe === undefined) throw new Error('no probe');
  return admission;
}

describe('a held account', () => {
  it('lets one probe of all workers through at a time, once its time has come', async () => {
    const [first, second] = [worker(), worker()];
    await hold(first);
    clock.at += 600;
    expect((await second.admit('submit')).admitted).toBe(false);
    clock.at += 3_600_000;
    const probing = await probe(second);
    expect((await first.admit('submit')).admitted).toBe(false);
    expect((await first.admit('status')).admitted).toBe(false);
    await second.settle(probing, undefined);
    clock.at += 2_000;
    expect(await first.admit('submit')).toEqual({ admitted: true, scope: 'submit' });
  });

  it('is probed once each time, also by a worker that has not yet heard how the last probe went', async () => {
    const [first, second] = [worker(), worker()];
    await hold(first);
    clock.at += 3_600_000;
    const probing = await probe(first);
    expect((await second.admit('submit')).admitted).toBe(false);
    await first.settle(probing, new AccountHeldError('unauthorized', 'HTTP 401'));
    expect((await second.admit('submit')).admitted).toBe(false);
    clock.at += 3_600_000;
    await second.abandon(await probe(second));
  });

  it.each(['abandon', 'fail'] as const)(
    'keeps the probe of another worker when a frozen one comes back to %s its own',
    async (end) => {
      const [frozen, next, third] = [worker(), worker(), worker()];
      await hold(frozen);
      clock.at += 3_600_000;
      const late = await probe(frozen);
      // Frozen for longer than a probe is anyone's.
      await redis.del(`${prefix}:jobferry:probe:knowhere/default`);
      const current = await probe(next);
      if (end === 'abandon') await frozen.abandon(late);
      else await frozen.settle(late, new VendorUnavailableError('connection cut', { taken: 'maybe' }));
      clock.at += 3_600_000;
      expect((await third.admit('submit')).admitted).toBe(false);
      await next.settle(current, undefined);
      clock.at += 2_000;
      expect((await third.admit('submit')).admitted).toBe(true);
    },
  );
});

describe('a vendor whose submits fail while it answers look-ups', () => {
  async function use(gate: AccountGate, scope: 'submit' | 'status', error?: Error): Promise<void> {
    const admission = await gate.admit(scope);
    if (!admission.admitted) throw new Error(`not admitted: ${admission.why.code}`);
    await gate.settle(admission, error);
  }

  it('is not taken to work again because a look-up works', async () => {
    const [first, second] = [worker(), worker()];
    for (let failure = 0; failure < 5; failure += 1) {
      await use(first, 'submit', new VendorUnavailableError('HTTP 500', { taken: 'maybe' }));
      await use(first, 'status');
    }
    clock.at += 600;
    for (const gate of [first, second]) {
      await use(gate, 'status');
      expect(await gate.admit('submit')).toMatchObject({ admitted: false, why: { code: 'vendor_unavailable' } });
    }
    clock.at += 60_000;
    await use(second, 'submit');
    clock.at += 600;
    await use(first, 'submit');
  });
});
