import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { UnknownFaultError, startSandbox, type FaultDefinition, type Sandbox } from '../../sandbox/index.ts';
import { readPages } from './pages.ts';

/**
 * Every line of Knowhere's fault table strikes as it says; one case each, and the last test counts them. The other
 * vendors' own faults have files of their own.
 */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
const auth = { authorization: 'Bearer sk_test' };

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000, vendors: ['knowhere'] });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

/** One request; null when the connection ended without an answer, `timeout` when none came in time. */
async function ask(url: string, init: RequestInit = {}, timeoutMs = 5_000) {
  try {
    const response = await fetch(url, { headers: auth, ...init, signal: AbortSignal.timeout(timeoutMs) });
    const { status, headers } = response;
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status, headers, bytes, text: bytes.toString(), json: (): Wire => JSON.parse(bytes.toString()) };
  } catch (error) {
    return (error as Error).name === 'TimeoutError' ? ('timeout' as const) : null;
  }
}

async function answered(url: string, init: RequestInit = {}) {
  const answer = await ask(url, init);
  if (answer === null || answer === 'timeout') throw new Error(`no answer: ${String(answer)}`);
  return answer;
}

const submit = (input: Record<string, unknown>): RequestInit => ({
  method: 'POST',
  headers: { ...auth, 'content-type': 'application/json' },
  body: JSON.stringify(input),
});
const jobsUrl = () => `${sandbox.knowhereUrl}/v1/jobs`;
const urlJob = (marker = '', source_url = `https://e.com/a.pdf${marker === '' ? '' : `?sandbox=${marker}`}`) =>
  submit({ source_type: 'url', source_url });
const create = (marker?: string) => ask(jobsUrl(), urlJob(marker));
const created = async (marker?: string) => (await answered(jobsUrl(), urlJob(marker))).json();
const look = async (id: string) => answered(`${jobsUrl()}/${id}`);
const jobCount = () => sandbox.jobs().total;

