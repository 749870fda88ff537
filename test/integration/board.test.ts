import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { request } from 'node:http';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { startBoard, type BoardOptions, type RunningBoard } from '../../src/board/index.ts';
import { LoginCheck } from '../../src/board/login.ts';
import type { SubmissionState } from '../../src/core/submission.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

/** Typed as loosely as JSON is. */
async function readJson(response: Response) {
  return JSON.parse(await response.text());
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function openRedis(url = redisUrl()): Redis {
  const connection = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 100 });
  connection.on('error', () => undefined);
  cleanups.push(async () => connection.disconnect());
  return connection;
}

interface House {
  board: RunningBoard;
  prefix: string;
  queue(name: string): Queue;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  send(method: string, path: string, body?: object, headers?: Record<string, string>): Promise<Response>;
}

async function openHouse(options: Partial<BoardOptions> = {}): Promise<House> {
  const prefix = freshPrefix();
  const connection = openRedis();
  const board = await startBoard({ connection, prefix, vendors: ['knowhere', 'fini'], port: 0, ...options });
  cleanups.push(() => board.close());
  const base = `http://127.0.0.1:${board.port}`;
  return {
    board,
    prefix,
    queue: (name) => new Queue(name, { connection, prefix }),
    get: (path, headers = {}) => fetch(base + path, { headers }),
    send: (method, path, body, headers = {}) =>
      fetch(base + path, {
        method,
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body ?? {}),
      }),
  };
}

function record(id: string, extra: Partial<SubmissionState> = {}): SubmissionState {
  const now = Date.now();
  return {
    v: 1,
    id,
    phase: 'polling',
    enqueuedAt: now - 60_000,
    deadlineAt: now + 600_000,
    jobs: [],
    polls: 4,
    ...extra,
  };
}

async function jobsOf(house: House, queue: string, status = 'latest') {
  const response = await house.get(`/api/queues?activeQueue=${queue}&status=${status}`);
  expect(response.status).toBe(200);
  const body = await readJson(response);
  return body.queues.find((entry: { name: string }) => entry.name === queue).jobs;
}

/** A request with a Host header of our choosing, which fetch does not allow. */
async function getAsHost(port: number, path: string, host: string): Promise<number> {
  const outgoing = request({ port, path, host: '127.0.0.1', headers: { host } }).end();
  const [response] = await once(outgoing, 'response');
  response.resume();
  return response.statusCode;
}

