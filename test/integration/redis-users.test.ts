import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runWorkers, type RunningWorkers } from '../../src/app.ts';
import { startBoard, type RunningBoard } from '../../src/board/index.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { catalogue, createProducer, onCompletion, type CompletionEvent } from '../../src/index.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { openConnection, parseRedisUrl } from '../../src/queues/connection.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { certificate, key } from '../helpers/certificates.ts';
import { until } from '../helpers/harness.ts';
import { closedPort, quickPoll, urlInput } from '../helpers/knowhere.ts';
import { OwnRedis } from '../helpers/own-redis.ts';

const users = readFileSync(fileURLToPath(new URL('../../docs/redis-users.acl', import.meta.url)), 'utf8');

describe('the Redis users of docs/redis-users.acl', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-acl-'));
  const events: CompletionEvent[] = [];
  const close: (() => Promise<unknown> | void)[] = [];
  let redis: OwnRedis;
  let sandbox: Sandbox;
  let workers: RunningWorkers;
  let board: RunningBoard;

  const urlOf = (user: string): string => `redis://${user}:CHANGE-${user}@127.0.0.1:${redis.port}`;
  /** What was refused since the last look. */
  const denials = async (): Promise<string[]> => {
    const entries = (await redis.admin.call('ACL', 'LOG')) as unknown[][];
    await redis.admin.call('ACL', 'LOG', 'RESET');
    return entries.map((entry) => `${String(entry[9])}: ${String(entry[3])} ${String(entry[7])}`);
  };
  const as = (user: string): Redis => {
    const connection = new Redis(urlOf(user), { maxRetriesPerRequest: null, enableReadyCheck: false });
    connection.on('error', () => undefined);
    close.push(() => connection.disconnect());
    return connection;
  };

  beforeAll(async () => {
    const file = path.join(folder, 'users.acl');
    // The test looks on as the default user, which the shipped file turns off.
    writeFileSync(file, users.replace('user default off\n', ''));
    redis = await OwnRedis.start('--aclfile', file);
    sandbox = await startSandbox({ vendors: ['knowhere'], speed: 50 });
    const env = {
      REDIS_URL: urlOf('workers'),
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      JOBFERRY_ARTIFACTS_DIR: folder,
      KNOWHERE_API_KEY: 'sk_test',
      KNOWHERE_BASE_URL: sandbox.knowhereUrl,
    };
    const config = loadConfig(env, [knowhere], folder);
    workers = await runWorkers({
      config,
      redis: parseRedisUrl(urlOf('workers')),
      logger: silentLogger,
      stages: ['submit', 'poll'],
    });
    const connection = openConnection(parseRedisUrl(urlOf('board')), () => undefined);
    board = await startBoard({ connection, prefix: 'bull', vendors: ['knowhere'], port: 0, log: () => undefined });
    close.push(() => board.close().then(() => connection.disconnect()));
    const consumer = await onCompletion(
      { otherwise: (event) => void events.push(event) },
      { redisUrl: urlOf('consumer') },
    );
    close.push(() => consumer.close());
  });
  afterAll(async () => {
    for (const one of close.reverse()) await one();
    await workers.close();
    await sandbox.close();
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('are enough for a whole round: submit, poll, event, board, status, cancel, retry', async () => {
    const queue = new Queue('knowhere.submit', { connection: as('producer') });
    close.push(() => queue.close());
    await queue.add('parse', { input: urlInput(), poll: quickPoll }, { jobId: 'a-1' });
    const people = createProducer({ vendors: catalogue, redisUrl: urlOf('workers') });
    close.push(() => people.close());
    const slow = { ...quickPoll, initialDelayMs: 60_000, maxDelayMs: 60_000, deadlineMs: 90_000 };
    await people.submit('knowhere', 'parse', { id: 'a-2', input: urlInput('b.pdf'), poll: slow });
    await until(() => events.some((event) => event.subject === 'a-1'));
    expect(await people.status('knowhere', 'a-1')).toMatchObject({ outcome: 'succeeded' });
    for (const page of [
      '/readyz',
      '/metrics',
      '/queues/api/queues?activeQueue=knowhere.poll',
      '/api/queues?activeQueue=results',
    ])
      await fetch(`http://127.0.0.1:${board.port}${page}`).then((answer) => answer.arrayBuffer());
    expect(await denials()).toEqual([]);
    expect((await fetch(`http://127.0.0.1:${board.port}/readyz`)).status).toBe(200);
    await until(async () => (await people.cancel('knowhere', 'a-2')) === 'requested');
    await until(() => events.some((event) => event.subject === 'a-2'));
    expect(await people.retry('knowhere', 'a-2')).toMatchObject({ kind: 'started' });
    expect(await denials()).toEqual([]);
  });

  it('keep each to its own', async () => {
    const tries: [user: string, command: string, ...args: string[]][] = [
      ['producer', 'get', 'bull:results:meta'],
      ['producer', 'hgetall', 'bull:knowhere.poll:a-1'],
      ['consumer', 'hgetall', 'bull:knowhere.submit:a-1'],
      ['board', 'hset', 'bull:results:meta', 'paused', '1'],
      ['workers', 'get', 'payments:charge'],
      ['workers', 'flushall'],
      ['board-operator', 'config', 'get', '*'],
      ['health', 'get', 'bull:results:meta'],
    ];
    for (const [user, command, ...args] of tries)
      await expect(as(user).call(command, ...args), `${user} ${command}`).rejects.toThrow(/NOPERM/);
    await denials();
  });

  it('let a board operator pause and resume', async () => {
    const queue = new Queue('knowhere.submit', { connection: as('board-operator') });
    await queue.pause();
    await queue.resume();
    await queue.close();
    expect(await denials()).toEqual([]);
  });
});

describe('Redis with TLS and client certificates', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-tls-'));
  let redis: OwnRedis;
  let url: string;
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };

  beforeAll(async () => {
    const port = await closedPort();
    const [cert, keyFile] = [file('cert', certificate), file('key', key)];
    const files = ['--tls-cert-file', cert, '--tls-key-file', keyFile, '--tls-ca-cert-file', cert];
    redis = await OwnRedis.start('--tls-port', String(port), '--tls-auth-clients', 'yes', ...files);
    url = `rediss://localhost:${port}`;
  });
  afterAll(async () => {
    await redis.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function answerOf(env: Record<string, string>): Promise<string> {
    const { redis: target } = loadConfig({ REDIS_URL: url, ...env }, [knowhere], folder);
    return new Promise((resolve) => {
      const connection = openConnection(target!, (error) => finish(error.message));
      const finish = (answer: string): void => {
        connection.disconnect();
        resolve(answer);
      };
      connection.ping().then(finish, () => undefined);
    });
  }

  it('is reached with the authority and the certificate that are configured, and not without', async () => {
    const ca = { JOBFERRY_REDIS_TLS_CA: path.join(folder, 'cert') };
    const own = {
      JOBFERRY_REDIS_TLS_CERT: path.join(folder, 'cert'),
      JOBFERRY_REDIS_TLS_KEY: path.join(folder, 'key'),
    };
    expect(await answerOf({ ...ca, ...own })).toBe('PONG');
    expect(await answerOf(own)).toMatch(/self.signed/);
    expect(await answerOf(ca)).toMatch(/certificate required|closed|ECONNRESET/i);
  });
});
