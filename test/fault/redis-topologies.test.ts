import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startBoard } from '../../src/board/index.ts';
import { awaitRedis } from '../../src/cli/await-redis.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { onCompletion } from '../../src/consumers/on-completion.ts';
import { ConfigError, RedisUnavailableError } from '../../src/core/errors.ts';
import { createProducer } from '../../src/producers/producer.ts';
import { openConnection, parseRedisUrl } from '../../src/queues/connection.ts';
import { StrayWalk } from '../../src/queues/stray-walk.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { until } from '../helpers/harness.ts';
import { closedPort } from '../helpers/knowhere.ts';
import { expectOnceEach, Gate, pushOneOfEachState } from '../helpers/one-of-each-state.ts';
import { OwnRedis, OwnSentinel, startCluster } from '../helpers/own-redis.ts';
import { quickPoll, recordingLogger, RedisFaultRig, urlInput, type LogLine } from '../helpers/redis-fault-rig.ts';

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  const results: PromiseSettledResult<unknown>[] = [];
  // Whatever fails, no server stays behind.
  for (const cleanup of cleanups.splice(0).reverse()) results.push(...(await Promise.allSettled([cleanup()])));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
});

async function startRig(options: Parameters<typeof RedisFaultRig.start>[0]): Promise<RedisFaultRig> {
  const rig = await RedisFaultRig.start(options);
  cleanups.push(async () => {
    await rig.stop();
    expect(rig.unhandled).toEqual([]);
  });
  await rig.startWorkers();
  return rig;
}

describe('Redis Sentinel', () => {
  it('promotes a replica when the master dies: every state goes on, once each', async () => {
    const master = await OwnRedis.start();
    cleanups.push(() => master.stop());
    const replica = await OwnRedis.start('--replicaof', '127.0.0.1', String(master.port));
    cleanups.push(() => replica.stop());
    await until(async () => (await master.admin.info('replication')).includes('state=online'), 20_000);
    const sentinels: OwnSentinel[] = [];
    for (let count = 0; count < 3; count += 1) {
      const sentinel = await OwnSentinel.start('ferry', master, 2, 800);
      cleanups.push(() => sentinel.stop());
      sentinels.push(sentinel);
    }
    for (const { admin } of sentinels) {
      await until(async () => (await admin.info('sentinel')).includes('slaves=1,sentinels=3'), 20_000);
    }
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const gate = new Gate();
    const rig = await startRig({ redisUrl: `redis+sentinel://${hosts}/ferry`, checkpoint: gate.checkpoint });
    cleanups.push(() => gate.letGo());

    const ids = await pushOneOfEachState(rig, gate);
    // Replication is asynchronous: what a replica has not got yet would be lost.
    expect(await master.admin.wait(1, 5_000)).toBe(1);
    const logged = rig.log.length;
    await master.kill();
    gate.letGo();
    const early = { id: 'early', input: urlInput('early'), poll: quickPoll };
    const startedAt = Date.now();
    await expect(rig.producer.submit('knowhere', 'parse', early)).rejects.toBeInstanceOf(RedisUnavailableError);
    expect(Date.now() - startedAt).toBeLessThan(3_000);
    await rig.queue('knowhere.submit').resume();
    await until(() => rig.producer.submit('knowhere', 'parse', early).catch(() => undefined), 20_000);
    expectOnceEach(rig, await rig.settled([...ids, 'early'], 40_000), [...ids, 'early']);
    expect(await replica.admin.info('replication')).toContain('role:master');
    expect(rig.log.slice(logged).filter((line) => line.level === 'error').length).toBeLessThan(100);
  }, 90_000);
});

describe('a Redis that nobody finds', () => {
  it.each([
    ['redis+sentinel', '/ferry', /sentinels are unreachable/],
    ['redis+cluster', '', /ECONNREFUSED|Connection is closed/],
  ])('over %s:// is waited for, and said once', async (scheme, path, reason) => {
    const lines: LogLine[] = [];
    const stop = new AbortController();
    const hosts = `127.0.0.1:${await closedPort()},127.0.0.1:${await closedPort()}`;
    const waiting = awaitRedis(parseRedisUrl(`${scheme}://${hosts}${path}`), recordingLogger(lines), stop.signal);
    await until(() => lines.length > 0);
    // Time for several tries.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    stop.abort();
    await waiting;
    expect(lines.map((line) => line.fields['error'])).toEqual([expect.stringMatching(reason)]);
  });

  it('over rediss+sentinel:// is asked for in TLS', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    cleanups.push(() => void server.close());
    await once(server, 'listening');
    const target = parseRedisUrl(`rediss+sentinel://127.0.0.1:${(server.address() as AddressInfo).port}/ferry`);
    // Else the master would be spoken to in the clear.
    expect(target.options).toMatchObject({ tls: {}, enableTLSForSentinelMode: true });
    const connection = openConnection(target, () => undefined);
    cleanups.push(() => connection.disconnect());
    const [socket] = (await once(server, 'connection')) as [Socket];
    socket.on('error', () => undefined);
    const [hello] = (await once(socket, 'data')) as [Buffer];
    const handshake = 0x16;
    expect(hello[0]).toBe(handshake);
    socket.destroy();
  });
});