const basic = (user: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

describe('who may see the board', () => {
  test('without a login it answers to loopback names only', async () => {
    const house = await openHouse();
    expect(house.board.url).toBe(`http://127.0.0.1:${house.board.port}/`);
    expect((await house.get('/')).status).toBe(200);
    for (const path of ['/', '/api/queues', '/metrics', '/readyz', '/static/locales/en-US/messages.json']) {
      expect(await getAsHost(house.board.port, path, `evil.example:${house.board.port}`), path).toBe(403);
    }
    expect(await getAsHost(house.board.port, '/', 'localhost:1')).toBe(200);
    expect(await getAsHost(house.board.port, '/', '[::1]:1')).toBe(200);
    expect(await getAsHost(house.board.port, '/', '127.0.0.1.evil.example')).toBe(403);
  });

  test('only one of user and password is an error that names both', async () => {
    const connection = openRedis();
    const common = { connection, prefix: freshPrefix(), vendors: [], port: 0 };
    for (const part of [{ user: 'ops' }, { password: 'pw' }, { user: 'ops', password: '' }]) {
      await expect(startBoard({ ...common, ...part })).rejects.toThrow(
        /JOBFERRY_BOARD_USER and JOBFERRY_BOARD_PASSWORD/,
      );
    }
    await expect(startBoard({ ...common, host: '0.0.0.0' })).rejects.toThrow(/needs JOBFERRY_BOARD_USER/);
  });

  test('with a login, everything but health asks for it', async () => {
    const house = await openHouse({ user: 'ops', password: 'pässwörd', host: '127.0.0.1' });
    for (const path of ['/', '/api/queues', '/metrics', '/static/locales/en-US/messages.json', '/queue/results']) {
      const refused = await house.get(path);
      expect(refused.status, path).toBe(401);
      expect(refused.headers.get('www-authenticate')).toMatch(/^Basic /);
      expect((await house.get(path, basic('ops', 'pässwörd'))).status, path).toBe(200);
    }
    expect((await house.get('/', basic('ops', 'wrong'))).status).toBe(401);
    expect((await house.get('/', basic('nobody', 'pässwörd'))).status).toBe(401);
    expect(await (await house.get('/healthz')).json()).toEqual({ status: 'up' });
    expect(await (await house.get('/readyz')).json()).toEqual({ status: 'ready' });
    expect(await (await house.get('/readyz', basic('ops', 'pässwörd'))).json()).toMatchObject({
      redis: 'up',
      accounts: [],
    });
    expect((await house.get('/readyz', basic('ops', 'x'))).status).toBe(401);
  });

  test('guessing is slowed and then hardly looked at, and the right login gets in', async () => {
    const house = await openHouse({ user: 'ops', password: 'secret' });
    const guesses = await Promise.all(
      Array.from(
        { length: 14 },
        async (_unused, index) => (await house.get('/', basic('ops', `guess${index}`))).status,
      ),
    );
    expect(guesses.filter((status) => status === 401)).toHaveLength(10);
    expect(guesses.filter((status) => status === 429)).toHaveLength(4);
    expect((await house.get('/healthz')).status).toBe(200);
    // A second gives one look, and whose it is decides who comes first.
    expect((await house.get('/', basic('ops', 'guess'))).status).toBe(401);
    const early = await house.get('/', basic('ops', 'secret'));
    if (early.status !== 200) expect([early.status, early.headers.get('retry-after')]).toEqual([429, '1']);
    await expect
      .poll(async () => (await house.get('/', basic('ops', 'secret'))).status, { timeout: 3_000, interval: 250 })
      .toBe(200);
    // It costs nothing: a page is many requests.
    const page = await Promise.all(
      Array.from({ length: 30 }, async () => (await house.get('/', basic('ops', 'secret'))).status),
    );
    expect(new Set(page)).toEqual(new Set([200]));
  });

  test('without a look left, not even the right login is answered', async () => {
    const check = new LoginCheck([{ user: 'ops', password: 'secret', mayChange: true }]);
    const { authorization: wrong } = basic('ops', 'guess');
    const { authorization: right } = basic('ops', 'secret');
    const asked = Array.from({ length: 40 }, (_unused, index) => check.check(`2001:db8::${index}`, wrong));
    expect(await check.check('2001:db8::ffff', right)).toEqual({ kind: 'too many' });
    expect((await check.check('2001:db8:0:1::1', right)).kind).toBe('granted');
    const kinds = (await Promise.all(asked)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'wrong')).toHaveLength(10);
    expect(kinds.filter((kind) => kind === 'too many')).toHaveLength(30);
  });

  test('behind a trusted proxy a guesser is not in the way of the others', async () => {
    const house = await openHouse({ user: 'ops', password: 'secret', trustedProxies: ['127.0.0.0/8'] });
    const from = (address: string, password: string) => ({
      ...basic('ops', password),
      'x-forwarded-for': `6.6.6.6, ${address}`,
    });
    const open = await openHouse({ user: 'ops', password: 'secret' });
    const count = Array.from({ length: 12 }, (_unused, index) => index);
    const [, believed] = await Promise.all([
      Promise.all(count.map(() => house.get('/', from('9.9.9.9', 'guess')))),
      Promise.all(count.map((index) => open.get('/', from(`9.9.9.${index}`, 'guess')))),
    ]);
    expect((await house.get('/', from('8.8.8.8', 'secret'))).status).toBe(200);
    // Without a proxy that is trusted, the header is a claim of the client's.
    expect(believed.filter(({ status }) => status === 429)).toHaveLength(2);
  });

  test('beyond this machine it wants a long password, and says that the login is not encrypted', async () => {
    const common = { connection: openRedis(), prefix: freshPrefix(), vendors: [], port: 0, host: '0.0.0.0' };
    const reader = { readerUser: 'look', readerPassword: 'short' };
    await expect(startBoard({ ...common, user: 'ops', password: 'eleven-char', ...reader })).rejects.toThrow(
      /JOBFERRY_BOARD_PASSWORD: is too short.*at least 12[\s\S]*JOBFERRY_BOARD_READER_PASSWORD: is too short.*at least 12/,
    );
    const said: string[] = [];
    for (const trustedProxies of [[], ['10.0.0.7']]) {
      const board = await startBoard({
        ...common,
        user: 'ops',
        password: 'twelve-chars',
        trustedProxies,
        log: (message) => said.push(message),
      });
      await board.close();
    }
    expect(said).toEqual([expect.stringContaining('unencrypted')]);
  });
});

