import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { once } from 'node:events';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { startBoard, startHealthServer, type BoardOptions } from '../../src/board/index.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

/** Typed as loosely as JSON is. */
async function readJson(response: Response) {
  return JSON.parse(await response.text());
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function openRedis(): Redis {
  const connection = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  cleanups.push(async () => connection.disconnect());
  return connection;
}

async function openBoard(
  options: Partial<BoardOptions> = {},
): Promise<{ url: string; prefix: string; connection: Redis }> {
  const connection = openRedis();
  const prefix = freshPrefix();
  const board = await startBoard({ connection, prefix, vendors: ['knowhere', 'fini'], port: 0, ...options });
  cleanups.push(() => board.close());
  return { url: board.url, prefix, connection };
}

describe('/readyz of the board', () => {
  test('is ready with nothing to do, and tells each queue and account', async () => {
    const { url } = await openBoard({
      resultQueues: ['results', 'orders.results'],
      accountStates: async () => [{ vendor: 'knowhere', account: 'default', reason: 'unauthorized', key: 'sk_secret' }],
    });
    const response = await fetch(`${url}readyz`);
    expect(response.status).toBe(200);
    const body = await readJson(response);
    expect(body).toMatchObject({ status: 'ready', redis: 'up' });
    expect(body.queues.map((queue: { name: string }) => queue.name)).toEqual([
      'knowhere.submit',
      'knowhere.poll',
      'fini.submit',
      'fini.poll',
      'results',
      'orders.results',
    ]);
    expect(body.queues[0]).toEqual({
      name: 'knowhere.submit',
      workers: 0,
      waiting: 0,
      delayed: 0,
      active: 0,
      oldestDueMs: 0,
    });
    expect(body.accounts).toEqual([
      { vendor: 'knowhere', account: 'default', reason: 'unauthorized', key: '[redacted]' },
    ]);
  });

  test('work without workers is not ready, and workers for both stages mend it', async () => {
    const { url, prefix, connection } = await openBoard();
    const queue = new Queue('knowhere.poll', { connection, prefix });
    await queue.add('parse', {}, { jobId: 'overdue', delay: 1 });
    const before = await fetch(`${url}readyz`);
    expect(before.status).toBe(503);
    expect(await before.json()).toMatchObject({
      status: 'workers are missing',
      withoutWorkers: ['knowhere.submit', 'knowhere.poll'],
    });
    await queue.add('parse', {}, { jobId: 'far', delay: 3_600_000 });
    for (const name of ['knowhere.submit', 'knowhere.poll']) {
      const worker = new Worker(name, async () => undefined, { connection, prefix });
      cleanups.push(() => worker.close());
      await worker.waitUntilReady();
    }
    await expect.poll(async () => (await fetch(`${url}readyz`)).status, { timeout: 10_000, interval: 200 }).toBe(200);
    const after = await readJson(await fetch(`${url}readyz`));
    expect(after.queues.find((entry: { name: string }) => entry.name === 'knowhere.poll')).toMatchObject({
      workers: 1,
      delayed: 1,
    });
  });

  test('an overdue job shows for how long', async () => {
    const { url, prefix, connection } = await openBoard();
    await new Queue('fini.poll', { connection, prefix }).add('x', {}, { jobId: 'due', delay: 1 });
    await expect
      .poll(async () => {
        const body = await readJson(await fetch(`${url}readyz`));
        return body.queues.find((entry: { name: string }) => entry.name === 'fini.poll').oldestDueMs as number;
      })
      .toBeGreaterThan(100);
    expect(await (await fetch(`${url}metrics`)).text()).toMatch(
      /jobferry_queue_oldest_overdue_seconds\{queue="fini.poll"\} 0\.\d+/,
    );
  });

  test('where Redis does not list its clients, workers are unknown and it is ready', async () => {
    const admin = openRedis();
    await admin.acl('SETUSER', 'nolist', 'on', '>pw', '~*', '&*', '+@all', '-client|list');
    cleanups.push(() => admin.acl('DELUSER', 'nolist'));
    const url = new URL(redisUrl());
    const connection = new Redis({
      host: url.hostname,
      port: Number(url.port),
      username: 'nolist',
      password: 'pw',
      maxRetriesPerRequest: null,
    });
    cleanups.push(async () => connection.disconnect());
    const { url: board, prefix } = await openBoard({ connection });
    await new Queue('fini.submit', { connection, prefix }).add('x', {}, { jobId: 'a' });
    const response = await fetch(`${board}readyz`);
    expect(response.status).toBe(200);
    expect((await readJson(response)).queues[2]).toMatchObject({
      name: 'fini.submit',
      workers: 'unknown',
      waiting: 1,
    });
    expect((await fetch(`${board}api/queues?activeQueue=fini.submit`)).status).toBe(200);
  });
});

test('/metrics is Prometheus text with counts per queue, and takes more', async () => {
  const { url, prefix, connection } = await openBoard({ extraMetrics: async () => '# TYPE mine counter\nmine 3\n' });
  await new Queue('knowhere.submit', { connection, prefix }).add('parse', {}, { jobId: 'a' });
  const response = await fetch(`${url}metrics`);
  expect(response.headers.get('content-type')).toContain('text/plain');
  const text = await response.text();
  expect(text).toContain('bullmq_job_count{queue="knowhere.submit",state="waiting"} 1');
  expect(text).toContain('jobferry_queue_workers{queue="knowhere.submit"} 0');
  expect(text).toContain('jobferry_redis_up 1');
  expect(text).toContain('\nmine 3\n');
  const types = text.split('\n').filter((line) => line.startsWith('# TYPE'));
  expect(new Set(types).size).toBe(types.length);
  for (const line of text.split('\n')) expect(line).toMatch(/^(?:#.*|[a-z_]+(?:\{[^}]*\})? -?[\d.e+]+|)$/);
});

test('extra metrics that fail or hang do not take the others with them', async () => {
  for (const extraMetrics of [() => Promise.reject(new Error('no')), () => new Promise<string>(() => undefined)]) {
    const { url } = await openBoard({ extraMetrics });
    expect(await (await fetch(`${url}metrics`)).text()).toContain('jobferry_redis_up 1');
  }
});

describe('the health server of a worker', () => {
  test('tells health, readiness and metrics', async () => {
    let ready = true;
    const server = await startHealthServer({
      port: 0,
      host: '127.0.0.1',
      ready: async () => ({ ready, details: { polling: true, account: { apiKey: 'x' } } }),
      metrics: async () => 'up 1\n',
    });
    cleanups.push(() => server.close());
    const base = `http://127.0.0.1:${server.port}`;
    expect(await (await fetch(`${base}/healthz`)).json()).toEqual({ status: 'up' });
    const first = await fetch(`${base}/readyz`);
    expect(first.status).toBe(200);
    expect(await first.json()).toEqual({ status: 'ready', polling: true, account: { apiKey: '[redacted]' } });
    ready = false;
    expect((await fetch(`${base}/readyz`)).status).toBe(503);
    expect(await (await fetch(`${base}/metrics`)).text()).toBe('up 1\n');
    expect((await fetch(`${base}/`)).status).toBe(404);
    const outgoing = request({
      port: server.port,
      path: '/readyz',
      host: '127.0.0.1',
      headers: { host: 'evil.example' },
    }).end();
    const [response] = await once(outgoing, 'response');
    let body = '';
    for await (const chunk of response) body += String(chunk);
    expect(JSON.parse(body)).toEqual({ status: 'not ready' });
  });

  test('listens on loopback unless told otherwise, and tells a name of another site no metrics', async () => {
    const server = await startHealthServer({
      port: 0,
      ready: async () => ({ ready: true, details: {} }),
      metrics: async () => 'up 1\n',
    });
    cleanups.push(() => server.close());
    const statusAs = async (host: string, path: string): Promise<number | undefined> => {
      const outgoing = request({ port: server.port, path, host: '127.0.0.1', headers: { host } }).end();
      const [response] = await once(outgoing, 'response');
      response.resume();
      return response.statusCode;
    };
    expect(await statusAs('evil.example', '/metrics')).toBe(403);
    expect(await statusAs(`127.0.0.1.evil.example:${server.port}`, '/metrics')).toBe(403);
    expect(await statusAs('localhost', '/metrics')).toBe(200);
    expect(await statusAs('evil.example', '/healthz')).toBe(200);
    const elsewhere = Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal);
    for (const host of ['127.0.0.2', ...(elsewhere === undefined ? [] : [elsewhere.address])]) {
      const [error] = await once(connect(server.port, host), 'error');
      expect((error as NodeJS.ErrnoException).code, host).toBe('ECONNREFUSED');
    }
  });

  test('a check that fails or hangs is not ready', async () => {
    for (const ready of [() => Promise.reject(new Error('no')), () => new Promise<never>(() => undefined)]) {
      const server = await startHealthServer({ port: 0, host: '127.0.0.1', ready, metrics: ready });
      cleanups.push(() => server.close());
      const started = performance.now();
      expect((await fetch(`http://127.0.0.1:${server.port}/readyz`)).status).toBe(503);
      expect((await fetch(`http://127.0.0.1:${server.port}/metrics`)).status).toBe(503);
      expect(performance.now() - started).toBeLessThan(4_000);
    }
  });

  test('a taken port is an error', async () => {
    const options = {
      port: 0,
      host: '127.0.0.1',
      ready: async () => ({ ready: true, details: {} }),
      metrics: async () => '',
    };
    const server = await startHealthServer(options);
    cleanups.push(() => server.close());
    await expect(startHealthServer({ ...options, port: server.port })).rejects.toThrow(/EADDRINUSE/);
  });
});

test('a client with half-sent requests shuts no other out, and is let go', async () => {
  const { url } = await openBoard({ user: 'ops', password: 'secret' });
  const health = await startHealthServer({
    port: 0,
    ready: async () => ({ ready: true, details: {} }),
    metrics: async () => '',
  });
  cleanups.push(() => health.close());
  const besiege = async (port: number): Promise<void> => {
    const sockets: Socket[] = [];
    cleanups.push(async () => sockets.forEach((socket) => socket.destroy()));
    let closed = 0;
    for (let index = 0; index < 1_100; index += 1) {
      const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
      socket.on('error', () => undefined).on('close', () => (closed += 1));
      socket.resume().on('connect', () => socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: '));
      sockets.push(socket);
    }
    await expect.poll(() => closed, { timeout: 4_000 }).toBe(1_050);
    expect((await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(1_000) })).status).toBe(200);
    // Headers have five seconds, looked at each second.
    await expect.poll(() => closed, { timeout: 8_000, interval: 100 }).toBe(1_100);
  };
  await Promise.all([besiege(Number(new URL(url).port)), besiege(health.port)]);
});