async function done(id: string): Promise<Wire> {
  for (;;) {
    const answer = await look(id);
    if (answer.status === 200 && ['done', 'failed'].includes(answer.json().status as string)) return answer.json();
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}
const uploaded = async (name = 'a.txt') => {
  const job = (await answered(jobsUrl(), submit({ source_type: 'file', file_name: name }))).json();
  const put = () => ask(job.upload_url, { method: 'PUT', headers: job.upload_headers, body: 'x'.repeat(5_000) });
  return { job, put };
};
const doneJob = async (marker?: string) => done((await created(marker)).job_id as string);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** A create refused once by a marker: nothing exists, then the same create passes. */
function refusedOnce(status: number, check: (answer: Awaited<ReturnType<typeof answered>>) => void) {
  return async (marker: string) => {
    const answer = await answered(jobsUrl(), urlJob(marker));
    expect(answer.status).toBe(status);
    check(answer);
    expect(jobCount()).toBe(0);
    expect((await answered(jobsUrl(), urlJob(marker))).status).toBe(200);
    expect(jobCount()).toBe(1);
  };
}

/** A create refused as often as it is sent. */
function refusedAlways(status: number, code: string) {
  return async (marker: string) => {
    for (let n = 0; n < 3; n += 1) {
      const answer = await answered(jobsUrl(), urlJob(marker));
      expect([answer.status, answer.json().error.code]).toEqual([status, code]);
    }
    expect(jobCount()).toBe(0);
  };
}

const code = (wanted: string) => (answer: Awaited<ReturnType<typeof answered>>) => {
  expect(answer.json()).toMatchObject({ success: false, error: { code: wanted } });
};
const isGatewayPage = (answer: Awaited<ReturnType<typeof answered>>) => {
  expect(answer.headers.get('content-type')).toBe('text/html');
  expect(answer.text).toContain('nginx');
};

/** A create whose answer is damaged, though the job exists. */
function damaged(check: (answer: Awaited<ReturnType<typeof answered>>) => void) {
  return async (marker: string) => {
    const answer = await answered(jobsUrl(), urlJob(marker));
    expect(answer.status).toBe(200);
    check(answer);
    expect(jobCount()).toBe(1);
  };
}

function lostAfter(expected: null | 'timeout') {
  return async (marker: string) => {
    expect(await ask(jobsUrl(), urlJob(marker), 150)).toBe(expected);
    expect(jobCount()).toBe(1);
    const [entry] = sandbox.ledger.entries({ route: 'create' });
    expect(entry).toMatchObject({ jobCreated: true, status: null, faults: [marker] });
  };
}

function lostBefore(expected: null | 'timeout') {
  return async (marker: string) => {
    expect(await ask(jobsUrl(), urlJob(marker), 150)).toBe(expected);
    expect(jobCount()).toBe(0);
  };
}

const cases: Record<string, (marker: string) => Promise<void>> = {
  'rate-limited': refusedOnce(429, (answer) => {
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(answer.json().error.details).toMatchObject({ reason: 'RATE_LIMIT_EXCEEDED', retry_after: 1 });
  }),
  'rate-limited-header': refusedOnce(429, (answer) => {
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(answer.json().error.details).not.toHaveProperty('retry_after');
  }),
  'rate-limited-body': refusedOnce(429, (answer) => {
    expect(answer.headers.has('retry-after')).toBe(false);
    expect(answer.json().error.details.retry_after).toBe(1);
  }),
  'quota-exceeded': refusedOnce(429, (answer) => {
    expect(answer.headers.has('retry-after')).toBe(false);
    expect(answer.json().error.details).toEqual({ reason: 'QUOTA_EXCEEDED' });
  }),
  unavailable: refusedOnce(503, (answer) => {
    expect(answer.headers.get('retry-after')).toBe('15');
    expect(answer.json().error).toMatchObject({ code: 'UNAVAILABLE', details: { retry_after: 15 } });
  }),
  unauthorized: refusedOnce(401, code('UNAUTHENTICATED')),
  'payment-required': refusedOnce(402, code('PAYMENT_REQUIRED')),
  forbidden: refusedOnce(403, code('PERMISSION_DENIED')),
  'bad-request': refusedAlways(400, 'INVALID_ARGUMENT'),
  'not-found': refusedAlways(404, 'NOT_FOUND'),
  conflict: refusedAlways(409, 'ABORTED'),
  'server-error': refusedOnce(500, code('INTERNAL_ERROR')),
  'server-error-after': async (marker) => {
    const answer = await answered(jobsUrl(), urlJob(`${marker}--504`));
    expect([answer.status, answer.json().error.code]).toEqual([504, 'DEADLINE_EXCEEDED']);
    expect(jobCount()).toBe(1);
  },
  'gateway-error': refusedOnce(502, isGatewayPage),
  'gateway-error-after': async (marker) => {
    const answer = await answered(jobsUrl(), urlJob(`${marker}--503`));
    expect(answer.status).toBe(503);
    isGatewayPage(answer);
    expect(jobCount()).toBe(1);
  },
  'cut-before': lostBefore(null),
  'cut-after': lostAfter(null),
  'timeout-before': lostBefore('timeout'),
  'timeout-after': lostAfter('timeout'),
  'slow-reply': async (marker) => {
    const startedAt = performance.now();
    expect((await answered(jobsUrl(), urlJob(`${marker}--120`))).status).toBe(200);
    expect(performance.now() - startedAt).toBeGreaterThan(110);
  },
  'drip-body': async (marker) => {
    const startedAt = performance.now();
    const response = await fetch(jobsUrl(), urlJob(`${marker}--200`));
    const headersAt = performance.now();
    await response.json();
    expect(headersAt - startedAt).toBeLessThan(150);
    expect(performance.now() - headersAt).toBeGreaterThan(100);
  },
  'malformed-json': damaged((answer) => {
    expect(() => answer.json()).toThrow(SyntaxError);
  }),
  'wrong-content-type': damaged((answer) => {
    expect(answer.headers.get('content-type')).toContain('text/html');
    expect(answer.json()).toHaveProperty('job_id');
  }),
  'html-page': damaged((answer) => {
    expect(answer.text).toContain('<!doctype html>');
  }),
  'empty-body': damaged((answer) => {
    expect(answer.text).toBe('');
  }),
  'foreign-json': async (marker) => {
    const shapes = { object: {}, array: [], null: null, string: 'ok', number: 42 };
    for (const [shape, value] of Object.entries(shapes)) {
      expect((await answered(jobsUrl(), urlJob(`${marker}--${shape}`))).json()).toEqual(value);
    }
  },
  replies: async (marker) => {
    sandbox.faults.arm({ fault: marker, argument: '418 {"short": "and stout"}' });
    const answer = await answered(jobsUrl(), urlJob());
    expect([answer.status, answer.json(), jobCount()]).toEqual([418, { short: 'and stout' }, 0]);
  },
  'field-is': async (marker) => {
    sandbox.faults.arm({ fault: marker, argument: 'status={"is":"odd"}', route: 'create' });
    expect((await created()).status).toEqual({ is: 'odd' });
  },
  'field-case': async (marker) => {
    sandbox.faults.arm({ fault: marker, argument: 'status', route: 'create' });
    expect((await created()).status).toBe('WAITING-FILE');
  },
  'duplicate-keys': damaged((answer) => {
    expect(answer.text.match(/"job_id":/g)).toHaveLength(2);
    expect(answer.json().job_id).toMatch(/^job_/);
  }),
  'extra-fields': damaged((answer) => {
    expect(answer.json()).toMatchObject({ job_id: expect.stringMatching(/^job_/), sandbox_more: expect.any(String) });
  }),
  'byte-order-mark': damaged((answer) => {
    expect(answer.bytes.subarray(0, 3).toString('hex')).toBe('efbbbf');
  }),
  'huge-body': async (marker) => {
    const answer = await answered(jobsUrl(), urlJob(`${marker}--3`));
    expect(answer.headers.has('content-length')).toBe(false);
    expect(answer.bytes.length).toBeGreaterThan(3 * 1_048_576);
    expect(answer.json().job_id).toMatch(/^job_/);
  },
  'truncated-body': lostAnswer(null),
  'stalled-body': lostAnswer('timeout'),

  stall: async (marker) => {
    const { job_id } = await created(`${marker}--pending`);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect((await look(job_id)).json().status).toBe('pending');
    expect(sandbox.finishJob(job_id, { outcome: 'done' })).toBe(true);
    expect((await look(job_id)).json().status).toBe('done');
  },
  fail: async (marker) => {
    expect((await doneJob(`${marker}--UNAVAILABLE`)).error.code).toBe('UNAVAILABLE');
  },
  'fail-without-error': async (marker) => {
    expect(await doneJob(marker)).toMatchObject({ status: 'failed', error: null });
    sandbox.setDialect('doc');
    expect(await doneJob(marker)).not.toHaveProperty('error');
  },
  'fail-with-text': async (marker) => {
    const text = expect.stringMatching(/^Source file/) as string;
    expect(await doneJob(`${marker},fail--NOT_FOUND`)).toMatchObject({ status: 'failed', error: text });
  },
  'created-as': async (marker) => {
    expect((await answered(jobsUrl(), urlJob(marker))).status).toBe(201);
    expect((await answered(jobsUrl(), urlJob(marker))).status).toBe(200);
    expect(jobCount()).toBe(2);
  },
  'reset-in-seconds': async (marker) => {
    const resetOf = async (url: string, init?: RequestInit) =>
      Number((await answered(url, init)).headers.get('ratelimit-reset'));
    sandbox.setDialect('doc');
    expect(await resetOf(jobsUrl(), urlJob())).toBeGreaterThan(1_700_000_000);
    expect(await resetOf(jobsUrl(), urlJob(marker))).toBeLessThanOrEqual(60);
    const { job_id } = await created(`${marker}--at-lookup`);
    expect(await resetOf(`${jobsUrl()}/${job_id as string}`)).toBeLessThanOrEqual(60);
  },
  'progress-goes-down': async (marker) => {
    sandbox.setDialect('doc');
    const { job_id } = await created(`${marker},pages--5,stall`);
    await expect.poll(async () => (await look(job_id)).json().status).toBe('running');
    const done: number[] = [];
    for (let n = 0; n < 3; n += 1) done.push((await look(job_id)).json().progress.processed_pages);
    expect(done[0]).toBeGreaterThan(done.at(-1) ?? NaN);
    expect(done).toEqual([...done].sort((one, other) => other - one));
  },
  'upload-link-missing': async (marker) => {
    const file = submit({ source_type: 'file', file_name: `a.fault-${marker}.txt` });
    expect((await answered(jobsUrl(), file)).json()).toMatchObject({ upload_url: null, upload_headers: null });
    sandbox.setDialect('doc');
    const job = (await answered(jobsUrl(), file)).json();
    expect(job).not.toHaveProperty('upload_url');
    const { upload_url: url, upload_headers: headers } = (await look(job.job_id)).json();
    expect(await ask(url, { method: 'PUT', headers, body: 'x' })).toMatchObject({ status: 200 });
  },
  duration: async (marker) => {
    const startedAt = Date.now();
    const { job_id } = await created(`${marker}--1500000`);
    await done(job_id as string);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(140);
  },
  pages: async (marker) => {
    expect((await doneJob(`${marker}--77`)).credits_spent).toBe(77);
  },
  'done-after': async (marker) => {
    sandbox.setSpeed(0.001);
    const { job_id } = await created(`${marker}--4`);
    const statuses = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await look(job_id)).json().status);
    expect(statuses).toEqual(['pending', 'running', 'running', 'done', 'done']);
  },
  'unknown-status': async (marker) => {
    const { job_id } = await created(`${marker},stall`);
    await expect.poll(async () => (await look(job_id)).json().status).toBe('processing');
  },
  'status-goes-back': async (marker) => {
    const { job_id } = await created(`${marker},stall`);
    await expect.poll(async () => (await look(job_id)).json().status).toBe('running');
    expect((await look(job_id)).json().status).toBe('pending');
    expect((await look(job_id)).json().status).toBe('running');
  },
  'not-found-first': async (marker) => {
    const { job_id } = await created(`${marker}--3`);
    const statuses = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await look(job_id)).status);
    expect(statuses).toEqual([404, 404, 404, 200, 200]);
  },
  'gone-after': async (marker) => {
    const { job_id } = await created(`${marker}--1`);
    const statuses = [];
    for (let n = 0; n < 4; n += 1) statuses.push((await look(job_id)).status);
    expect(statuses).toEqual([200, 404, 404, 404]);
  },
  'done-without-result': async (marker) => {
    const first = await doneJob(marker);
    expect(first).toMatchObject({ status: 'done', result_url: null, result: null });
    expect((await look(first.job_id)).json().result_url).toContain('http');
  },
  'upload-unnoticed': async (marker) => {
    const { job, put } = await uploaded(`a.fault-${marker}.txt`);
    await put();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await look(job.job_id)).json().status).toBe('waiting-file');
    await ask(`${jobsUrl()}/${job.job_id as string}/confirm-upload`, { method: 'POST' });
    expect((await done(job.job_id)).status).toBe('done');
  },
  'wrong-checksum': async (marker) => {
    const job = await doneJob(marker);
    expect(job.result.checksum).toMatch(/^[0-9a-f]{64}$/);
    expect(sha256((await answered(job.result_url, { headers: {} })).bytes)).not.toBe(job.result.checksum);
  },
  'no-checksum': async (marker) => {
    const job = await doneJob(marker);
    expect(job.result).toEqual({});
    expect(job).not.toHaveProperty('result_checksum');
    expect(job.result_url).toContain('http');
  },
  'checksum-other-place': async (marker) => {
    const job = await doneJob(marker);
    const { bytes } = await answered(job.result_url, { headers: {} });
    expect(job.result_checksum).toEqual({ algorithm: 'sha256', value: sha256(bytes) });
    expect(job.result).toEqual({});
  },
  'checksum-both-places': async (marker) => {
    const job = await doneJob(marker);
    expect(job.result_checksum.value).toBe(job.result.checksum);
  },
  'checksum-upper-case': async (marker) => {
    const job = await doneJob(marker);
    const { bytes } = await answered(job.result_url, { headers: {} });
    expect(job.result.checksum).toBe(sha256(bytes).toUpperCase());
  },
  'result-expires-in': async (marker) => {
    const job = await doneJob(`${marker}--2`);
    const left = Date.parse(job.result_url_expires_at as string) - Date.now();
    expect(left).toBeGreaterThan(500);
    expect(left).toBeLessThanOrEqual(2_000);
  },
  'result-late': async (marker) => {
    const job = await doneJob(`${marker}--150`);
    const get = () => answered(job.result_url, { headers: {} });
    expect(await get()).toMatchObject({ status: 404, text: expect.stringContaining('NoSuchKey') });
    await expect.poll(async () => (await get()).status, { timeout: 2_000 }).toBe(200);
  },
  'result-zip-slip': async (marker) => {
    const job = await doneJob(marker);
    const { bytes } = await answered(job.result_url, { headers: {} });
    expect(bytes.includes('../sandbox-evil.txt')).toBe(true);
    expect(sha256(bytes)).toBe(job.result.checksum);
  },
  'list-late': async (marker) => {
    const { job_id } = await created(`${marker}--150`);
    const ids = async () => (await answered(jobsUrl())).json().jobs.map((job: Wire) => job.job_id);
    expect(await ids()).toEqual([]);
    await expect.poll(ids, { timeout: 2_000 }).toEqual([job_id]);
  },
  'list-empty': async (marker) => {
    await created();
    sandbox.faults.arm({ fault: marker });
    expect((await answered(jobsUrl())).json().total).toBe(0);
    expect((await answered(jobsUrl())).json().total).toBe(1);
  },
  'upload-expired': async (marker) => {
    const { put } = await uploaded(`a.fault-${marker}.txt`);
    for (let n = 0; n < 2; n += 1)
      expect(await put()).toMatchObject({ status: 403, text: expect.stringContaining('expired') });
  },
  'upload-signature': async (marker) => {
    const { put } = await uploaded(`a.fault-${marker}.txt`);
    expect(await put()).toMatchObject({ status: 403, text: expect.stringContaining('SignatureDoesNotMatch') });
    expect(await put()).toMatchObject({ status: 200 });
  },
  'upload-cut': async (marker) => {
    const { job, put } = await uploaded(`a.fault-${marker}--10.txt`);
    expect(await put()).toBeNull();
    expect((await look(job.job_id)).json().status).toBe('waiting-file');
    expect(sandbox.ledger.entries({ route: 'upload' })).toMatchObject([{ end: 'cut', status: null }]);
    expect(await put()).toMatchObject({ status: 200 });
  },
  'confirm-settling': async (marker) => {
    const { job, put } = await uploaded();
    await put();
    sandbox.faults.arm({ fault: marker, jobId: job.job_id });
    const confirm = () =>
      answered(`${jobsUrl()}/${job.job_id as string}/confirm-upload`, { method: 'POST', headers: auth });
    const first = await confirm();
    expect([first.status, first.headers.get('retry-after'), first.json().error.code]).toEqual([
      503,
      '120',
      'UNAVAILABLE',
    ]);
    expect((await confirm()).status).toBe(200);
  },
  'result-expired': async (marker) => {
    const job = await doneJob(marker);
    for (let n = 0; n < 2; n += 1) expect((await answered(job.result_url, { headers: {} })).status).toBe(403);
    const fresh = (await look(job.job_id)).json();
    expect((await answered(fresh.result_url, { headers: {} })).status).toBe(200);
  },
  'result-redirect': async (marker) => {
    const targets = {
      elsewhere: /^http:\/\/localhost:/,
      private: /^http:\/\/169\.254\.169\.254\//,
      loop: /^http:\/\/127\.0\.0\.1:/,
      file: /^file:/,
    };
    for (const [target, location] of Object.entries(targets)) {
      const job = await doneJob(`${marker}--${target}`);
      const answer = await answered(job.result_url, { headers: {}, redirect: 'manual' });
      expect(answer.status).toBe(302);
      expect(answer.headers.get('location')).toMatch(location);
      if (target !== 'elsewhere') continue;
      // Answered on the other name as well, where this machine resolves it.
      const moved = await answered(job.result_url, { headers: {} });
      expect(sha256(moved.bytes)).toBe(job.result.checksum);
    }
  },
  'result-corrupt': async (marker) => {
    const job = await doneJob(marker);
    const [bad, good] = [
      await answered(job.result_url, { headers: {} }),
      await answered(job.result_url, { headers: {} }),
    ];
    expect(bad.bytes.length).toBe(good.bytes.length);
    expect(sha256(bad.bytes)).not.toBe(job.result.checksum);
    expect(sha256(good.bytes)).toBe(job.result.checksum);
  },
  'result-not-zip': async (marker) => {
    const job = await doneJob(marker);
    expect((await answered(job.result_url, { headers: {} })).text).toContain('not a ZIP');
  },
};