describe('a login for reading only', () => {
  const logins = { user: 'ops', password: 'secret', readerUser: 'look', readerPassword: 'reader' };

  test('sees everything and changes nothing', async () => {
    const house = await openHouse(logins);
    const queue = house.queue('fini.poll');
    await queue.add('x', {}, { jobId: 'a', delay: 600_000 });
    const reader = basic('look', 'reader');
    for (const path of ['/', '/queue/fini.poll', '/api/queues', '/api/queues/fini.poll/a', '/metrics'])
      expect((await house.get(path, reader)).status, path).toBe(200);
    for (const path of ['/api/queues/fini.poll/a/logs', '/api/queues/fini.poll/workers', '/api/redis/stats'])
      expect((await house.get(path, reader)).status, path).toBe(200);
    expect(await readJson(await house.get('/readyz', reader))).toMatchObject({
      status: 'workers are missing',
      redis: 'up',
    });
    const mixed = [basic('look', 'secret'), basic('ops', 'reader')];
    for (const login of mixed) expect((await house.get('/', login)).status).toBe(401);
    for (const [method, path] of [
      ['PUT', '/api/queues/fini.poll/pause'],
      ['PUT', '/api/queues/pause'],
      ['PUT', '/api/queues/fini.poll/a/promote'],
      ['PUT', '/api/queues/results/clean/completed'],
      ['PATCH', '/api/queues/fini.poll/a/delay'],
      ['POST', '/api/queues/fini.poll/add'],
      ['DELETE', '/anything'],
    ] as const)
      expect((await house.send(method, path, {}, reader)).status, path).toBe(403);
    expect(await queue.isPaused()).toBe(false);
    const modes = async (login: Record<string, string>) =>
      (await readJson(await house.get('/api/queues', login))).queues.map(
        ({ readOnlyMode }: { readOnlyMode: boolean }) => readOnlyMode,
      );
    expect(new Set(await modes(reader))).toEqual(new Set([true]));
    expect(new Set(await modes(basic('ops', 'secret')))).toEqual(new Set([false]));
    expect((await house.send('PUT', '/api/queues/fini.poll/pause', {}, basic('ops', 'secret'))).status).toBe(200);
  });

  test('needs the other login beside it, and another name', async () => {
    const common = { connection: openRedis(), prefix: freshPrefix(), vendors: [], port: 0 };
    for (const part of [
      { readerUser: 'look', readerPassword: 'reader' },
      { ...logins, readerUser: 'ops' },
      { ...logins, readerPassword: '' },
    ])
      await expect(startBoard({ ...common, ...part })).rejects.toThrow(/JOBFERRY_BOARD_READER_/);
  });

  test('a board for reading only refuses every change, with a login and without', async () => {
    for (const login of [{}, { user: 'ops', password: 'secret' }]) {
      const house = await openHouse({ ...login, isReadOnly: true });
      const headers = 'user' in login ? basic('ops', 'secret') : {};
      const { queues } = await readJson(await house.get('/api/queues', headers));
      expect(queues[0].readOnlyMode).toBe(true);
      const refused = await house.send('PUT', '/api/queues/fini.poll/pause', {}, headers);
      expect([refused.status, (await readJson(refused)).message]).toEqual([403, expect.stringContaining('READ_ONLY')]);
    }
  });
});

describe('the trail of what people do', () => {
  test('has a line for a good login and for each change, made or refused', async () => {
    const lines: [string, object][] = [];
    const house = await openHouse({
      ...{ user: 'ops', password: 'secret', readerUser: 'look', readerPassword: 'reader' },
      record: (message, fields) => lines.push([message, fields]),
    });
    const [ops, look] = [basic('ops', 'secret'), basic('look', 'reader')];
    await house.queue('fini.poll').add('x', {}, { jobId: 'a b', delay: 600_000 });
    for (let index = 0; index < 3; index += 1) await house.get('/api/queues', ops);
    await house.send('PUT', '/api/queues/fini.poll/a%20b/promote', {}, ops);
    await house.send('PUT', '/api/queues/fini.poll/a%20b/clean', {}, ops);
    await house.send('PUT', '/api/queues/pause', {}, look);
    await house.send('PUT', '/api/queues/resume', {}, { ...ops, origin: 'https://evil.example' });
    await house.send('PUT', '/api/nothing/token=LEAKLEAK', {}, ops);
    const address = '127.0.0.1';
    expect(lines).toEqual([
      ['login on the board', { user: 'ops', address, mayChange: true }],
      [
        'board: change made',
        {
          ...{ user: 'ops', address, method: 'PUT', route: '/api/queues/:queueName/:jobId/promote' },
          ...{ queue: 'fini.poll', jobId: 'a b', status: 204 },
        },
      ],
      [
        'board: change refused',
        {
          ...{ user: 'ops', address, method: 'PUT', route: '/api/queues/:queueName/:jobId/clean' },
          ...{ queue: 'fini.poll', jobId: 'a b', status: 403 },
        },
      ],
      ['login on the board', { user: 'look', address, mayChange: false }],
      ['board: change refused', { user: 'look', address, method: 'PUT', route: '/api/queues/pause', status: 403 }],
      ['board: change refused', { user: 'ops', address, method: 'PUT', route: '/api/queues/resume', status: 403 }],
      [
        'board: change refused',
        { user: 'ops', address, method: 'PUT', route: '/api/nothing/token=[redacted]', status: 404 },
      ],
    ]);
  });

  test('without a login it has the address alone', async () => {
    const lines: object[] = [];
    const house = await openHouse({ record: (_message, fields) => lines.push(fields) });
    await house.send('PUT', '/api/queues/fini.poll/pause');
    expect(lines).toEqual([
      {
        ...{ address: '127.0.0.1', method: 'PUT', route: '/api/queues/:queueName/pause' },
        ...{ queue: 'fini.poll', status: 200 },
      },
    ]);
  });
});

