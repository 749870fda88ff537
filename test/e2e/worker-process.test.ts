import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startEmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { closedPort } from '../helpers/knowhere.ts';
import { OwnRedis } from '../helpers/own-redis.ts';
import { parseStrictly } from '../helpers/parse-strictly.ts';
import { ensureCli, control, projectDir, Stage, until } from './support.ts';

const poll = { initialDelayMs: 100, factor: 1.5, maxDelayMs: 500, deadlineMs: 60_000 };
const url = (name: string): object => ({ sourceType: 'url', sourceUrl: `https://example.com/${name}` });

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

interface Summary {
  inFlight: number;
}

describe('a worker process', () => {
  it('carries jobs of a plain BullMQ client to completion events', async () => {
    const { env } = await stage.sandbox(200);
    await stage.worker(env);
    await stage.consume();
    const queue = stage.queue('knowhere.submit');
    await queue.add('parse', { input: url('a.pdf'), poll, metadata: { orderId: 17 } }, { jobId: 'invoice-2291' });
    const file = { sourceType: 'file', file: 'packing-list.md', download: true };
    await queue.add('parse', { input: file, poll }, { jobId: 'list-1' });
    const event = await stage.event('invoice-2291');
    expect(event).toMatchObject({
      id: expect.stringMatching(/^knowhere\.invoice-2291\./),
      type: 'jobferry.submission.succeeded',
      data: { outcome: 'succeeded', metadata: { orderId: 17 } },
    });
    const { artifact } = (await stage.event('list-1')).data.vendorJobs[0]?.result as {
      artifact: { path: string; bytes: number; verified: boolean };
    };
    expect(artifact.verified).toBe(true);
    expect(await readFile(artifact.path)).toHaveLength(artifact.bytes);
  });

  it('logs JSON lines with ids and without secrets, and says which vendors start', async () => {
    const { env } = await stage.sandbox(200);
    const worker = await stage.worker({ ...env, KNOWHERE_API_KEY: 'sk_do_not_tell_1234' });
    await stage.consume();
    const job = { input: url('log.pdf'), poll };
    await stage.queue('knowhere.submit').add('parse', job, { jobId: 'log-1' });
    await stage.event('log-1');
    worker.kill('SIGTERM');
    const { stdout, stderr, code } = await worker.ended();
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.find((line) => line.msg === 'working for knowhere')).toMatchObject({
      level: 'info',
      queues: ['knowhere.submit', 'knowhere.poll'],
    });
    expect(lines.find((line) => line.submissionId === 'log-1')).toMatchObject({
      vendor: 'knowhere',
      operation: 'parse',
    });
    expect(stdout).not.toContain('do_not_tell');
  });

  it('serves health and metrics while it runs', async () => {
    const { env } = await stage.sandbox(200);
    const port = await closedPort();
    const worker = await stage.worker({ ...env, JOBFERRY_HEALTH_PORT: String(port) });
    await stage.consume();
    await stage.queue('knowhere.submit').add('parse', { input: url('m.pdf'), poll }, { jobId: 'm-1' });
    await stage.event('m-1');
    const get = async (route: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${route}`);
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).toMatch(/jobferry_worker_running\{queue="knowhere.submit"\} 1/);
    expect(metrics).toMatch(/jobferry_submit_requests_total\{vendor="knowhere",operation="parse",result="ok"\} 1/);
    expect(metrics).toMatch(
      /jobferry_submissions_settled_total\{vendor="knowhere",operation="parse",outcome="succeeded"\} 1/,
    );
    expect(metrics).toContain('process_resident_memory_bytes');
    worker.kill('SIGINT');
    expect((await worker.ended()).code).toBe(0);
  });

  it('waits for a Redis that is not there yet, says so once, and ends on a signal all the same', async () => {
    const env = { REDIS_URL: 'redis://127.0.0.1:1', KNOWHERE_API_KEY: 'sk_x' };
    const worker = stage.cli(['worker'], env);
    await worker.says(/Redis is not reachable/);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(worker.stdout.match(/Redis is not reachable/g)).toHaveLength(1);
    worker.kill('SIGTERM');
    const { code, stderr } = await worker.ended(10_000);
    expect([code, stderr]).toEqual([0, '']);
  });
});

describe('a Redis that goes away', () => {
  it('is one line in the log, and one when it is back, each line with every field once', async () => {
    const redis = await OwnRedis.start();
    try {
      const worker = await stage.worker({ REDIS_URL: redis.url, KNOWHERE_API_KEY: 'sk_x', FINI_API_KEY: 'fini_x' });
      await redis.kill();
      await worker.says(/Redis is not reachable/);
      await sleep(1_000);
      await redis.startAgain();
      await worker.says(/Redis is reachable again/);
      const lines = worker.stdout.trimEnd().split('\n').map(parseStrictly);
      expect(lines.filter(({ level }) => level === 'error')).toMatchObject([
        { msg: 'Redis is not reachable; trying until it is' },
      ]);
      expect(worker.stdout.match(/reachable again/g)).toHaveLength(1);
      expect(worker.stdout).not.toContain('queue error');
      worker.kill('SIGTERM');
      expect((await worker.ended(10_000)).code).toBe(0);
    } finally {
      await redis.stop();
    }
  });
});

describe('a Redis that may evict keys', () => {
  it('ends a worker with code 78 and one line that names the policy and the mend', async () => {
    const redis = await startEmbeddedRedis({
      dir: path.join(stage.folder, 'redis'),
      cacheDir: path.join(projectDir, '.jobferry', 'redis'),
      appendOnly: false,
      extraArgs: ['--maxmemory-policy', 'allkeys-lru'],
    });
    try {
      const { code, stdout, stderr } = await stage
        .cli(['worker'], { REDIS_URL: redis.url, KNOWHERE_API_KEY: 'sk_x' })
        .ended();
      expect(code).toBe(78);
      expect(stdout).not.toMatch(/^[^{]/m);
      expect(stderr).toMatch(/^jobferry: REDIS_URL: .*allkeys-lru.*set maxmemory-policy noeviction\n$/);
    } finally {
      await redis.stop();
    }
  });
});

describe('submit --wait', () => {
  it('exits 0 on succeeded and 1 on any other outcome, with a JSON line per change', async () => {
    const { env } = await stage.sandbox(20);
    await stage.worker(env);
    const wait = async (name: string, id: string): ReturnType<Stage['run']> => {
      const args = ['submit', 'knowhere.parse', '--input', '-', '--id', id, '--wait', '--poll', JSON.stringify(poll)];
      return stage.run(args, { input: JSON.stringify(url(name)) });
    };
    const [good, bad, refused] = await Promise.all([
      wait('good.pdf', 'w-1'),
      wait('bad.pdf?sandbox=fail--INVALID_ARGUMENT', 'w-2'),
      wait('refused.pdf?sandbox=bad-request', 'w-3'),
    ]);
    const lines = good.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({ submissionId: 'w-1', vendor: 'knowhere', operation: 'parse' });
    expect(lines.at(-1)).toMatchObject({ specversion: '1.0', subject: 'w-1', data: { outcome: 'succeeded' } });
    expect([good.code, bad.code, refused.code]).toEqual([0, 1, 1]);
    expect(JSON.parse(bad.stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      data: { outcome: 'failed', error: { code: 'INVALID_ARGUMENT' } },
    });
    expect(JSON.parse(refused.stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      data: { outcome: 'rejected' },
    });
    // The events were looked at, not taken.
    expect(await stage.queue('results').getJobCounts('waiting')).toEqual({ waiting: 3 });
  });

  it('stops waiting on Ctrl+C and says that the submission goes on', async () => {
    const waiting = stage.cli(['submit', 'knowhere.parse', '--input', '-', '--id', 'c-1', '--wait']);
    waiting.child.stdin?.end(JSON.stringify(url('c.pdf')));
    await waiting.says(/waiting to be sent/);
    waiting.kill('SIGINT');
    const { code, stderr } = await waiting.ended();
    expect(code).toBe(130);
    expect(stderr).toBe('jobferry: no longer waiting; the submission goes on: jobferry status knowhere c-1\n');
    expect(await stage.queue('knowhere.submit').getJob('c-1')).toBeDefined();
  });

  it('ends when the submission was removed and left no event', async () => {
    const waiting = stage.cli(['submit', 'knowhere.parse', '--input', '-', '--id', 'r-1', '--wait']);
    waiting.child.stdin?.end(JSON.stringify(url('r.pdf')));
    await waiting.says(/waiting to be sent/);
    await stage.queue('knowhere.submit').remove('r-1');
    const { code, stderr } = await waiting.ended();
    expect(code).toBe(1);
    expect(stderr).toContain('no longer knows submission r-1');
  });
});

describe('SIGTERM', () => {
  it('drains within 10 s while look-ups hang and jobs wait, and another worker finishes the work', async () => {
    const { env, control: sandbox } = await stage.sandbox(200);
    const first = await stage.worker(env, ['--concurrency', '10']);
    await stage.consume();
    await control(sandbox, 'faults', { fault: 'timeout-before', route: 'lookup', times: 'always' });
    const ids = Array.from({ length: 40 }, (_, index) => `drain-${index}`);
    const jobs = ids.map((jobId) => ({ name: 'parse', data: { input: url(`${jobId}.pdf`), poll }, opts: { jobId } }));
    await stage.queue('knowhere.submit').addBulk(jobs);
    await until(
      async () => (await control<Summary>(sandbox, 'ledger/summary')).inFlight >= 10,
      20_000,
      () => 'ten hanging look-ups',
    );
    const at = performance.now();
    first.kill('SIGTERM');
    expect((await first.ended(12_000)).code).toBe(0);
    expect(performance.now() - at).toBeLessThan(10_000);
    await fetch(`${sandbox}/faults`, { method: 'DELETE' });
    await stage.worker(env);
    const events = await Promise.all(ids.map((id) => stage.event(id)));
    expect(new Set(events.map((event) => event.data.outcome))).toEqual(new Set(['succeeded']));
  });

  it('ends within 10 s while a submit hangs, whose fate is found out by the next worker', async () => {
    const { env, control: sandbox } = await stage.sandbox(200);
    const first = await stage.worker(env);
    await stage.consume();
    const input = url('hang.pdf?sandbox=timeout-after');
    await stage.queue('knowhere.submit').add('parse', { input, poll }, { jobId: 'hang-1' });
    await until(
      async () => (await control<Summary>(sandbox, 'ledger/summary')).inFlight >= 1,
      20_000,
      () => 'a hanging submit',
    );
    const at = performance.now();
    first.kill('SIGTERM');
    expect((await first.ended(12_000)).code).toBe(0);
    expect(performance.now() - at).toBeLessThan(10_000);
    await stage.worker(env);
    expect((await stage.event('hang-1', 30_000)).data.outcome).toBe('succeeded');
    const { total } = await control<{ total: number }>(sandbox, 'jobs');
    expect(total).toBe(1);
  }, 60_000);

  it('ends within 10 s with code 0 when Redis has gone', async () => {
    const { env } = await stage.sandbox(200);
    const redis = await startEmbeddedRedis({
      dir: path.join(stage.folder, 'redis'),
      cacheDir: path.join(projectDir, '.jobferry', 'redis'),
      appendOnly: false,
    });
    const worker = await stage.worker({ ...env, REDIS_URL: redis.url });
    await redis.stop();
    await worker.says(/not reachable/);
    const at = performance.now();
    worker.kill('SIGTERM');
    expect((await worker.ended(12_000)).code).toBe(0);
    expect(performance.now() - at).toBeLessThan(10_000);
  });

  it('a second signal ends at once', async () => {
    const { env, control: sandbox } = await stage.sandbox(200);
    const worker = await stage.worker(env);
    const input = url('hang.pdf?sandbox=timeout-after');
    await stage.queue('knowhere.submit').add('parse', { input, poll }, { jobId: 'hang-2' });
    await until(async () => (await control<Summary>(sandbox, 'ledger/summary')).inFlight >= 1);
    worker.kill('SIGINT');
    await worker.says(/draining/);
    await new Promise((resolve) => setTimeout(resolve, 900));
    worker.kill('SIGINT');
    expect((await worker.ended(3_000)).code).toBe(130);
  });
});

describe('SIGHUP', () => {
  it.each(['worker', 'board'])('drains a %s as SIGTERM does', async (command) => {
    const { env, control: sandbox } = await stage.sandbox(200);
    const started = stage.cli([command], { ...env, PORT: '0' });
    await started.says(/working for|board on/);
    if (command === 'worker') {
      await stage.consume();
      await control(sandbox, 'faults', { fault: 'slow-reply', argument: 1_500, route: 'create' });
      await stage.queue('knowhere.submit').add('parse', { input: url('hup.pdf'), poll }, { jobId: 'hup-1' });
      await until(async () => (await control<Summary>(sandbox, 'ledger/summary')).inFlight >= 1, 20_000);
    }
    started.kill('SIGHUP');
    const { code, signal, stdout } = await started.ended(12_000);
    expect([code, signal]).toEqual([0, null]);
    if (command === 'board') return;
    expect(stdout).toContain('"signal":"SIGHUP"');
    await stage.worker(env);
    const event = await stage.event('hup-1');
    expect(event.data).toMatchObject({ outcome: 'succeeded' });
    expect((await control<{ total: number }>(sandbox, 'jobs')).total).toBe(1);
  });
});

describe('a log that nothing reads', () => {
  const push = async (count: number): Promise<string[]> => {
    const ids = Array.from({ length: count }, (_, index) => `log-${index}`);
    const jobs = ids.map((jobId) => ({ name: 'parse', data: { input: url(`${jobId}.pdf`), poll }, opts: { jobId } }));
    await stage.queue('knowhere.submit').addBulk(jobs);
    return ids;
  };

  it('stalls no work, and goes on where it was when it is read again', async () => {
    const { env } = await stage.sandbox(500);
    await stage.consume();
    const port = await closedPort();
    const worker = await stage.worker({ ...env, LOG_LEVEL: 'trace', JOBFERRY_HEALTH_PORT: String(port) }, [
      '--concurrency',
      '50',
    ]);
    worker.child.stdout?.pause();
    const ids = await push(900);
    for (const id of ids) expect((await stage.event(id, 60_000)).data.outcome).toBe('succeeded');
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    worker.child.stdout?.resume();
    await until(() => worker.stdout.split('"submission settled"').length > ids.length);
    for (const one of worker.stdout.trimEnd().split('\n')) expect(() => JSON.parse(one) as unknown).not.toThrow();
  }, 120_000);

  it('does not keep the worker from ending in time', async () => {
    const { env } = await stage.sandbox(500);
    await stage.consume();
    const worker = await stage.worker({ ...env, LOG_LEVEL: 'trace' }, ['--concurrency', '50']);
    worker.child.stdout?.pause();
    const ids = await push(600);
    for (const id of ids) await stage.event(id, 60_000);
    const at = performance.now();
    const exited = new Promise<number | null>((resolve) => worker.child.once('exit', resolve));
    worker.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(performance.now() - at).toBeLessThan(10_000);
  }, 120_000);

  it('is whole at the end where it is read', async () => {
    const { env } = await stage.sandbox(500);
    await stage.consume();
    const worker = await stage.worker({ ...env, LOG_LEVEL: 'debug' });
    const ids = await push(200);
    await Promise.all(ids.map((id) => stage.event(id, 60_000)));
    worker.kill('SIGTERM');
    const { stdout, code } = await worker.ended(12_000);
    expect(code).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string });
    expect(lines.filter((line) => line.msg === 'submission settled')).toHaveLength(ids.length);
    expect(lines.at(-1)?.msg).toBe('drained');
  }, 120_000);
});

describe('SIGKILL', () => {
  it('leaves jobs that another worker finishes within 10 s', async () => {
    const { env, control: sandbox } = await stage.sandbox(200);
    const first = await stage.worker(env);
    await stage.consume();
    await control(sandbox, 'faults', { fault: 'timeout-before', route: 'lookup', times: 'always' });
    const ids = Array.from({ length: 20 }, (_, index) => `kill-${index}`);
    const jobs = ids.map((jobId) => ({ name: 'parse', data: { input: url(`${jobId}.pdf`), poll }, opts: { jobId } }));
    await stage.queue('knowhere.submit').addBulk(jobs);
    await until(async () => (await control<Summary>(sandbox, 'ledger/summary')).inFlight >= ids.length, 20_000);
    await stage.worker(env);
    await fetch(`${sandbox}/faults`, { method: 'DELETE' });
    const at = performance.now();
    first.kill('SIGKILL');
    const events = await Promise.all(ids.map((id) => stage.event(id, 25_000)));
    expect(events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
    // 10 s until they run elsewhere, and a look-up or two; the rest is for a busy machine.
    expect(performance.now() - at).toBeLessThan(18_000);
    const { total } = await control<{ total: number }>(sandbox, 'jobs');
    expect(total).toBe(ids.length);
  }, 60_000);
});