function lostAnswer(expected: null | 'timeout') {
  return async (marker: string) => {
    const response = await fetch(jobsUrl(), { ...urlJob(marker), signal: AbortSignal.timeout(200) });
    expect(response.status).toBe(200);
    const failure = await response.text().then(
      () => 'whole',
      (error: unknown) => ((error as Error).name === 'TimeoutError' ? 'timeout' : null),
    );
    expect(failure).toBe(expected);
    expect(jobCount()).toBe(1);
  };
}

describe('each fault', () => {
  test.each(Object.entries(cases))('%s', async (name, run) => {
    await run(name);
    expect(sandbox.ledger.entries().flatMap((entry) => entry.faults)).toContain(name);
  });

  test('has a case here', () => {
    expect(
      sandbox.faults
        .table()
        .map(({ definition }) => definition.name)
        .sort(),
    ).toEqual(Object.keys(cases).sort());
  });
});

describe('markers', () => {
  test('strike in source_url, file_name and data_id, percent-encoded or not', async () => {
    const inputs = [
      { source_type: 'url', source_url: 'https://e.com/a.fault-bad-request.pdf' },
      { source_type: 'url', source_url: 'https://e.com/a%2Efault-bad-request.pdf' },
      { source_type: 'url', source_url: 'https://e.com/a.pdf?x=1&sandbox=bad-request#part' },
      { source_type: 'file', file_name: 'a.fault-bad-request.md' },
      { source_type: 'url', source_url: 'https://e.com/a.pdf', data_id: 'order-7.fault-bad-request' },
    ];
    for (const input of inputs) {
      expect((await answered(jobsUrl(), submit(input))).status, JSON.stringify(input)).toBe(400);
    }
  });

  test('x3, always, skip-1 and at-lookup say when and where', async () => {
    expect(await statuses(4, () => create('rate-limited--2--x3'))).toEqual([429, 429, 429, 200]);
    expect(await statuses(3, () => create('quota-exceeded--always'))).toEqual([429, 429, 429]);
    expect(await statuses(3, () => create('server-error--503--skip-1'))).toEqual([200, 503, 200]);
    const { job_id } = await created('server-error--x2--at-lookup');
    expect(await statuses(3, () => ask(`${jobsUrl()}/${job_id as string}`))).toEqual([500, 500, 200]);
  });

  test('several that decide the answer take turns', async () => {
    const marker = 'rate-limited,gateway-error,cut-before,slow-reply--1';
    const results = [await create(marker), await create(marker), await create(marker), await create(marker)];
    expect(results.map((result) => (result === null || result === 'timeout' ? result : result.status))).toEqual([
      429,
      502,
      null,
      200,
    ]);
  });

  test('are counted per text: another document is struck anew, and so is storage', async () => {
    expect(await statuses(2, () => ask(jobsUrl(), urlJob('', 'https://e.com/1.pdf?sandbox=forbidden')))).toEqual([
      403, 200,
    ]);
    expect(await statuses(2, () => ask(jobsUrl(), urlJob('', 'https://e.com/2.pdf?sandbox=forbidden')))).toEqual([
      403, 200,
    ]);
    const job = await doneJob('server-error--503--at-result,truncated-body--at-result');
    const refused = await answered(job.result_url, { headers: {} });
    expect(refused.text).toContain('<Code>SlowDown</Code>');
    expect(await ask(job.result_url, { headers: {} })).toBeNull();
    expect(await ask(job.result_url, { headers: {} })).toMatchObject({ status: 200 });
  });

  test('that fit nothing are refused loudly', async () => {
    for (const marker of [
      'no-such-fault',
      'rate-limited--soon',
      'stall--x1--done',
      'list-empty--at-create',
      'fail--at-lookup',
    ]) {
      const answer = await answered(jobsUrl(), urlJob(marker));
      expect(answer.status, marker).toBe(400);
      expect(answer.json().sandbox.error, marker).toMatch(/fault/);
    }
  });
});