describe('what the board shows', () => {
  test('a submission tells its state, vendor job, polls, deadline and last error in words', async () => {
    const house = await openHouse();
    const queue = house.queue('knowhere.poll');
    const job = await queue.add(
      'parse',
      { input: { sourceUrl: 'https://x.test/a.pdf' } },
      { jobId: 'invoice-1', delay: 60_000 },
    );
    await job.updateProgress(
      record('invoice-1', {
        jobs: [
          { id: 'job_1', kind: 'job', status: 'running', vendorStatus: 'running', progress: { done: 42, total: 100 } },
        ],
        lastError: { code: 'vendor_throttled', message: 'slow down' },
      }),
    );
    const [shown] = await jobsOf(house, 'knowhere.poll');
    expect(shown.name).toBe('parse · polling: running 42/100 (vendor_throttled)');
    expect(shown.progress.progress).toBe(42);
    expect(shown.data).toMatchObject({
      state: 'polling: running 42/100 (vendor_throttled)',
      'vendor job': 'job_1: running, 42/100',
      polls: 4,
      'next look': expect.stringMatching(/UTC, in \d/),
      deadline: expect.stringMatching(/UTC, in \d/),
      'last error': 'vendor_throttled: slow down',
      data: { input: { sourceUrl: 'https://x.test/a.pdf' } },
    });
    const detail = await readJson(await house.get('/api/queues/knowhere.poll/invoice-1'));
    expect(detail).toMatchObject({ status: 'delayed', job: { name: shown.name } });
    expect((await house.get('/api/queues/knowhere.poll/meta')).status).toBe(404);
    expect((await house.get('/api/queues/knowhere.poll/delayed')).status).toBe(404);
  });

  test('the timeline of a delayed job has the time of its next look, and no doubt of it', async () => {
    const house = await openHouse();
    const connection = openRedis();
    const queue = house.queue('knowhere.poll');
    const job = await queue.add('parse', {}, { jobId: 'looked', delay: 1_000 });
    await job.updateProgress(record('looked', { acceptedAt: Date.now() - 30_000 }));
    // As a worker leaves it that looked once and gave the job back.
    const lookedAt = job.timestamp + 5_000;
    const dueAt = job.timestamp + 90_000;
    await connection.hset(queue.toKey('looked'), { processedOn: lookedAt, delay: 42_000 });
    await connection.zadd(queue.toKey('delayed'), dueAt * 4_096, 'looked');
    const [shown] = await jobsOf(house, 'knowhere.poll');
    // What the package draws: `timestamp + opts.delay`, with a doubt where the two delays differ.
    expect(shown.timestamp + shown.opts.delay).toBe(dueAt);
    expect(shown.delay).toBe(shown.opts.delay);
    expect(shown.processedOn).toBeUndefined();
    expect(Object.keys(shown.data)).toEqual(expect.arrayContaining(['last look', 'next look']));
  });

  test('a submission that no worker took, and an event', async () => {
    const house = await openHouse();
    await house.queue('knowhere.submit').add('parse', { input: {} }, { jobId: 'waiting-1' });
    const canceled = await house.queue('knowhere.submit').add('parse', { input: {} }, { jobId: 'waiting-2' });
    await canceled.updateProgress({ cancelRequestedAt: Date.now() });
    const names = (await jobsOf(house, 'knowhere.submit')).map((job: { name: string }) => job.name);
    expect(names).toContain('parse · waiting for a worker');
    expect(names).toContain('parse · waiting for a worker, cancel requested');
    await house.queue('results').add('jobferry.submission.failed', {
      type: 'jobferry.submission.failed',
      subject: 'invoice-1',
      data: {
        submissionId: 'invoice-1',
        vendor: 'knowhere',
        operation: 'parse',
        polls: 3,
        error: { code: 'E', message: 'm' },
        timings: {
          enqueuedAt: '2026-11-22T06:00:00.000Z',
          submittedAt: '2026-11-22T06:00:01.000Z',
          settledAt: '2026-11-22T06:00:12.300Z',
        },
      },
    });
    const [event] = await jobsOf(house, 'results');
    expect(event.name).toBe('failed · knowhere.parse');
    expect(event.data).toMatchObject({ submission: 'invoice-1', polls: 3, took: '12.3 s', error: 'E: m' });
    expect(event.externalUrl.href).toBe('/queue/knowhere.poll/invoice-1');
  });

  test('no secret shows anywhere', async () => {
    const house = await openHouse();
    const leak = 'sk_LEAK https://s3.test/k?X-Amz-Signature=LEAK Authorization: Bearer LEAKLEAK redis://u:LEAK@h';
    const queue = house.queue('fini.submit');
    const job = await queue.add(leak, { apiKey: 'LEAK', text: leak, [leak]: 1 }, { jobId: 'leaky', attempts: 1 });
    await job.updateProgress(
      record('leaky', {
        jobs: [{ id: 'd1', kind: 'job', status: 'failed', result: leak }],
        lastError: { code: 'c', message: leak, details: { token: 'LEAK' } },
      }),
    );
    await job.log(leak);
    const worker = new Worker('fini.submit', async () => Promise.reject(new Error(leak)), {
      connection: openRedis(),
      prefix: house.prefix,
    });
    await once(worker, 'failed');
    await worker.close();
    await house.queue('results').add(leak, { result: leak }, { jobId: 'knowhere.leaky' });
    for (const path of [
      '/api/queues?activeQueue=fini.submit',
      '/api/queues?activeQueue=fini.submit&status=failed',
      '/api/queues?activeQueue=results',
      '/api/queues/fini.submit/leaky',
      '/api/queues/fini.submit/leaky/logs',
      '/api/queues/fini.submit/leaky/flow',
      '/api/queues/sk_LEAK',
      '/api/redis/stats',
      '/api/job-schedulers',
      '/readyz',
      '/metrics',
    ]) {
      const text = await (await house.get(path)).text();
      expect(text, path).not.toContain('LEAK');
    }
    expect(await (await house.get('/api/queues/fini.submit/leaky')).text()).toContain('[redacted]');
  });

  test('hostile and huge jobs neither break nor slow it', async () => {
    const connection = openRedis();
    const house = await openHouse();
    const queue = house.queue('knowhere.submit');
    let deep: unknown = 1;
    for (let level = 0; level < 2_000; level += 1) deep = { deeper: deep };
    for (let index = 0; index < 8; index += 1) {
      await queue.add('parse', { blob: 'x'.repeat(5_000_000) }, { jobId: `huge-${index}` });
    }
    await queue.add('deep', deep, { jobId: 'deep' });
    await queue.add(
      'wide',
      { list: Array.from({ length: 10_000 }, (_unused, index) => ({ index })) },
      { jobId: 'wide' },
    );
    await queue.add('<script>alert(1)</script>', JSON.parse('{"__proto__":{"polluted":1}}'), { jobId: 'html' });
    const record1 = await queue.add('parse', {}, { jobId: 'bad-record' });
    await record1.updateProgress({
      v: 1,
      id: 'x',
      phase: 'polling',
      jobs: [null, 3],
      polls: 'many',
      deadlineAt: 1e300,
    });
    await queue.add('parse', {}, { jobId: 'not-json' });
    await connection.hset(`${house.prefix}:knowhere.submit:not-json`, {
      data: '{',
      progress: 'nope',
      opts: '{{',
      stacktrace: '3',
    });
    const started = performance.now();
    const response = await house.get('/api/queues?activeQueue=knowhere.submit&status=waiting&jobsPerPage=100000');
    const text = await response.text();
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(response.status).toBe(200);
    expect(text.length).toBeLessThan(200_000);
    const jobs = JSON.parse(text).queues.find((entry: { name: string }) => entry.name === 'knowhere.submit').jobs;
    const byId = new Map<string, ReturnType<typeof JSON.parse>>(jobs.map((job: { id: string }) => [job.id, job]));
    expect(byId.get('huge-1').data.data).toContain('4.8 MB');
    expect(byId.get('wide').data.data.list.at(-1)).toBe('… 9950 more');
    expect(byId.get('not-json').data.data).toBe('{');
    expect(byId.get('bad-record')).toBeDefined();
    expect(byId.get('html').name).toContain('<script>');
  });

  test('what it tells of Redis leaves out software, system and addresses', async () => {
    const house = await openHouse();
    const worker = new Worker('fini.poll', async () => undefined, { connection: openRedis(), prefix: house.prefix });
    cleanups.push(() => worker.close());
    await worker.waitUntilReady();
    const stats = await readJson(await house.get('/api/redis/stats'));
    expect(stats).toEqual({
      backend: 'redis',
      version: 'not shown',
      port: null,
      uptime: expect.any(Number),
      memory: expect.objectContaining({ used: expect.any(Number), peak: expect.any(Number) }),
      clients: { connected: expect.any(Number), blocked: expect.any(Number) },
    });
    const { workers } = await readJson(await house.get('/api/queues/fini.poll/workers'));
    expect(workers).toMatchObject([{ name: null, addr: expect.stringMatching(/^connection \d+$/) }]);
  });

  test('the latest jobs come newest first', async () => {
    const house = await openHouse();
    const queue = house.queue('fini.poll');
    await queue.add('a', {}, { jobId: 'old', timestamp: 1_000 });
    await queue.add('a', {}, { jobId: 'new', timestamp: 3_000 });
    await queue.add('a', {}, { jobId: 'mid', timestamp: 2_000, delay: 1e12 });
    expect((await jobsOf(house, 'fini.poll')).map((job: { id: string }) => job.id)).toEqual(['new', 'mid', 'old']);
  });

  test('its page fetches nothing from elsewhere and is not framed', async () => {
    const house = await openHouse();
    const page = await house.get('/queue/knowhere.poll');
    const html = await page.text();
    expect(html).toContain('<title>Jobferry</title>');
    expect(html).not.toMatch(/(?:src|href)="https?:/);
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(page.headers.get('x-frame-options')).toBe('DENY');
    const api = await house.get('/api/queues');
    expect(api.headers.get('cache-control')).toBe('no-store');
    expect(api.headers.get('x-content-type-options')).toBe('nosniff');
    for (const [, path] of html.matchAll(/(?:src|href)="(static\/[^"]+|jobferry\.css)"/g)) {
      expect((await house.get(`/${path}`)).status, path).toBe(200);
    }
    expect((await house.get('/static/../package.json')).status).toBe(404);
  });
});

