import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { TcpProxy } from '../../chaos/lib/proxy.ts';
import { RedisUnavailableError } from '../../src/core/errors.ts';
import { until } from '../helpers/harness.ts';
import { closedPort } from '../helpers/knowhere.ts';
import { expectOnceEach, Gate, pushOneOfEachState } from '../helpers/one-of-each-state.ts';
import { OwnRedis } from '../helpers/own-redis.ts';
import { quickPoll, RedisFaultRig, urlInput } from '../helpers/redis-fault-rig.ts';

interface House {
  redis: OwnRedis;
  /** Between Redis and everybody else. */
  relay: TcpProxy;
  /** Where it leads: a port, for connections made from then on. */
  leadTo: (port: number) => void;
  rig: RedisFaultRig;
  gate: Gate;
}

/** Each test has a Redis of its own, with workers, a producer and the sandbox vendor around it. */
const test = it.extend<{ house: House }>({
  house: async ({ task: _task }, use) => {
    const redis = await OwnRedis.start();
    let target = redis.port;
    const relay = await TcpProxy.open(() => target);
    const leadTo = (port: number): void => void (target = port);
    const gate = new Gate();
    const workerUrl = `redis://127.0.0.1:${relay.port}`;
    const rig = await RedisFaultRig.start({ redisUrl: redis.url, workerUrl, checkpoint: gate.checkpoint });
    try {
      await rig.startWorkers();
      await use({ redis, relay, leadTo, rig, gate });
    } finally {
      gate.letGo();
      await rig.stop();
      await relay.close();
      await redis.stop();
    }
    expect(rig.unhandled).toEqual([]);
  },
});