describe('rules', () => {
  test('strike the next N matching requests, by route, job, source and key', async () => {
    sandbox.faults.arm({ fault: 'server-error', route: 'lookup', times: 2 });
    const { job_id } = await created();
    const other = (await created()).job_id as string;
    expect(await statuses(3, () => ask(`${jobsUrl()}/${job_id as string}`))).toEqual([500, 500, 200]);
    sandbox.faults.arm({ fault: 'not-found', route: 'lookup', jobId: other });
    expect(await statuses(1, () => ask(`${jobsUrl()}/${job_id as string}`))).toEqual([200]);
    expect(await statuses(2, () => ask(`${jobsUrl()}/${other}`))).toEqual([404, 200]);
    sandbox.faults.arm({ fault: 'rate-limited', source: 'special' });
    expect(await statuses(1, () => create())).toEqual([200]);
    expect(await statuses(2, () => ask(jobsUrl(), urlJob('', 'https://e.com/special.pdf')))).toEqual([429, 200]);
    sandbox.faults.arm({ fault: 'unauthorized', route: 'lookup', apiKey: 'sk_old', times: 'always' });
    const withKey = (key: string) => ask(`${jobsUrl()}/${other}`, { headers: { authorization: `Bearer ${key}` } });
    expect(await statuses(2, () => withKey('sk_old'))).toEqual([401, 401]);
    expect(await statuses(1, () => withKey('sk_new'))).toEqual([200]);
  });

  test('a fault of a job goes to the next job, or to one that exists', async () => {
    sandbox.faults.arm({ fault: 'fail', argument: 'NOT_FOUND' });
    const [one, two] = [(await created()).job_id as string, (await created()).job_id as string];
    expect((await done(one)).error.code).toBe('NOT_FOUND');
    expect((await done(two)).status).toBe('done');
    sandbox.faults.arm({ fault: 'no-checksum', jobId: two });
    expect((await look(two)).json().result).toEqual({});
    expect(sandbox.faults.armed()).toEqual([]);
    expect(() => sandbox.faults.arm({ fault: 'stall', jobId: 'job_0' })).toThrow(UnknownFaultError);
  });

  test('a create that is refused leaves the fault to the next job', async () => {
    sandbox.faults.arm({ fault: 'rate-limited' });
    sandbox.faults.arm({ fault: 'fail', argument: 'NOT_FOUND' });
    expect(await statuses(1, () => create())).toEqual([429]);
    expect((await done((await created()).job_id as string)).error.code).toBe('NOT_FOUND');
    expect(sandbox.faults.armed()).toEqual([]);
  });

  test('markers in names with blanks are counted by the whole name', async () => {
    const upload = (name: string) => ask(jobsUrl(), submit({ source_type: 'file', file_name: name }));
    expect(await statuses(2, () => upload('one paper.fault-rate-limited.pdf'))).toEqual([429, 200]);
    expect(await statuses(2, () => upload('two paper.fault-rate-limited.pdf'))).toEqual([429, 200]);
  });

  test('skip and probability; draws repeat with the seed', async () => {
    const run = async (seed: number) => {
      await sandbox.reset({ seed });
      sandbox.faults.arm({ fault: 'forbidden', route: 'list', times: 'always', probability: 0.5, skip: 2 });
      return statuses(20, () => ask(jobsUrl()));
    };
    const first = await run(7);
    expect(first.slice(0, 2)).toEqual([200, 200]);
    expect(new Set(first)).toEqual(new Set([200, 403]));
    expect(await run(7)).toEqual(first);
    expect(await run(8)).not.toEqual(first);
  });

  test('a request out of many that come at once is struck exactly once', async () => {
    sandbox.faults.arm({ fault: 'cut-after', times: 1 });
    const results = await Promise.all(Array.from({ length: 30 }, () => create()));
    expect(results.filter((result) => result === null)).toHaveLength(1);
    expect(jobCount()).toBe(30);
  });
});