describe('what the board may do', () => {
  test('what would lose a submission is refused and tells what to do instead', async () => {
    const house = await openHouse();
    const queue = house.queue('knowhere.poll');
    await queue.add('parse', { input: {} }, { jobId: 'keep-me', delay: 600_000 });
    await queue.pause();
    for (const [method, path, body] of [
      ['PUT', '/api/queues/knowhere.poll/keep-me/clean'],
      ['PUT', '/api/queues/knowhere.poll/clean/delayed'],
      ['PUT', '/api/queues/knowhere.poll/clean/completed'],
      ['PUT', '/api/queues/knowhere.poll/empty'],
      ['PUT', '/api/queues/knowhere.poll/obliterate', { force: true }],
      ['PATCH', '/api/queues/knowhere.poll/keep-me/delay', { runAt: Date.now() + 1e9 }],
      ['PATCH', '/api/queues/knowhere.poll/keep-me/update-data', { jobData: {} }],
      ['POST', '/api/queues/knowhere.poll/add', { name: 'parse', data: {} }],
    ] as const) {
      const response = await house.send(method, path, body);
      expect(response.status, path).toBe(403);
      expect((await readJson(response)).message, path).toMatch(/jobferry (cancel knowhere|submit)|overwrite/);
    }
    expect(await queue.getJobCountByTypes('delayed')).toBe(1);
  });

  test('promoting, retrying and pausing work', async () => {
    const house = await openHouse();
    const queue = house.queue('knowhere.poll');
    await queue.add('parse', { input: {} }, { jobId: 'later', delay: 600_000 });
    expect((await house.send('PUT', '/api/queues/knowhere.poll/later/promote')).status).toBe(204);
    expect(await queue.getJobState('later')).toBe('waiting');
    const worker = new Worker('knowhere.poll', async () => Promise.reject(new Error('no')), {
      connection: openRedis(),
      prefix: house.prefix,
    });
    await once(worker, 'failed');
    await worker.close();
    expect((await house.send('PUT', '/api/queues/knowhere.poll/later/retry')).status).toBe(204);
    expect(await queue.getJobState('later')).toBe('waiting');
    expect((await queue.getJob('later'))?.data).toEqual({ input: {} });
    expect((await house.send('PUT', '/api/queues/knowhere.poll/pause')).status).toBe(200);
    expect(await queue.isPaused()).toBe(true);
    expect((await house.send('PUT', '/api/queues/knowhere.poll/resume')).status).toBe(200);
  });

  test('an event that no consumer has completed cannot be removed; a completed one can', async () => {
    const house = await openHouse({ resultQueues: ['results', 'orders-results'] });
    const queue = house.queue('orders-results');
    const worker = new Worker(
      'orders-results',
      async (job) => (job.name === 'bad' ? Promise.reject(new Error('no')) : undefined),
      { connection: openRedis(), prefix: house.prefix },
    );
    await queue.add('taken', {}, { jobId: 'ev-taken' });
    await once(worker, 'completed');
    await queue.add('bad', {}, { jobId: 'ev-failed' });
    await once(worker, 'failed');
    await worker.close();
    await queue.add('event', {}, { jobId: 'ev-waiting' });
    await queue.add('event', {}, { jobId: 'ev-delayed', delay: 600_000 });
    await queue.add('event', {}, { jobId: 'ev-urgent', priority: 3 });
    await queue.pause();
    for (const [method, path, body] of [
      ['PUT', 'empty'],
      ['PUT', 'obliterate', { force: true }],
      ['PUT', 'clean/waiting'],
      ['PUT', 'clean/wait'],
      ['PUT', 'clean/delayed'],
      ['PUT', 'clean/prioritized'],
      ['PUT', 'clean/failed'],
      ['PUT', 'clean/paused'],
      ['PUT', 'clean/active'],
      ['PUT', 'ev-waiting/clean'],
      ['PUT', 'ev-delayed/clean'],
      ['PUT', 'ev-urgent/clean'],
      ['PUT', 'ev-failed/clean'],
      ['PATCH', 'ev-delayed/delay', { runAt: Date.now() + 1e12 }],
      ['PUT', 'ev-waiting/remove-unprocessed-children'],
      ['PUT', 'job-schedulers/x/remove'],
    ] as const) {
      const response = await house.send(method, `/api/queues/orders-results/${path}`, body);
      expect(response.status, path).toBe(403);
      expect((await readJson(response)).message, path).toMatch(/lose completion events that no consumer has taken/);
    }
    expect((await house.send('PUT', '/api/queues/orders%2Dresults/empty')).status).toBe(403);
    for (const id of ['waiting', 'delayed', 'urgent', 'failed', 'taken'])
      expect(await queue.getJob(`ev-${id}`)).toBeDefined();
    expect((await house.send('PUT', '/api/queues/orders-results/clean/completed')).status).toBe(200);
    expect((await house.send('PUT', '/api/queues/orders-results/ev-taken/clean')).status).toBe(204);
    expect((await house.send('PUT', '/api/queues/orders-results/ev-failed/retry')).status).toBe(204);
    expect(await queue.getJobState('ev-failed')).toBe('waiting');
  });

  test('retry all runs more than a hundred events again, and is refused for settled submissions', async () => {
    const house = await openHouse();
    const connection = openRedis();
    const finish = async (name: string, count: number): Promise<Queue> => {
      const queue = house.queue(name);
      await queue.addBulk(
        Array.from({ length: count }, (_unused, index) => ({ name: 'x', data: {}, opts: { jobId: `job-${index}` } })),
      );
      const worker = new Worker(name, async () => undefined, {
        connection,
        prefix: house.prefix,
        concurrency: 50,
      });
      await once(worker, 'drained');
      await expect.poll(() => queue.getCompletedCount()).toBe(count);
      await worker.close();
      return queue;
    };
    const events = await finish('results', 120);
    const response = await house.send('PUT', '/api/queues/results/retry/completed');
    expect(await readJson(response)).toEqual({ retried: 120, skipped: 0 });
    expect(await events.getWaitingCount()).toBe(120);

    const submissions = await finish('knowhere.poll', 2);
    for (const path of ['retry/completed', 'job-0/retry']) {
      const refused = await house.send('PUT', `/api/queues/knowhere.poll/${path}`);
      expect(refused.status, path).toBe(403);
      expect((await readJson(refused)).message, path).toMatch(/jobferry retry knowhere (job-0|<submissionId>)/);
    }
    expect(await submissions.getCompletedCount()).toBe(2);
    const { queues } = await readJson(await house.get('/api/queues'));
    const offered = (name: string) =>
      queues.find((entry: { name: string }) => entry.name === name).allowCompletedRetries as boolean;
    expect([offered('knowhere.poll'), offered('results')]).toEqual([false, true]);
  });

  test.each([
    ['no body and no length', 'PUT /api/queues/fini.poll/pause HTTP/1.1\r\n', 200],
    ['an empty body', 'PUT /api/queues/fini.poll/pause HTTP/1.1\r\nContent-Length: 0\r\n', 200],
    ['a text body', 'PUT /api/queues/fini.poll/pause HTTP/1.1\r\nContent-Length: 2\r\n', 200],
    ['a chunked body', 'PUT /api/queues/fini.poll/pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n', 411],
    ['a body too large', 'PUT /api/queues/fini.poll/pause HTTP/1.1\r\nContent-Length: 70000\r\n', 413],
  ])('a change with %s is answered', async (_what, head, status) => {
    const house = await openHouse();
    const socket = connect(house.board.port, '127.0.0.1');
    socket.write(`${head}Host: 127.0.0.1\r\nConnection: close\r\n\r\n${head.includes(': 2') ? 'no' : ''}`);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toContain(`HTTP/1.1 ${status} `);
    expect(await house.queue('fini.poll').isPaused()).toBe(status === 200);
  });

  test('another site can not send them', async () => {
    const house = await openHouse();
    const queue = house.queue('knowhere.poll');
    const path = '/api/queues/knowhere.poll/pause';
    const own = `http://127.0.0.1:${house.board.port}`;
    expect((await house.send('PUT', path, {}, { origin: 'https://evil.example' })).status).toBe(403);
    expect((await house.send('PUT', path, {}, { origin: 'null' })).status).toBe(403);
    expect((await house.send('PUT', path, {}, { 'sec-fetch-site': 'cross-site', origin: own })).status).toBe(403);
    expect((await house.send('PUT', path, {}, { 'sec-fetch-site': 'same-site' })).status).toBe(403);
    expect(await queue.isPaused()).toBe(false);
    expect((await house.send('PUT', path, {}, { origin: own })).status).toBe(200);
    expect(await queue.isPaused()).toBe(true);
  });

  test('it leaves the settings of the queues alone', async () => {
    const connection = openRedis();
    const prefix = freshPrefix();
    const mine = new Queue('knowhere.submit', { connection, prefix, streams: { events: { maxLen: 500 } } });
    await mine.waitUntilReady();
    await mine.add('parse', {}, { jobId: 'a' });
    const board = await startBoard({ connection, prefix, vendors: ['knowhere'], port: 0 });
    cleanups.push(() => board.close());
    await (await fetch(`${board.url}api/queues?activeQueue=knowhere.submit`)).text();
    expect(await connection.hget(`${prefix}:knowhere.submit:meta`, 'opts.maxLenEvents')).toBe('500');
    await board.close();
    expect(await connection.ping()).toBe('PONG');
  });
});

