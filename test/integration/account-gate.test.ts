import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AccountHeldError, VendorThrottledError, VendorUnavailableError } from '../../src/core/errors.ts';
import type { Refusals } from '../../src/core/submission.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { AccountBoard } from '../../src/queues/account-board.ts';
import { AccountGate, type Asker, type Settled } from '../../src/workers/accounts/account-gate.ts';
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

describe('a scope that is held because of a refusal', () => {
  type Admitted = Extract<Awaited<ReturnType<AccountGate['admit']>>, { admitted: true }>;
  const forbidden = (): Error => new AccountHeldError('forbidden', 'HTTP 403', { httpStatus: 403 });
  const noCredit = (): Error => new AccountHeldError('quota', 'HTTP 402', { httpStatus: 402 });

  async function enter(gate: AccountGate, scope: 'submit' | 'status' = 'submit', asker?: Asker): Promise<Admitted> {
    const admission = await gate.admit(scope, asker);
    if (!admission.admitted) throw new Error(`not admitted: ${admission.why.code}`);
    return admission;
  }
  /** One request of a submission, and what is known of its refusals then. */
  async function refuse(
    gate: AccountGate,
    submission: string,
    refused?: Refusals,
    error = forbidden(),
  ): Promise<Settled> {
    return gate.settle(await enter(gate, 'submit', { submission, refused }), error);
  }
  const isAdmitted = async (gate: AccountGate, asker?: Asker): Promise<boolean> => {
    const admission = await gate.admit('submit', asker);
    if (admission.admitted) await gate.abandon(admission);
    return admission.admitted;
  };
  const holds = async (): Promise<object> =>
    (await new AccountBoard(redis, prefix).readAll()).get('knowhere/default')?.holds ?? {};

  it.each([
    ['submit', 'status', forbidden],
    ['submit', 'status', noCredit],
    ['status', 'submit', forbidden],
    ['status', 'submit', noCredit],
  ] as const)('lets the other scope go on: %s is refused, %s is not', async (refused, other, error) => {
    const [first, second] = [worker(), worker()];
    await first.settle(await enter(first, refused), error());
    clock.at += 600;
    for (const gate of [first, second]) {
      expect((await gate.admit(refused)).admitted).toBe(false);
      await gate.settle(await enter(gate, other), undefined);
      expect((await gate.admit(refused)).admitted).toBe(false);
    }
  });

  it('is probed by a submission that was not refused; one that was waits a moment longer', async () => {
    const [first, second] = [worker(), worker()];
    const { refused } = await refuse(first, 'bad');
    clock.at += 2_100;
    for (const gate of [first, second]) expect(await isAdmitted(gate, { submission: 'bad', refused })).toBe(false);
    expect(await isAdmitted(second, { submission: 'other' })).toBe(true);
    clock.at += 2_500;
    expect(await isAdmitted(second, { submission: 'bad', refused })).toBe(true);
  });

  it('is probed often where a right is missing, and ever more seldom where credit is', async () => {
    for (const [error, longest] of [
      [forbidden(), 10_000],
      [noCredit(), 60_000],
    ] as const) {
      const gate = worker();
      let refused: Refusals | undefined;
      for (let tries = 0; tries < 8; tries += 1) {
        ({ refused } = await refuse(gate, 'bad', refused, error));
        clock.at = gate.retryAt('submit', refused);
      }
      const { submit: hold } = (await holds()) as Record<string, { until: number }>;
      expect(hold!.until - refused!.at).toBeLessThanOrEqual(longest);
      expect(hold!.until - refused!.at).toBeGreaterThanOrEqual(longest / 2);
      await gate.settle(await enter(gate), undefined);
    }
  });

  it('says of a second refusal that it is the submission’s own, once another has passed, and ends with that', async () => {
    const [first, second] = [worker(), worker()];
    const { refused } = await refuse(first, 'bad');
    clock.at += 2_100;
    await second.settle(await enter(second, 'submit', { submission: 'good' }), undefined);
    clock.at += 1_000;
    expect(await refuse(first, 'bad', refused)).toMatchObject({ isOwnFault: true });
    expect(await holds()).toEqual({});
    expect(await isAdmitted(second)).toBe(true);
  });

  it.each(['answered', 'sent'])(
    'takes no request that was %s before the clock was set back for a later one',
    async (how) => {
      const [gate, other] = [worker(), worker()];
      const good = await enter(gate, 'submit', { submission: 'good' });
      if (how === 'answered') await gate.settle(good, undefined);
      clock.at -= 600_000;
      if (how === 'sent') await gate.settle(good, undefined);
      clock.at += 60_000;
      const { refused } = await refuse(gate, 'bad');
      clock.at += 10_000;
      expect(await refuse(gate, 'bad', refused)).toMatchObject({ isOwnFault: false });
      expect(await isAdmitted(other)).toBe(false);
    },
  );

  it('ignores a pass in Redis that is from before the clock was set back', async () => {
    const gate = worker();
    await new AccountBoard(redis, prefix).pass('knowhere/default', 'submit', {
      sentAt: clock.at + 3_600_000,
      at: clock.at + 3_600_000,
    });
    const { refused } = await refuse(gate, 'bad');
    clock.at += 10_000;
    expect(await refuse(gate, 'bad', refused)).toMatchObject({ isOwnFault: false });
  });

  it('takes no other answer than a success for a sign that others pass', async () => {
    const gate = worker();
    const { refused } = await refuse(gate, 'bad');
    clock.at += 2_100;
    await gate.settle(
      await enter(gate, 'submit', { submission: 'cut' }),
      new VendorUnavailableError('cut', { taken: 'maybe' }),
    );
    clock.at += 60_000;
    expect(await refuse(gate, 'bad', refused)).toMatchObject({ isOwnFault: false });
    expect(await holds()).toMatchObject({ submit: { reason: 'forbidden' } });
  });

  it('stays held when a request passes that was under way before', async () => {
    const gate = worker();
    const early = await enter(gate);
    clock.at += 10;
    const { refused } = await refuse(gate, 'bad');
    clock.at += 10;
    await gate.settle(early, undefined);
    clock.at += 600;
    expect(await isAdmitted(gate, { submission: 'new' })).toBe(false);
    // The key may have lost its right just then, and a moment proves nothing.
    clock.at += 4_500;
    expect(await refuse(gate, 'bad', refused)).toMatchObject({ isOwnFault: false });
  });

  it.each([
    [true, 'when nothing else was refused since'],
    [false, 'unless what was sent later was refused too'],
  ])('is told from one refused beside a good one after seconds: %s, %s', async (isOwnFault) => {
    const [first, second] = [worker(), worker()];
    const early = await enter(second, 'submit', { submission: 'good' });
    clock.at += 10;
    const { refused } = await refuse(first, 'bad');
    clock.at += 10;
    await second.settle(early, undefined);
    clock.at += 3_000;
    await second.abandon(await enter(second, 'status'));
    if (!isOwnFault) await refuse(second, 'later');
    clock.at += 20_000;
    expect(await refuse(first, 'bad', refused)).toMatchObject({ isOwnFault });
  });

  it('outlives a probe that says nothing of it', async () => {
    const gate = worker();
    await refuse(gate, 'bad');
    clock.at += 2_100;
    const probing = await enter(gate, 'submit', { submission: 'other' });
    await gate.settle(probing, new VendorUnavailableError('connection cut', { taken: 'maybe' }));
    expect(await holds()).toMatchObject({ submit: { reason: 'forbidden', tries: 2 } });
  });

  it('takes the place of a hold of the whole account, which the version before wrote', async () => {
    const gate = worker();
    const old = { reason: 'forbidden', message: 'HTTP 403', since: clock.at - 9_000, until: clock.at - 1, tries: 3 };
    await redis.hset(`${prefix}:jobferry:accounts`, 'knowhere/default|hold', JSON.stringify(old));
    await refuse(gate, 'bad');
    expect(Object.keys(await holds())).toEqual(['submit']);
    clock.at += 600;
    expect((await worker().admit('status')).admitted).toBe(true);
  });

  it('remembers look-ups of one vendor job that are refused while others pass', async () => {
    const gate = worker();
    const look = async (vendorJob: string, error?: Error): Promise<Settled> =>
      gate.settle(await enter(gate, 'status', { vendorJob }), error);
    await look('foreign', forbidden());
    clock.at += 2_100;
    await look('ours');
    clock.at += 1_000;
    expect(await look('foreign', forbidden())).toMatchObject({ isOwnFault: true });
    expect(await holds()).toEqual({});
  });
});

describe('a throttled account', () => {
  const refuseLook = async (retryAfterMs?: number): Promise<void> => {
    const gate = worker();
    const hint = retryAfterMs === undefined ? {} : { retryAfterMs };
    const admission = await gate.admit('status');
    if (!admission.admitted) throw new Error('not admitted');
    await gate.settle(admission, new VendorThrottledError('HTTP 429', hint));
  };

  it('says to all workers whether it is the vendor that forbids the request', async () => {
    await refuseLook(60_000);
    expect(await worker().admit('status')).toMatchObject({ admitted: false, forbiddenByHint: true });
    expect(await worker().admit('submit')).toMatchObject({ admitted: true });
  });

  it('by a 429 without a hint is held back by us alone', async () => {
    await refuseLook();
    const admission = await worker().admit('status');
    expect(admission.admitted).toBe(false);
    expect(admission).not.toHaveProperty('forbiddenByHint');
  });

  it('is forbidden by a budget that the vendor says is used up', async () => {
    await worker().onLimits({ scope: 'status', remaining: 0, resetMs: 5_000 });
    expect(await worker().admit('status')).toMatchObject({ forbiddenByHint: true });
  });
});