describe('the pages', () => {
  test('list every fault of every vendor as the tables have it', async () => {
    const guide = readPages();
    const all = await startSandbox();
    const definitions = all.faults.table().map(({ definition }) => definition);
    await all.close();
    for (const definition of definitions) expect(guide).toContain(guideLine(definition));
    const listed = [...guide.matchAll(/^\| `([a-z-]+)` \|.*\| (?:once|always|the job) \|/gm)].map((match) => match[1]);
    expect(listed.sort()).toEqual([...new Set(definitions.map(({ name }) => name))].sort());
  });
});

/** One row of the fault tables in the sandbox's pages. */
function guideLine({ name, summary, argument, markerTimes, scope }: FaultDefinition): string {
  const words = argument?.words === undefined ? '' : ` (${argument.words.map((word) => `\`${word}\``).join(', ')})`;
  const shown = argument === undefined ? '–' : `${argument.meaning}${words}, default \`${argument.default}\``;
  return `| \`${name}\` | ${shown} | ${scope === 'job' ? 'the job' : markerTimes === 1 ? 'once' : 'always'} | ${summary} |`;
}

async function statuses(times: number, act: () => ReturnType<typeof ask>): Promise<(number | null | 'timeout')[]> {
  const seen: (number | null | 'timeout')[] = [];
  for (let n = 0; n < times; n += 1) {
    const answer = await act();
    seen.push(answer === null || answer === 'timeout' ? answer : answer.status);
  }
  return seen;
}