describe('while Redis is away', () => {
  /** A way to Redis that can be cut and mended. */
  async function openWay(): Promise<{ url: string; cut(): void; freeze(): void; mend(): void }> {
    const target = new URL(redisUrl());
    const sockets = new Set<Socket>();
    let state: 'open' | 'cut' | 'frozen' = 'open';
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
      if (state === 'cut') return socket.destroy();
      const upstream = connect(Number(target.port), target.hostname).on('error', () => socket.destroy());
      socket.on('data', (chunk) => state === 'open' && upstream.write(chunk));
      upstream.on('data', (chunk) => socket.write(chunk));
      socket.on('close', () => upstream.destroy());
      return undefined;
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(async () => {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    });
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      cut: () => {
        state = 'cut';
        sockets.forEach((socket) => socket.destroy());
      },
      freeze: () => (state = 'frozen'),
      mend: () => {
        state = 'open';
        sockets.forEach((socket) => socket.destroy());
      },
    };
  }

  test.each(['cut', 'freeze'] as const)('%s: it says so within two seconds, and recovers', async (how) => {
    const way = await openWay();
    const house = await openHouse({ connection: openRedis(way.url) });
    expect((await house.get('/readyz')).status).toBe(200);
    way[how]();
    for (const path of ['/readyz', '/api/queues', '/', '/api/queues/results/x/logs']) {
      const started = performance.now();
      const response = await house.get(path);
      expect(response.status, path).toBe(503);
      expect(performance.now() - started, path).toBeLessThan(2_000);
      const text = await response.text();
      expect(text, path).toMatch(/does not answer/);
    }
    expect((await house.send('PUT', '/api/queues/results/pause')).status).toBe(503);
    expect((await house.get('/healthz')).status).toBe(200);
    expect(await (await house.get('/metrics')).text()).toContain('jobferry_redis_up 0');
    way.mend();
    await expect.poll(async () => (await house.get('/readyz')).status, { timeout: 10_000 }).toBe(200);
    expect((await house.get('/api/queues')).status).toBe(200);
  });
});
