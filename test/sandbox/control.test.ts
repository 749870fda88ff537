import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { VendorSettingError, startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { readPages } from './pages.ts';

/** Control routes, the ledger, and how the sandbox starts and ends. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
const auth = { authorization: 'Bearer sk_secret_key_1' };

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000 });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

async function http(method: string, url: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Wire };
}
const control = (method: string, path: string, body?: unknown) => http(method, `${sandbox.url}/_control${path}`, body);
const create = async (source_url = 'https://e.com/a.pdf', more = {}, at = sandbox) =>
  (await http('POST', `${at.knowhereUrl}/v1/jobs`, { source_type: 'url', source_url, ...more }, auth)).body;
const look = (id: string, at = sandbox) => http('GET', `${at.knowhereUrl}/v1/jobs/${id}`, undefined, auth);

describe('control routes', () => {
  test('faults are armed, shown, disarmed', async () => {
    const armed = await control('POST', '/faults', {
      fault: 'rate-limited',
      argument: 3,
      route: 'lookup',
      times: 'always',
    });
    expect(armed).toMatchObject({ status: 201, body: { id: 'fault-1', strikes: 0, remaining: null } });
    await look('none');
    const { body } = await control('GET', '/faults');
    expect(body.armed).toMatchObject([{ id: 'fault-1', strikes: 1, spec: { fault: 'rate-limited', route: 'lookup' } }]);
    expect(body.table.length).toBeGreaterThan(50);
    expect((await control('DELETE', '/faults/fault-1')).body).toEqual({ armed: [] });
    expect((await control('DELETE', '/faults/fault-1')).status).toBe(404);
    await control('POST', '/faults', { fault: 'stall' });
    expect((await control('DELETE', '/faults')).body).toEqual({ armed: [] });
    expect((await look('none')).status).toBe(404);
  });

  test.each([
    ['POST', '/faults', {}],
    ['POST', '/faults', { fault: 'nope' }],
    ['POST', '/faults', { fault: 'stall', jobid: 'misspelt' }],
    ['POST', '/faults', { fault: 'stall', vendor: 'nobody' }],
    ['POST', '/faults', { fault: 'rate-limited', times: 0 }],
    ['POST', '/faults', { fault: 'server-error', argument: 200 }],
    ['POST', '/speed', { speed: 0 }],
    ['POST', '/dialect', { dialect: 'latin' }],
    ['POST', '/limits', { nope: 1 }],
    ['POST', '/limits', { preset: 'gold' }],
    ['POST', '/limits', { activeJobs: -1 }],
    ['GET', '/ledger?nope=1', undefined],
    ['GET', '/jobs?limit=many', undefined],
  ])('%s %s refuses %o with 400 and a reason', async (method, path, body) => {
    const answer = await control(method, path, body);
    expect(answer.status).toBe(400);
    expect(answer.body.sandbox.error).toEqual(expect.any(String));
  });

  test('pages of other sites are refused, programs and own pages are not', async () => {
    const statusOf = async (path: string, headers: Record<string, string>, method = 'POST'): Promise<number> => {
      const outgoing = request(`${sandbox.url}${path}`, { method, headers }).end(
        method === 'POST' ? '{"speed":7}' : '',
      );
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      response.resume();
      return response.statusCode ?? 0;
    };
    const own = sandbox.url;
    const foreign = `evil.example:${new URL(own).port}`;
    for (const headers of [
      { origin: 'https://evil.example', 'content-type': 'text/plain' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site', origin: own },
      { host: foreign },
      { host: foreign, origin: `http://${foreign}` },
      { host: '127.0.0.1.evil.example' },
    ])
      expect(await statusOf('/_control/speed', headers), JSON.stringify(headers)).toBe(403);
    expect(sandbox.speed).toBe(10_000);
    expect(await statusOf('/_control/ledger', { host: foreign }, 'GET')).toBe(403);
    expect(await statusOf('/knowhere/v1/jobs/none', { ...auth, host: foreign, origin: 'http://x.test' }, 'GET')).toBe(
      404,
    );
    expect(await statusOf('/healthz', { host: foreign }, 'GET')).toBe(200);
    expect(await statusOf('/_control/speed', { origin: own, 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(await statusOf('/_control/speed', { host: 'sandbox.localhost' })).toBe(200);
    expect(sandbox.speed).toBe(7);
  });

  test('dialect, speed and limits change what is played', async () => {
    await control('POST', '/dialect', { dialect: 'doc' });
    await control('POST', '/speed', { speed: 0.001 });
    await control('POST', '/limits', { vendor: 'knowhere', preset: 'documented', minuteMs: 100 });
    const { body } = await control('GET', '/settings');
    expect(body).toMatchObject({
      speed: 0.001,
      vendors: { knowhere: { dialect: 'doc', requestsPerMinute: 60, activeJobs: 10, minuteMs: 100 } },
    });
    expect((await create()).status).toBe('pending');
    const response = await fetch(`${sandbox.knowhereUrl}/v1/jobs/none`, { headers: auth });
    expect(response.headers.get('ratelimit-limit')).toBe('60');
    await control('POST', '/reset');
    expect((await control('GET', '/settings')).body).toMatchObject({
      speed: 10_000,
      vendors: { knowhere: { dialect: 'impl' } },
    });
  });

  test('a request may choose its dialect by base path or header', async () => {
    const by = async (base: string, headers = {}) =>
      (
        await http(
          'POST',
          `${sandbox.url}/${base}/v1/jobs`,
          { source_type: 'url', source_url: 'https://e.com/a.pdf' },
          { ...auth, ...headers },
        )
      ).status;
    expect(await by('knowhere-doc')).toBe(202);
    expect(await by('knowhere-impl')).toBe(200);
    expect(await by('knowhere', { 'x-sandbox-dialect': 'doc' })).toBe(202);
  });

  test('jobs are listed and ended by hand', async () => {
    const { job_id } = await create('https://e.com/a.pdf?sandbox=stall', { data_id: 'd1' });
    await create('https://e.com/b.pdf');
    expect((await control('GET', '/jobs?dataId=d1')).body).toMatchObject({
      total: 1,
      jobs: [{ vendor: 'knowhere', id: job_id, isTerminal: false, dataId: 'd1', faults: ['stall'], lookups: 0 }],
    });
    expect((await control('GET', '/jobs?source=b.pdf&limit=1')).body.total).toBe(1);
    const path = `/jobs/${job_id as string}`;
    const ended = await control('POST', `${path}/finish`, { outcome: 'failed', code: 'DATA_LOSS', message: 'by hand' });
    expect(ended).toMatchObject({ status: 200, body: { status: 'failed', isTerminal: true } });
    expect((await look(job_id)).body.error).toMatchObject({ code: 'DATA_LOSS', message: 'by hand' });
    expect((await control('POST', `${path}/finish`, { outcome: 'done' })).status).toBe(409);
    expect((await control('POST', '/jobs/none/finish', { outcome: 'done' })).status).toBe(404);
    expect((await control('GET', path)).body).toMatchObject({ lookups: 1, endedAt: expect.any(String) });
    expect((await control('GET', '/jobs?isTerminal=false&status=failed')).body.total).toBe(0);
  });

  test('the index names vendors and routes; anything else is 404', async () => {
    const { body } = await http('GET', sandbox.url);
    expect(body.vendors).toEqual({
      knowhere: sandbox.knowhereUrl,
      fini: sandbox.finiUrl,
      sharely: sandbox.sharelyUrl,
    });
    expect((await http('GET', `${sandbox.url}/healthz`)).body).toEqual({ ok: true });
    expect((await http('GET', `${sandbox.url}/elsewhere`)).status).toBe(404);
  });

  test('an oversized create is refused, not cut', async () => {
    const answer = await http('POST', `${sandbox.knowhereUrl}/v1/jobs`, { padding: 'x'.repeat(3_000_000) }, auth);
    expect(answer).toMatchObject({ status: 413, body: { sandbox: { error: expect.stringContaining('larger than') } } });
  });

  test('the pages name every control route', async () => {
    const guide = readPages();
    const { body } = await http('GET', sandbox.url);
    for (const route of body.control) expect(guide).toContain(`\`${route as string}\``);
  });
});

describe('the ledger', () => {
  test('holds every request in order, with what became of it', async () => {
    const { job_id } = await create('https://e.com/a.pdf?sandbox=rate-limited', { data_id: 'd1' });
    expect(job_id).toBeUndefined();
    const job = await create('https://e.com/a.pdf?sandbox=rate-limited', { data_id: 'd1' });
    await look(job.job_id);
    await look('none');
    const { body } = await control('GET', '/ledger');
    expect(body.entries).toMatchObject([
      {
        seq: 1,
        route: 'create',
        status: 429,
        faults: ['rate-limited'],
        jobCreated: false,
        dataId: 'd1',
        end: 'answered',
      },
      { seq: 2, route: 'create', status: 200, faults: [], jobCreated: true, jobId: job.job_id },
      { seq: 3, vendor: 'knowhere', method: 'GET', route: 'lookup', status: 200, jobId: job.job_id },
      { seq: 4, route: 'lookup', status: 404, jobId: 'none' },
    ]);
    expect(body.summary).toEqual({
      requests: 4,
      jobsCreated: 1,
      inFlight: 0,
      maxInFlight: 1,
      byRoute: { 'knowhere.create': 2, 'knowhere.lookup': 2 },
      byStatus: { '200': 2, '404': 1, '429': 1 },
      byFault: { 'rate-limited': 1 },
      dropped: 0,
    });
  });

  test('answers questions: creates per data id and source, look-ups per job, filters', async () => {
    const one = await create('https://e.com/1.pdf', { data_id: 'd1' });
    const two = await create('https://e.com/1.pdf', { data_id: 'd2' });
    await look(one.job_id);
    await look(one.job_id);
    const bySource = await control('GET', '/ledger/creates?by=source');
    expect(bySource.body.groups).toEqual([
      { key: 'https://e.com/1.pdf', requests: 2, jobIds: [one.job_id, two.job_id] },
    ]);
    expect((await control('GET', '/ledger/creates?dataId=d2')).body.groups).toHaveLength(1);
    const { body } = await control('GET', `/ledger/lookups/${one.job_id as string}`);
    expect(body.lookups).toEqual([
      { at: expect.any(String), atMs: expect.any(Number), status: 200 },
      { at: expect.any(String), atMs: expect.any(Number), status: 200 },
    ]);
    const count = async (query: string) => (await control('GET', `/ledger?${query}`)).body.entries.length as number;
    expect(await count('route=create&jobCreated=true')).toBe(2);
    expect(await count(`jobId=${two.job_id as string}`)).toBe(1);
    expect(await count('status=200&last=3')).toBe(3);
    expect(await count('afterSeq=3')).toBe(1);
    expect(await count('source=1.pdf&method=POST')).toBe(2);
    expect((await control('GET', '/ledger/summary')).body.requests).toBe(4);
    expect((await control('DELETE', '/ledger')).body.summary.requests).toBe(0);
  });

  test('sees requests in flight', async () => {
    const abort = new AbortController();
    const url = 'https://e.com/a.pdf?sandbox=timeout-after';
    const body = JSON.stringify({ source_type: 'url', source_url: url });
    const asked = fetch(`${sandbox.knowhereUrl}/v1/jobs`, {
      method: 'POST',
      headers: auth,
      body,
      signal: abort.signal,
    }).catch(() => null);
    await expect.poll(() => sandbox.ledger.summary().inFlight).toBe(1);
    expect(sandbox.ledger.entries()).toMatchObject([{ end: 'in-flight', jobCreated: true, durationMs: null }]);
    abort.abort();
    await asked;
    await expect.poll(() => sandbox.ledger.summary().inFlight).toBe(0);
    expect(sandbox.ledger.entries()).toMatchObject([
      { end: 'client-left', status: null, durationMs: expect.any(Number) },
    ]);
  });

  test('holds no key, no link signature, no whole body', async () => {
    const headers = { ...auth, 'content-type': 'application/json' };
    const body = JSON.stringify({ source_type: 'file', file_name: 'a.txt', padding: 'p'.repeat(50_000) });
    const job = (await (
      await fetch(`${sandbox.knowhereUrl}/v1/jobs`, { method: 'POST', headers, body })
    ).json()) as Wire;
    await fetch(job.upload_url, { method: 'PUT', headers: job.upload_headers, body: 'secret words' });
    const entries = sandbox.ledger.entries();
    const text = JSON.stringify(entries);
    expect(text).not.toContain('secret_key');
    expect(text).not.toContain('secret words');
    expect(text).not.toMatch(/X-Amz-Signature=[0-9a-f]/);
    expect(text.length).toBeLessThan(4_000);
    expect(entries.map((entry) => entry.body.bytes)).toEqual([body.length, 12]);
    expect(entries[0]?.headers['authorization']).toMatch(/^Bearer … \([0-9a-f]{8}\)$/);
  });

  test('keeps to its limit, counts on, and stays quick', async () => {
    const small = await startSandbox({ ledgerLimit: 1_000 });
    for (let n = 0; n < 12; n += 1) {
      await Promise.all(Array.from({ length: 100 }, () => look('none', small)));
    }
    const summary = small.ledger.summary();
    expect(summary).toMatchObject({ requests: 1_200, byStatus: { '404': 1_200 }, inFlight: 0 });
    expect(small.ledger.entries().length + summary.dropped).toBe(1_200);
    expect(small.ledger.entries().length).toBeLessThanOrEqual(1_111);
    expect(small.ledger.entries({ last: 1 })[0]?.seq).toBe(1_200);
    await small.close();
  });
});

describe('start and end', () => {
  test('close ends hanging requests at once and removes uploads', async () => {
    const other = await startSandbox({ speed: 10_000 });
    const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('vendor-sandbox-'));
    const before = folders();
    const made = await http('POST', `${other.knowhereUrl}/v1/jobs`, { source_type: 'file', file_name: 'a.txt' }, auth);
    await fetch(made.body.upload_url, { method: 'PUT', headers: made.body.upload_headers, body: 'text' });
    const own = folders().filter((name) => !before.includes(name));
    expect(own.length).toBeGreaterThan(0);
    const hanging = ['timeout-before', 'timeout-after', 'slow-reply--600000', 'drip-body--600000', 'stalled-body'].map(
      (marker) => create(`https://e.com/a.pdf?sandbox=${marker}`, {}, other).catch(() => 'ended'),
    );
    await expect.poll(() => other.ledger.summary().requests).toBe(7);
    const startedAt = performance.now();
    await other.close();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(await Promise.all(hanging)).toEqual(Array(5).fill('ended'));
    // Folders of sandboxes in other test processes may come and go meanwhile; ours is among those that went.
    expect(own.some((name) => !existsSync(`${tmpdir()}/${name}`))).toBe(true);
    await other.close();
  });

  test('a taken port, an unknown vendor and bad settings are clear errors', async () => {
    await expect(startSandbox({ port: sandbox.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await expect(startSandbox({ vendors: ['nobody'] })).rejects.toThrow(/knowhere.*not 'nobody'/);
    await expect(startSandbox({ speed: -1 })).rejects.toThrow(/speed/);
    await expect(startSandbox({ settings: { knowhere: { activeJobs: 'x' } } })).rejects.toThrow(VendorSettingError);
  });

  test('options set dialect, settings and log', async () => {
    const lines: string[] = [];
    const other = await startSandbox({
      dialect: 'doc',
      settings: { knowhere: { activeJobs: 3 } },
      vendors: ['knowhere'],
      log: (line) => lines.push(line),
    });
    expect(other.settings()).toMatchObject({ knowhere: { dialect: 'doc', activeJobs: 3 } });
    await create('https://e.com/a.pdf?sandbox=forbidden', {}, other);
    await expect
      .poll(() => lines)
      .toEqual([`vendor sandbox listening on ${other.url}`, 'knowhere POST /knowhere/v1/jobs → 403 [forbidden]']);
    await other.close();
  });

  test('a change of speed keeps documents where they are', async () => {
    sandbox.setSpeed(0.001);
    const { job_id } = await create('https://e.com/a.pdf?sandbox=duration--10000');
    expect((await look(job_id)).body.status).toBe('waiting-file');
    sandbox.setSpeed(1_000);
    await expect.poll(async () => (await look(job_id)).body.status, { timeout: 3_000 }).toBe('done');
    const endedAt = sandbox.job(job_id)?.endedAt;
    sandbox.setSpeed(0.001);
    expect((await look(job_id)).body.status).toBe('done');
    expect(sandbox.job(job_id)?.endedAt).toBe(endedAt);
  });

  test('thousands of jobs need no timers and answer quickly', async () => {
    sandbox.setSpeed(1);
    const ids: string[] = [];
    for (let n = 0; n < 20; n += 1) {
      const batch = await Promise.all(
        Array.from({ length: 100 }, (_none, at) => create(`https://e.com/${n}-${at}.pdf`)),
      );
      for (const job of batch) ids.push(job.job_id as string);
    }
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    expect(timers).toBeLessThan(50);
    expect(new Set(ids).size).toBe(2_000);
    const startedAt = performance.now();
    for (let n = 0; n < 10; n += 1) await Promise.all(ids.slice(n * 100, n * 100 + 100).map((id) => look(id)));
    // Far above what it takes (under half a second), far below what a walk over all jobs per look-up would.
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});
