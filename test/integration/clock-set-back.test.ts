import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { moveBack } from '../../src/core/move-back.ts';
import { receive, type SubmissionState } from '../../src/core/submission.ts';
import { AccountBoard } from '../../src/queues/account-board.ts';
import { ClockSteps } from '../../src/queues/clock-steps.ts';
import { RedisClock } from '../../src/queues/redis-clock.ts';
import { AccountGate } from '../../src/workers/accounts/account-gate.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { until } from '../helpers/harness.ts';
import { startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

const hour = 3_600_000;
const scorePerMs = 4_096;

let redis: Redis;
let prefix: string;
beforeEach(() => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  prefix = freshPrefix();
});
afterEach(async () => {
  const keys = await redis.keys(`${prefix}:*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
});

async function serverTime(): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1_000 + Number(microseconds) / 1_000;
}

/** Redis tells its time at once, and its answer arrives 400 ms later. */
function answerSlowly(): void {
  const commands = redis as Redis & { jobferryTime(key: string): Promise<string[]> };
  const ask = commands.jobferryTime.bind(commands);
  commands.jobferryTime = async (key) => {
    const answer = await ask(key);
    await new Promise((resolve) => setTimeout(resolve, 400));
    return answer;
  };
}

describe('the engine’s clock', () => {
  it('is Redis’ time, runs with elapsed time, and does not follow the own clock', async () => {
    const own = { wallOffset: 0, wall: () => Date.now() + own.wallOffset, monotonic: () => performance.now() };
    const clock = new RedisClock(redis, prefix, own);
    own.wallOffset = 11 * 60_000;
    await clock.measure();
    expect(Math.abs(clock.now() - (await serverTime()))).toBeLessThan(50);
    expect(Math.abs(clock.offsetMs() - 11 * 60_000)).toBeLessThan(50);
    own.wallOffset = -hour;
    expect(Math.abs(clock.now() - (await serverTime()))).toBeLessThan(50);
    expect(Math.abs(clock.offsetMs() + hour)).toBeLessThan(50);
    await clock.measure();
    expect(Math.abs(clock.now() - (await serverTime()))).toBeLessThan(50);
  });

  it('keeps its time when an answer is too slow to prove it wrong', async () => {
    const clock = new RedisClock(redis, prefix);
    await clock.measure();
    answerSlowly();
    await clock.measure();
    expect(Math.abs(clock.now() - (await serverTime()))).toBeLessThan(50);
  });

  it('moves by what a slow answer proves, and no further', async () => {
    let late = 0;
    const own = { wall: () => Date.now(), monotonic: () => performance.now() + late };
    const clock = new RedisClock(redis, prefix, own);
    await clock.measure();
    // As a first answer that was slow on one way leaves it.
    late = 20;
    answerSlowly();
    await clock.measure();
    expect(Math.abs(clock.now() - (await serverTime()))).toBeLessThan(60);
  });
});

/** As a Redis whose clock was an hour ahead would have left it. */
async function rememberTheFuture(of: string, name = 'jobferry.clock'): Promise<void> {
  await redis.hset(`${of}:${name}`, 'last', Math.floor((await serverTime()) + hour));
}

describe('a step back of Redis’ clock', () => {
  it('moves delayed jobs along, once, whoever sees it, and only some seconds later', async () => {
    const steps = new ClockSteps(redis, prefix);
    const base = `${prefix}:a.poll`;
    const score = Math.floor((await serverTime()) + hour + 5_000) * scorePerMs + 17;
    expect(await steps.repairQueue('a.poll')).toBe(0);
    await redis.zadd(`${base}:delayed`, score, 'j1');
    await redis.set(`${base}:j1:lock`, 'dead', 'PX', hour);
    await redis.lpush(`${base}:active`, 'j1');
    await redis.set(`${base}:stalled-check`, '1', 'PX', hour);
    await rememberTheFuture(base);
    const seen = await Promise.all([1, 2, 3].map(() => steps.repairQueue('a.poll')));
    expect(seen).toEqual([0, 0, 0]);
    await redis.hincrby(`${base}:jobferry.clock`, 'seen', -5_001);
    const moved = await Promise.all([1, 2, 3].map(() => steps.repairQueue('a.poll')));
    const stepMs = moved.find((one) => one > 0) ?? 0;
    expect(moved.filter((one) => one > 0)).toHaveLength(1);
    expect(Math.abs(stepMs - hour)).toBeLessThan(2_000);
    expect(Number(await redis.zscore(`${base}:delayed`, 'j1'))).toBe(score - stepMs * scorePerMs);
    expect(await redis.pttl(`${base}:j1:lock`)).toBeLessThanOrEqual(5_000);
    await until(async () => (await redis.exists(`${base}:stalled-check`)) === 0, 2_000);
    expect(await steps.repairQueue('a.poll')).toBe(0);
  });

  it('leaves alone what was delayed after it', async () => {
    const steps = new ClockSteps(redis, prefix);
    const base = `${prefix}:a.poll`;
    const now = Math.floor(await serverTime());
    const before = { 'was-overdue': now + hour - 20_000, soon: now + hour + 1_000, late: now + 2.5 * hour };
    const after = { 'due-now': now, 'in-30-s': now + 30_000, 'in-20-min': now + 20 * 60_000 };
    for (const [id, at] of Object.entries({ ...before, ...after }))
      await redis.zadd(`${base}:delayed`, at * scorePerMs, id);
    await rememberTheFuture(base);
    expect(await steps.repairQueue('a.poll')).toBe(0);
    await redis.hincrby(`${base}:jobferry.clock`, 'seen', -5_001);
    const stepMs = await steps.repairQueue('a.poll');
    const at = async (id: string): Promise<number> => Number(await redis.zscore(`${base}:delayed`, id)) / scorePerMs;
    for (const [id, was] of Object.entries(before)) expect([id, await at(id)]).toEqual([id, was - stepMs]);
    for (const [id, was] of Object.entries(after)) expect([id, await at(id)]).toEqual([id, was]);
  });

  it('moves each of many delayed jobs once, whoever moves them', async () => {
    const steps = new ClockSteps(redis, prefix);
    const base = `${prefix}:a.poll`;
    const now = Math.floor(await serverTime());
    // Many at one moment, and many that wait for longer than the step was.
    const due = (index: number): number => (now + hour + Math.max(0, index - 1_200) * 5_000) * scorePerMs;
    const ids = Array.from({ length: 4_500 }, (_, index) => index);
    await redis.zadd(`${base}:delayed`, ...ids.flatMap((index) => [due(index), `job-${index}`]));
    await rememberTheFuture(base);
    expect(await steps.repairQueue('a.poll')).toBe(0);
    await redis.hincrby(`${base}:jobferry.clock`, 'seen', -5_001);
    const moved = await Promise.all([1, 2, 3].map(() => steps.repairQueue('a.poll')));
    const [stepMs = 0] = moved.filter((one) => one > 0);
    expect(moved.filter((one) => one > 0)).toHaveLength(1);
    const scores = await redis.zrange(`${base}:delayed`, '0', '-1', 'WITHSCORES');
    const by = new Map(ids.map((index) => [`job-${index}`, due(index)]));
    const steppedBy = new Set<number>();
    for (let at = 0; at < scores.length; at += 2)
      steppedBy.add((by.get(scores[at]!)! - Number(scores[at + 1])) / scorePerMs);
    expect([...steppedBy]).toEqual([stepMs]);
    expect(await steps.repairQueue('a.poll')).toBe(0);
  });

  it('moves holds and throttles along, and leaves their words as they are', async () => {
    const steps = new ClockSteps(redis, prefix);
    const board = new AccountBoard(redis, prefix);
    const ahead = Math.floor((await serverTime()) + hour);
    const message = 'limit "until": 1900000000000, \\"since\\":1900000000001';
    const hold = { reason: 'quota', message, since: ahead - 500, until: ahead + 2_000, tries: 3 } as const;
    await board.hold('knowhere/eu', 'account', hold);
    await board.throttle('knowhere/eu', 'submit', ahead + 1_500.5);
    await board.pass('knowhere/eu', 'status', { sentAt: ahead - 90, at: ahead });
    await board.takeProbe('knowhere/eu', 'status', 'dead', hour);
    await rememberTheFuture(`${prefix}:jobferry`, 'clock');
    const stepMs = await steps.repairAccounts();
    expect(Math.abs(stepMs - hour)).toBeLessThan(2_000);
    expect((await board.readAll()).get('knowhere/eu')).toEqual({
      holds: { account: { ...hold, since: hold.since - stepMs, until: hold.until - stepMs } },
      passes: { status: { sentAt: ahead - 90 - stepMs, at: ahead - stepMs } },
      throttledUntil: { submit: ahead + 1_500.5 - stepMs },
      forbiddenUntil: {},
    });
    await until(() => board.takeProbe('knowhere/eu', 'status', 'next', 1_000), 2_000);
  });
});

describe('a step forward of Redis’ clock', () => {
  it('is followed as time that has passed, and moves nothing', async () => {
    const clock = new RedisClock(redis, prefix);
    await clock.measure();
    const commands = redis as Redis & { jobferryTime(key: string): Promise<string[]> };
    const ask = commands.jobferryTime.bind(commands);
    commands.jobferryTime = async (key) => {
      const [seconds, microseconds = '0'] = await ask(key);
      return [String(Number(seconds) + hour / 1_000), microseconds];
    };
    await clock.measure();
    expect(Math.abs(clock.now() - (await serverTime()) - hour)).toBeLessThan(1_000);

    const steps = new ClockSteps(redis, prefix);
    const base = `${prefix}:a.poll`;
    const score = Math.floor((await serverTime()) + 5_000) * scorePerMs;
    await redis.zadd(`${base}:delayed`, score, 'j1');
    await redis.hset(`${base}:jobferry.clock`, 'last', Math.floor((await serverTime()) - hour));
    expect(await steps.repairQueue('a.poll')).toBe(0);
    expect(await redis.hkeys(`${base}:jobferry.clock`)).toEqual(['last']);
    expect(Number(await redis.zscore(`${base}:delayed`, 'j1'))).toBe(score);
  });
});

describe('a hold that begins after now', () => {
  it('is due at once', async () => {
    const board = new AccountBoard(redis, prefix);
    const now = Math.floor(await serverTime());
    const hold = { reason: 'quota', message: 'm', since: now + hour, until: now + hour + 60_000, tries: 3 } as const;
    await board.hold('knowhere/eu', 'account', hold);
    const gate = new AccountGate(board, 'knowhere/eu', { now: () => now, random: () => 0 }, silentLogger);
    const admission = await gate.admit('submit');
    expect(admission).toMatchObject({ admitted: true, probe: expect.any(String) });
    if (admission.admitted) await gate.settle(admission, undefined);
    expect((await board.readAll()).get('knowhere/eu')?.holds ?? {}).toEqual({});
  });
});

describe('submissions under way when all clocks go back by an hour', () => {
  let rig: KnowhereRig;
  beforeEach(async () => {
    rig = await startKnowhere();
    prefix = rig.harness.prefix;
  });
  afterEach(() => rig.stop());

  it('go on within seconds, polled and held ones alike, and end well', async () => {
    const poll = { initialDelayMs: 4_000, maxDelayMs: 4_000, deadlineMs: 60_000 };
    const ids = ['one', 'two', 'three'];
    for (const jobId of ids) await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll }, { jobId });
    await until(async () => (await redis.zcard(`${prefix}:knowhere.poll:delayed`)) === ids.length);
    await rig.harness.stopWorkers();
    for (const id of ids) {
      await redis.zincrby(`${prefix}:knowhere.poll:delayed`, hour * scorePerMs, id);
      const key = `${prefix}:knowhere.poll:${id}`;
      const field = 'jobferry.record';
      const record = (await redis.hget(key, field)) ?? '';
      await redis.hset(
        key,
        field,
        record.replace(
          /"(\w+)":(1\d{12})(?=[,}])/g,
          (_all, name: string, at: string) => `"${name}":${Number(at) + hour}`,
        ),
      );
    }
    const ahead = (await serverTime()) + hour;
    const hold = { reason: 'unavailable', message: 'down', since: ahead, until: ahead + 1_000, tries: 1 } as const;
    await new AccountBoard(redis, prefix).hold('knowhere/default', 'account', hold);
    for (const stage of ['submit', 'poll']) await rememberTheFuture(`${prefix}:knowhere.${stage}`);
    await rememberTheFuture(`${prefix}:jobferry`, 'clock');
    await rig.harness.startWorkers();
    for (const id of ids) {
      const { outcome, timings } = (await rig.harness.event(id, 25_000)).data;
      expect(outcome).toBe('succeeded');
      expect(Date.parse(timings.enqueuedAt)).toBeLessThanOrEqual(Date.parse(timings.settledAt));
    }
  });
});

describe('a record from before the step', () => {
  const now = 2_000_000_000_000;

  it('moves back as a whole, so that it waits no longer than it would have', () => {
    const state: SubmissionState = {
      ...receive('a', 'u', now + hour, now + hour + 60_000),
      phase: 'polling',
      submittedAt: now + hour + 500,
      acceptedAt: now + hour + 450,
      notBefore: now + hour + 9_000,
      refused: { at: now + hour + 10, first: { sentAt: now + hour, at: now + hour + 10, reason: 'quota' } },
      reconciliation: { since: now + hour, landsUntil: now + hour + 100, absent: 1 },
      jobs: [
        { id: 'v', kind: 'k', status: 'running', missingSince: now + hour + 400 },
        {
          id: 'w',
          kind: 'k',
          status: 'running',
          refused: { since: now + hour + 300, error: { code: 'A', message: 'b' } },
        },
      ],
    };
    expect(moveBack(state, now)).toEqual({
      ...state,
      enqueuedAt: now - 500,
      deadlineAt: now + 59_500,
      submittedAt: now,
      acceptedAt: now - 50,
      notBefore: now + 8_500,
      refused: { at: now - 490, first: { sentAt: now - 500, at: now - 490, reason: 'quota' } },
      reconciliation: { since: now - 500, landsUntil: now - 400, absent: 1 },
      jobs: [
        { id: 'v', kind: 'k', status: 'running', missingSince: now - 100 },
        { id: 'w', kind: 'k', status: 'running', refused: { since: now - 200, error: { code: 'A', message: 'b' } } },
      ],
    });
  });

  it('stays as it is when its times can be right, and when it is settled', () => {
    const state = receive('a', 'u', now + 900, now + 60_000);
    expect(moveBack(state, now)).toBe(state);
    const settled: SubmissionState = {
      ...receive('a', 'u', now + hour, now + 2 * hour),
      phase: 'settled',
      settled: { outcome: 'succeeded', error: null, at: now + hour },
    };
    expect(moveBack(settled, now)).toBe(settled);
  });
});