describe('Redis Cluster', () => {
  let nodes: OwnRedis[] = [];
  let redisUrl: string;

  beforeAll(async () => {
    nodes = await startCluster(3);
    redisUrl = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  });
  afterAll(() => Promise.all(nodes.map((node) => node.stop())));

  it('carries submissions of all vendors from end to end, and the board shows them', async () => {
    const rig = await startRig({ redisUrl, prefix: '{bull}' });
    const { producer, sandbox } = rig;

    await producer.submit('knowhere', 'parse', {
      id: 'page',
      input: { ...urlInput('page'), download: true },
      poll: quickPoll,
    });
    await producer.submit('knowhere', 'parse', {
      id: 'lost',
      input: urlInput('lost', '?sandbox=cut-after'),
      poll: quickPoll,
    });
    await producer.submitMany(
      'knowhere',
      'parse',
      ['many-1', 'many-2', 'many-3'].map((id) => ({ id, input: urlInput(id), poll: quickPoll })),
    );
    const documentIdsToAdd = ['https://example.com/help/shipping', 'https://example.com/help/customs'];
    await producer.submit('fini', 'documents.ingest', {
      id: 'help',
      input: { source: 'web', documentIdsToAdd },
      poll: quickPoll,
    });
    await producer.submit('sharely', 'role.create', {
      id: 'crew',
      input: { customerRoleId: 'deck-crew', name: 'Deck crew' },
      poll: quickPoll,
    });
    await producer.submit('knowhere', 'parse', {
      id: 'idle',
      input: urlInput('idle', '?sandbox=stall'),
      poll: quickPoll,
    });
    await rig.inPhase('idle', 'polling');
    expect(await producer.cancel('knowhere', 'idle')).toBe('requested');

    const ids = ['page', 'lost', 'many-1', 'many-2', 'many-3', 'help', 'crew', 'idle'];
    const events = await rig.settled(ids);
    const outcomes = Object.fromEntries(events.map((event) => [event.subject, event.data.outcome]));
    expect(outcomes).toEqual({ ...Object.fromEntries(ids.map((id) => [id, 'succeeded'])), idle: 'canceled' });
    for (const id of ['page', 'lost', 'many-1', 'many-2', 'many-3', 'idle']) expect(rig.made(id)).toHaveLength(1);
    expect(sandbox.ledger.entries({ kind: 'create', vendor: 'fini' })).toHaveLength(1);
    expect((await producer.status('sharely', 'crew'))?.outcome).toBe('succeeded');
    expect(await producer.retry('knowhere', 'idle')).toEqual({ kind: 'started', submissionId: 'idle#2' });

    const { connection } = rig;
    const board = await startBoard({ connection, prefix: '{bull}', vendors: ['knowhere', 'fini', 'sharely'], port: 0 });
    cleanups.push(() => board.close());
    const readiness = await fetch(`${board.url}readyz`);
    const facts = (await readiness.json()) as { status: string; queues: { name: string; workers: number | string }[] };
    expect([readiness.status, facts.status]).toEqual([200, 'ready']);
    expect(facts.queues.find((queue) => queue.name === 'knowhere.poll')?.workers).toBe(1);
    const page = await fetch(`${board.url}api/queues?activeQueue=knowhere.poll&status=completed`);
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('canceled');
    expect((await fetch(`${board.url}queue/knowhere.poll`)).status).toBe(200);
    expect(await (await fetch(`${board.url}metrics`)).text()).toContain('knowhere.poll');
  }, 90_000);

  it('is swept and repaired like one Redis', async () => {
    const rig = await startRig({ redisUrl, prefix: '{swept}' });
    const { connection } = rig;

    // In no list, as after an add that failed half-way.
    await rig.queue('knowhere.submit').pause();
    await rig.parse('stray');
    await connection.lrem('{swept}:knowhere.submit:wait', 0, 'stray');
    await connection.lrem('{swept}:knowhere.submit:paused', 0, 'stray');
    const walk = new StrayWalk(connection, '{swept}');
    await walk.tend('knowhere.submit');
    await walk.run();
    // By this walk, or by the workers, which look too.
    await until(async () => (await connection.lpos('{swept}:knowhere.submit:wait', 'stray')) !== null);
    await rig.queue('knowhere.submit').resume();
    // Made failed by somebody's hand.
    await rig.parse('failed-by-hand', {}, { poll: { initialDelayMs: 60_000, maxDelayMs: 60_000 } });
    // Not its phase: that is written a moment before the job stands in line.
    await until(async () => (await connection.zrem('{swept}:knowhere.poll:delayed', 'failed-by-hand')) === 1);
    await connection.zadd('{swept}:knowhere.poll:failed', Date.now(), 'failed-by-hand');
    await connection.hset('{swept}:knowhere.poll:failed-by-hand', { failedReason: 'by hand', finishedOn: Date.now() });
    // A name of BullMQ's own.
    await rig
      .queue('fini.submit')
      .add('documents.ingest', {}, { jobId: 'stalled' })
      .catch(() => undefined);
    const events = await rig.settled(['stray', 'failed-by-hand', 'stalled'], 30_000);
    const outcomes = Object.fromEntries(events.map((event) => [event.subject, event.data.outcome]));
    expect(outcomes).toEqual({ stray: 'succeeded', 'failed-by-hand': 'succeeded', stalled: 'rejected' });
  }, 90_000);

  it('is refused without a hash tag in the prefix, by workers, producers and consumers', async () => {
    for (const prefix of ['bull', '{}bull', 'a{}{b}']) {
      const refusal = /^(?:JOBFERRY_PREFIX|prefix): .*hash tag.*\{bull\}/;
      const env = { REDIS_URL: redisUrl, JOBFERRY_PREFIX: prefix };
      expect(() => loadConfig(env, [knowhere])).toThrow(ConfigError);
      expect(() => loadConfig(env, [knowhere])).toThrow(refusal);
      expect(() => createProducer({ vendors: { knowhere }, redisUrl, prefix })).toThrow(refusal);
      await expect(onCompletion(() => undefined, { redisUrl, prefix })).rejects.toThrow(refusal);
    }
  });
});