/** Commands that the server was asked for while something ran, beside those of `doing` itself. */
async function commandsDuring(redis: OwnRedis, doing: () => Promise<unknown>): Promise<number> {
  const read = async (): Promise<number> =>
    Number(/total_commands_processed:(\d+)/.exec(await redis.admin.info('stats'))?.[1]);
  const before = await read();
  await doing();
  return (await read()) - before;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.concurrent('Redis', { timeout: 90_000 }, () => {
  for (const [when, awayMs] of [
    ['at once', 0],
    ['after all locks ran out', 5_500],
  ] as const) {
    test(`killed, and back ${when} with its append-only file: every state goes on, once each`, async ({ house }) => {
      const { redis, rig, gate } = house;
      const ids = await pushOneOfEachState(rig, gate);
      await redis.kill();
      await sleep(awayMs);
      await redis.startAgain();
      gate.letGo();
      await rig.queue('knowhere.submit').resume();
      expectOnceEach(rig, await rig.settled(ids), ids);
    });
  }

  describe('loses its last writes', () => {
    test('an acceptance, not its intent: the vendor job is found and adopted', async ({ house }) => {
      const { redis, rig, gate } = house;
      gate.hold('vendor-answered');
      await rig.parse('adopted', {}, { poll: { initialDelayMs: 10_000, maxDelayMs: 10_000 } });
      await gate.holds(1);
      const mark = redis.mark();
      gate.letGo();
      await rig.inPhase('adopted', 'polling');
      await until(async () => !(await redis.admin.exists('bull:knowhere.submit:adopted')));
      await rig.answersSeen();
      await redis.kill(mark);
      await redis.startAgain();
      await rig.inPhase('adopted', 'intended');
      expectOnceEach(rig, await rig.settled(['adopted']), ['adopted']);
      expect(rig.log.map((line) => line.message)).toContain('lost submit found and adopted');
    });

    test('and is told again that the hand-over is done: the submission is handed over again', async ({ house }) => {
      const { redis, relay, rig, gate } = house;
      gate.hold('vendor-answered');
      await rig.parse('resent', {}, { poll: { initialDelayMs: 2_000, maxDelayMs: 2_000 } });
      await gate.holds(1);
      const mark = redis.mark();
      gate.letGo();
      gate.hold('poll-job-begun');
      await gate.holds(1);
      // The submit job is completed, and the answer to that is never seen: so it is sent again.
      relay.answerDelayMs = 60_000;
      gate.letGo();
      await until(async () => !(await redis.admin.exists('bull:knowhere.submit:resent')));
      await redis.kill(mark);
      relay.answerDelayMs = 0;
      await redis.startAgain();
      expectOnceEach(rig, await rig.settled(['resent']), ['resent']);
    });

    test('and is told again that all is done: the event comes again', async ({ house }) => {
      const { redis, relay, rig, gate } = house;
      gate.hold('looked-up');
      await rig.parse('repeated');
      await gate.holds(1);
      const mark = redis.mark();
      gate.letGo();
      gate.hold('event-delivered');
      await gate.holds(1);
      relay.answerDelayMs = 60_000;
      gate.letGo();
      await until(() => redis.admin.hexists('bull:knowhere.poll:repeated', 'finishedOn').then(Boolean));
      await redis.kill(mark);
      relay.answerDelayMs = 0;
      await redis.startAgain();
      expectOnceEach(rig, await rig.settled(['repeated']), ['repeated']);
      expect((await rig.state('repeated'))?.phase).toBe('settled');
    });

    test('an outcome and its event: the event comes again under the same id', async ({ house }) => {
      const { redis, rig, gate } = house;
      gate.hold('looked-up');
      await rig.parse('again');
      await gate.holds(1);
      const mark = redis.mark();
      gate.letGo();
      const before = await rig.settled(['again']);
      await redis.kill(mark);
      await redis.startAgain();
      await rig.inPhase('again', 'polling');
      const after = await rig.settled(['again']);
      expect(after.map((event) => event.id)).toEqual(before.map((event) => event.id));
      expect(rig.deliveries.length).toBe(2);
      expectOnceEach(rig, after, ['again']);
    });

    test('an intent, while its worker lives: the worker hands its acceptance over', async ({ house }) => {
      const { redis, rig, gate } = house;
      gate.hold('before-intent');
      await rig.parse('unwritten');
      await gate.holds(1);
      const mark = redis.mark();
      gate.letGo();
      gate.hold('vendor-answered');
      await gate.holds(1);
      await redis.kill(mark);
      await redis.startAgain();
      expect(await rig.state('unwritten')).toBeUndefined();
      gate.letGo();
      expectOnceEach(rig, await rig.settled(['unwritten']), ['unwritten']);
    });
  });

  test('loses an intent, and its worker dies too: the one case in which a vendor is asked twice', async ({ house }) => {
    const { redis, rig } = house;
    await rig.stopWorkers();
    await rig.parse('twice');
    const mark = redis.mark();
    const child = fork(fileURLToPath(new URL('../helpers/crash-worker.ts', import.meta.url)), {
      execArgv: ['--import', 'tsx'],
      env: { ...process.env, ...rig.env, CRASH_AT: 'vendor-answered' },
    });
    try {
      await once(child, 'exit');
    } finally {
      child.kill('SIGKILL');
    }
    expect(rig.made('twice')).toHaveLength(1);
    await redis.kill(mark);
    await redis.startAgain();
    await rig.startWorkers();
    const events = await rig.settled(['twice']);
    expect(events.map((event) => [event.subject, event.data.outcome])).toEqual([['twice', 'succeeded']]);
    expect(rig.made('twice')).toHaveLength(2);
  });

  describe('takes no writes', () => {
    /** What everybody does while writes are refused, and how everything ends when they are taken again. */
    async function refuseWrites(
      house: House,
      begin: () => Promise<unknown>,
      end: () => Promise<unknown>,
      refusal: RegExp,
    ): Promise<void> {
      const { redis, rig, gate } = house;
      const ids = await pushOneOfEachState(rig, gate);
      const submit = (): Promise<unknown> =>
        rig.producer.submit('knowhere', 'parse', { id: 'refused', input: urlInput('refused'), poll: quickPoll });
      await begin();
      gate.letGo();
      const logged = rig.log.length;
      const commands = await commandsDuring(redis, async () => {
        const startedAt = Date.now();
        await expect(submit()).rejects.toThrow(refusal);
        await expect(submit()).rejects.toBeInstanceOf(RedisUnavailableError);
        expect(Date.now() - startedAt).toBeLessThan(4_000);
        // Longer than a lock lives.
        await sleep(6_000);
      });
      const lines = rig.log.slice(logged);
      expect(lines.some((line) => refusal.test(String(line.fields['error'])))).toBe(true);
      expect(lines.length).toBeLessThan(60);
      expect(commands).toBeLessThan(3_000);
      // One was delivered before.
      expect(await rig.queue('results').getJobCountByTypes('wait')).toBe(1);
      await end();
      await rig.queue('knowhere.submit').resume();
      await submit();
      expectOnceEach(rig, await rig.settled([...ids, 'refused']), [...ids, 'refused']);
    }

    test('as its memory is full: producers are told, nothing ends, all goes on by itself', async ({ house }) => {
      const { admin } = house.redis;
      await refuseWrites(
        house,
        () => admin.config('SET', 'maxmemory', '1mb'),
        () => admin.config('SET', 'maxmemory', '0'),
        /OOM/,
      );
    });

    test('as it is a replica for a while: the same', async ({ house }) => {
      const { admin } = house.redis;
      const nobody = await closedPort();
      await refuseWrites(
        house,
        () => admin.call('REPLICAOF', '127.0.0.1', nobody),
        () => admin.call('REPLICAOF', 'NO', 'ONE'),
        /READONLY/,
      );
    });

    test('as its memory is full: an acceptance of a vendor that can not be asked is kept', async ({ house }) => {
      const { redis, rig } = house;
      const candidateKnowledge = 'Ferries leave at 8 .fault-slow-reply--1000';
      const data = { input: { origin: 'generated', candidateKnowledge }, poll: quickPoll };
      await rig.queue('fini.submit').add('knowledge.generate', data, { jobId: 'unasked' });
      await until(() => rig.sandbox.ledger.entries({ vendor: 'fini', route: 'generate' }).length === 1);
      await redis.admin.config('SET', 'maxmemory', '1mb');
      await sleep(6_000);
      await redis.admin.config('SET', 'maxmemory', '0');
      const [event] = await rig.settled(['unasked']);
      expect(event?.data.outcome).toBe('succeeded');
      expect(rig.sandbox.ledger.entries({ vendor: 'fini', route: 'generate' })).toHaveLength(1);
    });
  });

  test('hands over to another master behind the same address: everybody finds it', async ({ house }) => {
    const { redis, leadTo, rig } = house;
    const ids = ['first', 'second'];
    for (const id of ids) await rig.parse(id, {}, { poll: { initialDelayMs: 2_000, maxDelayMs: 2_000 } });
    for (const id of ids) await rig.inPhase(id, 'polling');
    const successor = await OwnRedis.start('--replicaof', '127.0.0.1', String(redis.port));
    try {
      await until(async () => (await redis.admin.wait(1, 100)) === 1);
      await successor.admin.call('REPLICAOF', 'NO', 'ONE');
      leadTo(successor.port);
      await redis.admin.call('REPLICAOF', '127.0.0.1', successor.port);
      await rig.producer.submit('knowhere', 'parse', { id: 'third', input: urlInput('third'), poll: quickPoll });
      await until(() => new Set(rig.deliveries.map((event) => event.subject)).size === 3, 20_000);
      for (const id of [...ids, 'third']) expect(rig.made(id)).toHaveLength(1);
      await rig.stopWorkers();
    } finally {
      await successor.stop();
    }
  });

  test('slow, 300 ms for each answer: all settle, once each', async ({ house }) => {
    const { relay, rig } = house;
    relay.answerDelayMs = 300;
    const ids = ['slow-1', 'slow-2', 'slow-3', 'slow-4'];
    for (const id of ids) await rig.producer.submit('knowhere', 'parse', { id, input: urlInput(id), poll: quickPoll });
    await rig.parse('lost', urlInput('lost', '?sandbox=cut-after'));
    expectOnceEach(rig, await rig.settled([...ids, 'lost']), [...ids, 'lost']);
  });

  test('silent for longer than locks live: producers are told in time, and every state goes on', async ({ house }) => {
    const { redis, rig, gate } = house;
    const ids = await pushOneOfEachState(rig, gate);
    await rig.queue('knowhere.submit').resume();
    await redis.admin.client('PAUSE', 7_000);
    gate.letGo();
    const startedAt = Date.now();
    const late = { id: 'late', input: urlInput('late'), poll: quickPoll };
    await expect(rig.producer.submit('knowhere', 'parse', late)).rejects.toBeInstanceOf(RedisUnavailableError);
    expect(Date.now() - startedAt).toBeLessThan(3_000);
    await redis.admin.ping();
    // Whether the first one came through after all or not.
    await rig.producer.submit('knowhere', 'parse', late);
    expectOnceEach(rig, await rig.settled([...ids, 'late']), [...ids, 'late']);
  });

  test('emptied: the log names it, workers stay calm, and what is pushed afterwards works', async ({ house }) => {
    const { redis, rig, gate } = house;
    await pushOneOfEachState(rig, gate);
    const logged = rig.log.length;
    const told = (): unknown[] =>
      rig.log.filter((line) => line.message.includes('emptied')).map((line) => line.fields['queue']);
    await redis.admin.flushall();
    gate.letGo();
    const commands = await commandsDuring(redis, () => until(() => told().length === 6, 20_000));
    expect(commands).toBeLessThan(3_000);
    expect(told()).toContain('knowhere.poll');
    expect(rig.log.length - logged).toBeLessThan(40);
    // On a busy machine the turns that were under way end later: the calm begins after the last of them.
    let calm = -1;
    await until(async () => {
      calm = rig.log.length;
      await sleep(1_000);
      return rig.log.length === calm;
    }, 15_000);
    expect(await commandsDuring(redis, () => sleep(3_000))).toBeLessThan(1_000);
    expect(rig.log.length - calm).toBeLessThan(10);
    expect(told()).toHaveLength(6);
    expect(await redis.admin.hget('bull:knowhere.poll:meta', 'opts.maxLenEvents')).toBe('1000');
    await redis.admin.script('FLUSH');
    await rig.producer.submit('knowhere', 'parse', { id: 'anew', input: urlInput('anew'), poll: quickPoll });
    await rig.settled(['anew']);
    expect(rig.made('anew')).toHaveLength(1);
  });

  test('away when a producer is first used: told at once, and the same producer works later', async ({ house }) => {
    const { redis, rig } = house;
    const request = { id: 'early', input: urlInput('early'), poll: quickPoll };
    await redis.kill();
    await expect(rig.producer.submit('knowhere', 'parse', request)).rejects.toBeInstanceOf(RedisUnavailableError);
    await expect(rig.producer.status('knowhere', 'early')).rejects.toBeInstanceOf(RedisUnavailableError);
    await redis.startAgain();
    await redis.admin.ping();
    await until(() => rig.producer.submit('knowhere', 'parse', request).catch(() => undefined));
    expectOnceEach(rig, await rig.settled(['early']), ['early']);
    expect((await rig.producer.status('knowhere', 'early'))?.outcome).toBe('succeeded');
  });
});
