import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromBuffer } from 'yauzl';
import { z } from 'zod';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';

/** The documented rows of Knowhere's API, in both dialects, over real HTTP. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
const auth = { authorization: 'Bearer sk_test_1' };
const ZONELESS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/;
const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$/;

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000 });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

type Dialect = 'doc' | 'impl';

async function api(
  dialect: Dialect,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = auth,
) {
  const response = await fetch(`${sandbox.url}/knowhere-${dialect}${path}`, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Wire };
}

const createUrl = (dialect: Dialect, url = 'https://example.com/report.pdf', more = {}) =>
  api(dialect, 'POST', '/v1/jobs', { source_type: 'url', source_url: url, ...more });
const createFile = (dialect: Dialect, name = 'notes.md', more = {}) =>
  api(dialect, 'POST', '/v1/jobs', { source_type: 'file', file_name: name, ...more });
const look = (dialect: Dialect, id: string) => api(dialect, 'GET', `/v1/jobs/${id}`);
const put = (created: Wire, body: string | Buffer, headers?: Record<string, string>) =>
  fetch(created.upload_url, { method: 'PUT', headers: headers ?? created.upload_headers, body });

async function ended(dialect: Dialect, id: string) {
  return await expect
    .poll(async () => (await look(dialect, id)).body, { timeout: 5_000, interval: 5 })
    .toSatisfy((job: Wire) => job.status === 'done' || job.status === 'failed')
    .then(async () => (await look(dialect, id)).body);
}

async function unzipped(bytes: Buffer): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true }, (error, zip) => {
      if (error !== null) {
        reject(error);
        return;
      }
      const files: Record<string, string> = {};
      zip.on('error', reject);
      zip.on('end', () => {
        resolve(files);
      });
      zip.on('entry', (entry) => {
        zip.openReadStream(entry, (failure, stream) => {
          if (failure !== null) {
            reject(failure);
            return;
          }
          const parts: Buffer[] = [];
          stream.on('data', (part: Buffer) => parts.push(part));
          stream.on('end', () => {
            files[entry.fileName] = Buffer.concat(parts).toString();
            zip.readEntry();
          });
        });
      });
      zip.readEntry();
    });
  });
}

async function download(url: string) {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  const bytes = Buffer.from(await response.arrayBuffer());
  return { files: await unzipped(bytes), sha256: createHash('sha256').update(bytes).digest('hex') };
}

describe('create', () => {
  test('DOC answers a URL with 202 pending and leaves absent fields out', async () => {
    const { status, body } = await createUrl('doc', 'https://example.com/a.pdf', { data_id: 'my_doc' });
    expect(status).toBe(202);
    expect(body).toEqual({
      job_id: expect.stringMatching(/^job_[0-9a-f]{12}$/),
      status: 'pending',
      source_type: 'url',
      data_id: 'my_doc',
      created_at: expect.stringMatching(ZONED),
    });
  });

  test('IMPL answers a URL with 200 waiting-file, nulls, and a timestamp without a zone', async () => {
    const { status, body } = await createUrl('impl');
    expect(status).toBe(200);
    expect(body).toEqual({
      job_id: expect.stringMatching(/^job_[0-9a-f]{12}$/),
      status: 'waiting-file',
      source_type: 'url',
      data_id: null,
      namespace: 'default',
      document_id: null,
      created_at: expect.stringMatching(ZONELESS),
      upload_url: null,
      upload_headers: null,
      expires_in: null,
    });
  });

  test.each([['doc'], ['impl']] as const)('%s answers a file with an upload link', async (dialect) => {
    const { status, body } = await createFile(dialect, 'näme with #.pdf');
    expect(status).toBe(200);
    expect(body.status).toBe('waiting-file');
    expect(body.upload_headers).toEqual({ 'Content-Type': 'application/pdf' });
    expect(new URL(body.upload_url).searchParams.get('X-Amz-Signature')).toMatch(/^[0-9a-f]{64}$/);
    expect(body.expires_in).toBe(dialect === 'impl' ? 7_200 : undefined);
    expect(new URL(body.upload_url).searchParams.get('X-Amz-Expires')).toBe(dialect === 'impl' ? '7200' : '3600');
  });

  test.each([
    ['no source_type', {}],
    ['unknown source_type', { source_type: 'ftp' }],
    ['url without source_url', { source_type: 'url' }],
    ['not a URL', { source_type: 'url', source_url: 'nope' }],
    ['not http', { source_type: 'url', source_url: 'ftp://example.com/a.pdf' }],
    ['unsupported URL type', { source_type: 'url', source_url: 'https://example.com/a.exe' }],
    ['file without file_name', { source_type: 'file' }],
    ['file_name without extension', { source_type: 'file', file_name: 'report' }],
    ['unsupported file type', { source_type: 'file', file_name: 'a.exe' }],
    ['data_id over 128', { source_type: 'url', source_url: 'https://example.com/a.pdf', data_id: 'x'.repeat(129) }],
    ['namespace over 255', { source_type: 'url', source_url: 'https://e.com/a.pdf', namespace: 'x'.repeat(256) }],
    ['unknown model', { source_type: 'url', source_url: 'https://e.com/a.pdf', parsing_params: { model: 'huge' } }],
    [
      'ocr not boolean',
      { source_type: 'url', source_url: 'https://e.com/a.pdf', parsing_params: { ocr_enabled: 'y' } },
    ],
    [
      'private webhook',
      { source_type: 'url', source_url: 'https://e.com/a.pdf', webhook: { url: 'http://127.0.0.1/x' } },
    ],
    ['not JSON', '{"source_type":'],
    ['not an object', '[1]'],
  ])('refuses %s with 400 in both dialects', async (_name, input) => {
    const impl = await api('impl', 'POST', '/v1/jobs', input);
    expect(impl.status).toBe(400);
    expect(impl.body).toMatchObject({ success: false, error: { code: 'INVALID_ARGUMENT' } });
    expect(impl.body.error.details.violations[0]).toEqual({
      field: expect.any(String),
      description: expect.any(String),
    });
    const doc = await api('doc', 'POST', '/v1/jobs', input);
    expect(doc.status).toBe(400);
    expect(doc.body.error.details).toEqual({ field: expect.any(String), reason: expect.any(String) });
    expect(sandbox.jobs().total).toBe(0);
  });

  test('only DOC limits the letters of data_id', async () => {
    expect((await createUrl('doc', undefined, { data_id: 'a b/c' })).status).toBe(400);
    expect((await createUrl('impl', undefined, { data_id: 'a b/c' })).status).toBe(200);
  });

  test('unknown fields are ignored', async () => {
    expect((await createUrl('impl', undefined, { llm_config: {}, whatever: 1 })).status).toBe(200);
  });

  test('two creates with one data_id make two jobs', async () => {
    const [one, two] = [
      await createUrl('impl', undefined, { data_id: 'x' }),
      await createUrl('impl', undefined, { data_id: 'x' }),
    ];
    expect(one.body.job_id).not.toBe(two.body.job_id);
    expect(sandbox.ledger.creates('dataId')).toEqual([
      { key: 'x', requests: 2, jobIds: [one.body.job_id, two.body.job_id] },
    ]);
  });

  test('a URL without an extension is taken', async () => {
    expect((await createUrl('impl', 'https://example.com/download?id=7')).status).toBe(200);
  });

  test('document_id: unknown is 404, other namespace 400, busy 409 with the active job in the text', async () => {
    const first = (await createUrl('impl')).body.job_id;
    const document_id = (await ended('impl', first)).document_id as string;
    expect((await createUrl('impl', undefined, { document_id: 'doc_000000000000' })).status).toBe(404);
    expect((await createUrl('impl', undefined, { document_id, namespace: 'other' })).status).toBe(400);
    const again = await createUrl('impl', 'https://example.com/a.pdf?sandbox=stall', { document_id });
    expect(again.body.document_id).toBe(document_id);
    const busy = await createUrl('impl', undefined, { document_id });
    expect(busy.status).toBe(409);
    expect(busy.body.error).toMatchObject({ code: 'ABORTED', details: { document_id } });
    expect(busy.body.error.message).toMatch(new RegExp(`Active job: ${again.body.job_id as string}\\.$`));
  });
});

describe('keys', () => {
  test.each([
    [{}],
    [{ authorization: 'Bearer nope' }],
    [{ authorization: 'sk_test' }],
    [{ authorization: 'Bearer sk_bad' }],
  ])('refuses %o with 401', async (headers) => {
    const { status, body } = await api('impl', 'GET', '/v1/jobs/job_000000000000', undefined, headers);
    expect(status).toBe(401);
    expect(body.error.code).toBe('UNAUTHENTICATED');
  });

  test("someone else's job is 403", async () => {
    const { job_id } = (await createUrl('impl')).body;
    const theirs = await api('impl', 'GET', `/v1/jobs/${job_id as string}`, undefined, {
      authorization: 'Bearer sk_user-anna_1',
    });
    expect(theirs.status).toBe(403);
    expect(theirs.body.error.code).toBe('PERMISSION_DENIED');
  });

  test("a client's X-Request-ID comes back, in errors too", async () => {
    const { headers, body } = await api('impl', 'GET', '/v1/jobs/none', undefined, {
      ...auth,
      'x-request-id': 'trace-7',
    });
    expect(headers.get('x-request-id')).toBe('trace-7');
    expect(body.error.request_id).toBe('trace-7');
  });
});

describe('upload', () => {
  test('200, then the job goes on by itself', async () => {
    const { body } = await createFile('impl');
    const answer = await put(body, '# Hello');
    expect(answer.status).toBe(200);
    expect((await ended('impl', body.job_id)).status).toBe('done');
  });

  test('other headers than the signed ones are refused in XML', async () => {
    const { body } = await createFile('impl', 'a.pdf');
    for (const headers of [{ 'Content-Type': 'text/plain' }, {}]) {
      const answer = await put(body, Buffer.from('x'), headers);
      expect(answer.status).toBe(403);
      expect(answer.headers.get('content-type')).toBe('application/xml');
      expect(await answer.text()).toContain('<Code>SignatureDoesNotMatch</Code>');
    }
    const extra = await put(body, 'x', { ...body.upload_headers, 'x-amz-acl': 'public-read' });
    expect(extra.status).toBe(403);
    expect(sandbox.job(body.job_id)?.status).toBe('waiting-file');
  });

  test('a bearer token is refused loudly', async () => {
    const { body } = await createFile('impl');
    const answer = await put(body, 'x', { ...body.upload_headers, ...auth });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('Only one auth mechanism allowed');
  });

  test('a body without a length is refused, as S3 refuses it', async () => {
    const { body } = await createFile('impl');
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from('chunked'));
        controller.close();
      },
    });
    const init = { method: 'PUT', headers: body.upload_headers, body: stream, duplex: 'half' };
    const answer = await fetch(body.upload_url, init as RequestInit);
    expect(answer.status).toBe(501);
    expect(await answer.text()).toContain('Transfer-Encoding');
  });

  test('a forged or expired link is refused', async () => {
    sandbox.setLimits({ uploadLinkSeconds: 0.05 });
    const { body } = await createFile('impl');
    const forged = { ...body, upload_url: String(body.upload_url).replace(/.$/, (end) => (end === '0' ? '1' : '0')) };
    expect(await (await put(forged, 'x')).text()).toContain('SignatureDoesNotMatch');
    await new Promise((resolve) => setTimeout(resolve, 80));
    const late = await put(body, 'x');
    expect(late.status).toBe(403);
    expect(await late.text()).toContain('Request has expired');
  });

  test('DOC: Get Job offers another link, with a life of its own, while the job waits for its file', async () => {
    sandbox.setLimits({ uploadLinkSeconds: 0.3 });
    const created = (await createFile('doc', 'a.fault-upload-expired.txt')).body;
    expect((await put(created, 'x')).status).toBe(403);
    const fresh = (await look('doc', created.job_id)).body;
    expect(fresh.upload_url).not.toBe(created.upload_url);
    await new Promise((resolve) => setTimeout(resolve, 310));
    expect(await (await put(fresh, 'x')).text()).toContain('Request has expired');
    expect((await put((await look('doc', created.job_id)).body, 'x')).status).toBe(200);
    expect((await ended('doc', created.job_id)).status).toBe('done');
  });

  test('a second upload before the work overwrites the first', async () => {
    sandbox.faults.arm({ fault: 'upload-unnoticed' });
    const { body } = await createFile('impl', 'a.txt');
    await put(body, 'first');
    await put(body, 'second');
    await api('impl', 'POST', `/v1/jobs/${body.job_id as string}/confirm-upload`);
    const job = await ended('impl', body.job_id);
    expect((await download(job.result_url)).files['full.md']).toBe('second');
  });

  test.each([
    ['empty', Buffer.alloc(0), {}],
    ['too large', Buffer.alloc(2_000), { maxUploadBytes: 1_000 }],
    ['too many pages', Buffer.from('/Type /Page\n'.repeat(12)), { maxPages: 10 }],
  ])('an upload that is %s is taken, then the job fails', async (_name, bytes, limits) => {
    sandbox.setLimits(limits);
    const { body } = await createFile('impl', 'a.pdf');
    expect((await put(body, bytes)).status).toBe(200);
    const job = await ended('impl', body.job_id);
    expect(job.error.code).toBe('INVALID_ARGUMENT');
  });

  test('confirm-upload: safe to repeat, 400 without an object, absent in DOC', async () => {
    const { body } = await createFile('impl');
    const path = `/v1/jobs/${body.job_id as string}/confirm-upload`;
    expect((await api('impl', 'POST', path)).status).toBe(400);
    await put(body, 'text');
    expect(await api('impl', 'POST', path)).toMatchObject({ status: 200, body: { message: expect.any(String) } });
    await ended('impl', body.job_id);
    expect((await api('impl', 'POST', path)).status).toBe(200);
    expect((await api('doc', 'POST', path)).status).toBe(404);
    expect((await api('impl', 'POST', '/v1/jobs/job_0/confirm-upload')).status).toBe(404);
  });
});

describe('get job', () => {
  test('DOC shows each status in its own shape', async () => {
    const { job_id, ...created } = (await createFile('doc', 'a.docx')).body;
    const waiting = (await look('doc', job_id)).body;
    expect(Object.keys(waiting).sort()).toEqual(
      ['created_at', 'data_id', 'job_id', 'source_type', 'status', 'upload_headers', 'upload_url'].sort(),
    );
    expect(waiting.data_id).toBeNull();
    sandbox.setSpeed(0.001);
    await put({ ...created, upload_url: waiting.upload_url }, 'docx bytes');
    expect((await look('doc', job_id)).body.status).toBe('pending');
    expect((await look('doc', job_id)).body).not.toHaveProperty('upload_url');
    const seen = new Set<string>();
    sandbox.setSpeed(30);
    let job: Wire;
    do {
      job = (await look('doc', job_id)).body;
      seen.add(job.status);
      if (job.status === 'running') {
        expect(job.progress).toEqual({ total_pages: 1, processed_pages: expect.any(Number) });
      }
    } while (job.status !== 'done');
    expect([...seen]).toEqual(['pending', 'converting', 'running', 'done'].filter((status) => seen.has(status)));
    expect(seen).toContain('running');
    expect(Object.keys(job).sort()).toEqual(
      [
        'completed_at',
        'created_at',
        'data_id',
        'job_id',
        'result_checksum',
        'result_url',
        'result_url_expires_at',
        'source_type',
        'status',
      ].sort(),
    );
    expect(job.result_checksum).toEqual({ algorithm: 'sha256', value: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  test('DOC shows a failed job with failed_at and error', async () => {
    const { job_id } = (await createUrl('doc', 'https://e.com/a.fault-fail--INVALID_ARGUMENT.pdf')).body;
    const job = await ended('doc', job_id);
    expect(job).toMatchObject({ status: 'failed', failed_at: expect.stringMatching(ZONED) });
    expect(job.error).toEqual({ code: 'INVALID_ARGUMENT', message: expect.any(String) });
  });

  const KEYS =
    'job_id namespace document_id status source_type data_id created_at progress error result result_url result_url_expires_at file_name file_extension model ocr_enabled duration_seconds credits_spent';

  test('IMPL shows one flat object with every key always present', async () => {
    sandbox.setSpeed(0.001);
    const { job_id } = (await createUrl('impl')).body;
    const early = (await look('impl', job_id)).body;
    expect(Object.keys(early).sort()).toEqual(KEYS.split(' ').sort());
    expect(early).toMatchObject({
      status: 'waiting-file',
      result: null,
      result_url: null,
      error: null,
      progress: null,
    });
    expect(early.result_url_expires_at).toBe(early.created_at);
    expect(early.created_at).toMatch(ZONED);
    const seen = new Set<string>();
    sandbox.setSpeed(60);
    let job: Wire;
    do {
      job = (await look('impl', job_id)).body;
      seen.add(job.status);
      if (job.status === 'running') expect(job.progress).toEqual({ total_pages: 10, processed_pages: 5 });
    } while (job.status !== 'done');
    expect([...seen]).toEqual(['waiting-file', 'pending', 'running', 'done'].filter((status) => seen.has(status)));
    expect(seen).toContain('running');
    expect(Object.keys(job).sort()).toEqual(KEYS.split(' ').sort());
    expect(job.result).toEqual({ checksum: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(job.duration_seconds).toBeGreaterThan(0);
  });

  test('IMPL never shows the upload link again', async () => {
    const { job_id } = (await createFile('impl')).body;
    expect(JSON.stringify((await look('impl', job_id)).body)).not.toContain('upload_url');
  });

  test('IMPL shows a failed job with the job id as request_id', async () => {
    const { job_id } = (await createUrl('impl', 'https://e.com/a.pdf?sandbox=fail--PAYMENT_REQUIRED')).body;
    const job = await ended('impl', job_id);
    expect(job.error).toEqual({
      code: 'PAYMENT_REQUIRED',
      message: expect.any(String),
      request_id: job_id,
      details: { required_credits: 10, current_balance: 0 },
    });
  });

  test('unknown id is 404 with the resource', async () => {
    const { status, body } = await look('impl', 'job_nonexistent');
    expect(status).toBe(404);
    expect(body).toEqual({
      success: false,
      error: {
        code: 'NOT_FOUND',
        message: 'Job not found',
        request_id: expect.any(String),
        details: { resource: 'Job', id: 'job_nonexistent' },
      },
    });
  });

  test('server deadlines: UPLOAD_EXPIRED without an upload, JOB_EXPIRED for a stalled job', async () => {
    sandbox.setLimits({ waitingDeadlineSeconds: 0.05, runningDeadlineSeconds: 0.05 });
    const waiting = (await createFile('impl')).body.job_id;
    const stalled = (await createUrl('impl', 'https://e.com/a.pdf?sandbox=stall')).body.job_id;
    expect((await ended('impl', waiting)).error.code).toBe('UPLOAD_EXPIRED');
    expect((await ended('impl', stalled)).error.code).toBe('JOB_EXPIRED');
  });

  test('a deleted job is 404 (IMPL only)', async () => {
    const { job_id } = (await createUrl('impl')).body;
    expect((await api('doc', 'DELETE', `/v1/jobs/${job_id as string}`)).status).toBe(404);
    expect((await api('impl', 'DELETE', `/v1/jobs/${job_id as string}`)).body).toMatchObject({ job_id, deleted: true });
    expect((await look('impl', job_id)).status).toBe(404);
  });
});

describe('job list', () => {
  test('DOC has none', async () => {
    expect((await api('doc', 'GET', '/v1/jobs')).status).toBe(404);
  });

  test('newest first, paged, the same objects as Get Job', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.unshift((await createUrl('impl', undefined, { data_id: `d${n}` })).body.job_id);
    for (const id of ids) await ended('impl', id);
    const { body } = await api('impl', 'GET', '/v1/jobs?page=2&page_size=2');
    expect(body).toMatchObject({ total: 5, page: 2, page_size: 2, total_pages: 3 });
    expect(body.jobs.map((job: Wire) => job.job_id)).toEqual(ids.slice(2, 4));
    const alone = (await look('impl', ids[2] ?? '')).body;
    expect(Object.keys(body.jobs[0])).toEqual(Object.keys(alone));
    expect(body.jobs[0]).toMatchObject({ data_id: 'd2', status: 'done', result: alone.result });
    expect(body.jobs[0].result_url).not.toBe(alone.result_url);
  });

  test('start_time, end_time, recent_days, job_status and namespace select', async () => {
    await createUrl('impl', 'https://e.com/a.pdf?sandbox=stall', { namespace: 'n1' });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const middle = new Date().toISOString();
    await new Promise((resolve) => setTimeout(resolve, 30));
    const { job_id } = (await createUrl('impl')).body;
    await ended('impl', job_id);
    const total = async (query: string) => (await api('impl', 'GET', `/v1/jobs?${query}`)).body.total as number;
    expect(await total(`start_time=${middle}`)).toBe(1);
    expect(await total(`start_time=${middle.replace('Z', '')}`)).toBe(1);
    expect(await total(`start_time=${encodeURIComponent(middle.replace('Z', '+00:00'))}`)).toBe(1);
    expect(await total(`end_time=${middle}`)).toBe(1);
    expect(await total('recent_days=7')).toBe(2);
    expect(await total('job_status=done')).toBe(1);
    expect(await total('job_status=running')).toBe(1);
    expect(await total('namespace=n1')).toBe(1);
    for (const bad of ['page=0', 'page_size=101', 'recent_days=2', 'start_time=soon', 'job_status=ended']) {
      expect((await api('impl', 'GET', `/v1/jobs?${bad}`)).status, bad).toBe(400);
    }
  });

  test("shows nobody else's jobs", async () => {
    await createUrl('impl');
    const theirs = await api('impl', 'GET', '/v1/jobs', undefined, { authorization: 'Bearer sk_user-anna_1' });
    expect(theirs.body.total).toBe(0);
  });
});

describe('results', () => {
  const MARKDOWN = '# Title\n\nSome words, ünïcode.\n\n| a | b |\n|---|---|\n| 1 | <2> |\n\n## Second\n\nMore words.\n';

  test('IMPL: a ZIP with the text, a matching checksum, manifest 2.0', async () => {
    const { body } = await createFile('impl', 'notes.md', { data_id: 'd-7' });
    await put(body, MARKDOWN);
    const job = await ended('impl', body.job_id);
    const { files, sha256 } = await download(job.result_url);
    expect(sha256).toBe(job.result.checksum);
    expect(Object.keys(files)).toEqual([
      'manifest.json',
      'chunks.json',
      'full.md',
      'doc_nav.json',
      'toc_hierarchies.json',
      'tables/table-1.html',
    ]);
    expect(files['full.md']).toBe(MARKDOWN);
    const manifest = JSON.parse(files['manifest.json'] ?? '');
    expect(manifest).toMatchObject({
      version: '2.0',
      job_id: body.job_id,
      data_id: 'd-7',
      source_file_name: 'notes.md',
    });
    expect(manifest).not.toHaveProperty('checksum');
    expect(manifest.statistics).toEqual({
      total_pages: 1,
      total_chunks: 3,
      text_chunks: 2,
      image_chunks: 0,
      table_chunks: 1,
    });
    const { chunks } = JSON.parse(files['chunks.json'] ?? '');
    expect(chunks[0]).toMatchObject({
      type: 'text',
      path: 'notes.md/Title',
      content: expect.stringContaining('ünïcode'),
    });
    expect(files['tables/table-1.html']).toContain('<td>&lt;2&gt;</td>');
  });

  test('DOC: manifest 1.0, chunks as a bare list, content.md', async () => {
    const { body } = await createFile('doc', 'notes.txt');
    await put(body, 'plain text');
    const job = await ended('doc', body.job_id);
    const { files, sha256 } = await download(job.result_url);
    expect(sha256).toBe(job.result_checksum.value);
    expect(Object.keys(files)).toEqual(['manifest.json', 'chunks.json', 'content.md']);
    expect(files['content.md']).toBe('plain text');
    expect(JSON.parse(files['manifest.json'] ?? '').version).toBe('1.0');
    expect(JSON.parse(files['chunks.json'] ?? '')).toMatchObject([{ type: 'text', content: 'plain text' }]);
  });

  /** What the vendor's Python SDK 0.5.0 refuses a result for, field by field: its models want these types. */
  const manifestOfSdk = z.object({
    version: z.string().nullish(),
    job_id: z.string().nullish(),
    data_id: z.string().nullish(),
    source_file_name: z.string().nullish(),
    processing_date: z.string().nullish(),
    processing: z
      .object({
        page_count: z.int().nullish(),
        billing_status: z.string().nullish(),
        cost: z.object({ micro_dollars: z.int().nullish(), credits: z.number().nullish() }).nullish(),
        timing: z.strictObject({ started_at: z.string(), completed_at: z.string(), duration_ms: z.int() }),
      })
      .nullish(),
    // Compared with the hash of the whole ZIP, which cannot stand in it.
    checksum: z.undefined().optional(),
    statistics: z.record(z.string(), z.int().nullish()).nullish(),
  });
  const chunkOfSdk = z.object({
    chunk_id: z.string(),
    type: z.string(),
    content: z.string(),
    path: z.string().nullish(),
    metadata: z.object({ length: z.int().optional(), file_path: z.string().optional() }),
  });
  const sectionOfSdk = z.object({
    title: z.string(),
    path: z.string(),
    level: z.int(),
    summary: z.string().nullish(),
    chunk_count: z.int(),
    get children() {
      return z.array(sectionOfSdk);
    },
  });
  const resourcesOfSdk = z.array(z.object({ path: z.string(), summary: z.string().nullish() }));
  const navigationOfSdk = z.strictObject({
    sections: z.array(sectionOfSdk),
    resources: z.object({ images: resourcesOfSdk, tables: resourcesOfSdk }),
  });

  test.each(['doc', 'impl'] as const)('%s: have the shapes that the vendor’s own SDK loads', async (dialect) => {
    const file = (await createFile(dialect, 'notes.md')).body;
    await put(file, MARKDOWN);
    const image = (await createFile(dialect, 'a.png')).body;
    await put(image, Buffer.from('\x89PNG'));
    for (const id of [file.job_id, image.job_id, (await createUrl(dialect)).body.job_id]) {
      const { files } = await download((await ended(dialect, id)).result_url);
      manifestOfSdk.parse(JSON.parse(files['manifest.json'] ?? ''));
      const chunks = JSON.parse(files['chunks.json'] ?? '');
      z.array(chunkOfSdk).parse(dialect === 'doc' ? chunks : chunks.chunks);
      if (dialect === 'impl') navigationOfSdk.parse(JSON.parse(files['doc_nav.json'] ?? ''));
    }
  });

  test('IMPL: the navigation nests sections and names what stands beside the text', async () => {
    const { body } = await createFile('impl', 'notes.md');
    await put(body, MARKDOWN);
    const { files } = await download((await ended('impl', body.job_id)).result_url);
    expect(JSON.parse(files['doc_nav.json'] ?? '')).toMatchObject({
      sections: [
        {
          title: 'Title',
          path: 'notes.md/Title',
          level: 1,
          chunk_count: 2,
          children: [{ title: 'Second', level: 2, chunk_count: 1, children: [] }],
        },
      ],
      resources: { images: [], tables: [{ path: 'tables/table-1.html' }] },
    });
  });

  test('a PDF gives the text it shows; what cannot be read gives its size', async () => {
    const pdf =
      '%PDF-1.4\n1 0 obj <</Type /Page>> endobj\n2 0 obj <</Length 44>> stream\nBT /F1 12 Tf (Invoice \\(copy\\)) Tj ET\nendstream endobj';
    const one = (await createFile('impl', 'a.pdf')).body;
    await put(one, pdf);
    expect((await download((await ended('impl', one.job_id)).result_url)).files['full.md']).toContain('Invoice (copy)');
    const two = (await createFile('impl', 'b.docx')).body;
    await put(two, 'x'.repeat(1234));
    expect((await download((await ended('impl', two.job_id)).result_url)).files['full.md']).toContain('1234 bytes');
  });

  test('an image comes back in images/, whatever its name', async () => {
    const { body } = await createFile('impl', 'my picture #1 ä.png');
    await put(body, Buffer.from([0x89, 0x50, 0x4e, 0x47]));
    const { files } = await download((await ended('impl', body.job_id)).result_url);
    expect(Object.keys(files)).toContain('images/my picture #1 ä.png');
  });

  test('a URL job speaks of its URL and fetches nothing', async () => {
    const { job_id } = (await createUrl('impl', 'https://unreachable.invalid/yearly.pdf')).body;
    const { files } = await download((await ended('impl', job_id)).result_url);
    expect(files['full.md']).toContain('https://unreachable.invalid/yearly.pdf');
  });

  test('each look-up brings a fresh link; an old one dies at its time', async () => {
    sandbox.setLimits({ resultLinkSeconds: 0.1 });
    const { job_id } = (await createUrl('impl')).body;
    const one = await ended('impl', job_id);
    const two = (await look('impl', job_id)).body;
    expect(two.result_url).not.toBe(one.result_url);
    await new Promise((resolve) => setTimeout(resolve, 130));
    const late = await fetch(two.result_url);
    expect(late.status).toBe(403);
    expect(await late.text()).toContain('Request has expired');
    expect((await fetch((await look('impl', job_id)).body.result_url)).status).toBe(200);
  });

  test('the link lives an hour by default, tolerates no API key, serves ranges', async () => {
    const { job_id } = (await createUrl('impl')).body;
    const { result_url, result_url_expires_at } = await ended('impl', job_id);
    expect(Date.parse(result_url_expires_at) - Date.now()).toBeGreaterThan(3_590_000);
    expect((await fetch(result_url, { headers: auth })).status).toBe(400);
    const whole = Buffer.from(await (await fetch(result_url)).arrayBuffer());
    const part = await fetch(result_url, { headers: { range: 'bytes=10-' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(10))).toBe(true);
  });

  test('after the retention the file is gone', async () => {
    const { job_id } = (await createUrl('impl')).body;
    const { result_url } = await ended('impl', job_id);
    sandbox.setLimits({ retentionSeconds: 0.05 });
    await new Promise((resolve) => setTimeout(resolve, 80));
    const answer = await fetch(result_url);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toContain('NoSuchKey');
  });
});

describe('rate limits', () => {
  test('DOC: RateLimit-* on every answer, reset as Unix seconds', async () => {
    sandbox.setLimits({ requestsPerMinute: 3, minuteMs: 3_600_000 });
    const limits = ['limit', 'remaining', 'reset'].map((name) => `ratelimit-${name}`);
    for (const remaining of ['2', '1', '0']) {
      const { status, headers } = await look('doc', 'none');
      expect(status).toBe(404);
      expect([headers.get(limits[0] ?? ''), headers.get(limits[1] ?? '')]).toEqual(['3', remaining]);
      expect(Number(headers.get(limits[2] ?? ''))).toBeGreaterThan(Date.now() / 1000);
    }
    const { status, headers, body } = await look('doc', 'none');
    expect(status).toBe(429);
    expect(headers.get('ratelimit-remaining')).toBe('0');
    expect(body.error).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: { reason: 'RATE_LIMIT_EXCEEDED', retry_after: expect.any(Number), limit: 3, period: 'minute' },
    });
  });

  test('IMPL: no headers on success, X-RateLimit-* and Retry-After on 429; the list is not under the look-up limit', async () => {
    sandbox.setLimits({ getJobsPerMinute: 1, minuteMs: 3_600_000 });
    const good = await look('impl', 'none');
    expect([...good.headers.keys()].filter((name) => name.includes('ratelimit'))).toEqual([]);
    const bad = await look('impl', 'none');
    expect(bad.status).toBe(429);
    expect(Number(bad.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(bad.headers.get('x-ratelimit-limit')).toBe('1');
    expect(bad.headers.get('x-ratelimit-period')).toBe('minute');
    expect(bad.headers.get('x-ratelimit-remaining')).toBe('0');
    expect(Number(bad.headers.get('x-ratelimit-reset'))).toBeGreaterThan(Date.now() / 1000);
    expect((await api('impl', 'GET', '/v1/jobs')).status).toBe(200);
  });

  test('a refused create uses its slot of the minute', async () => {
    sandbox.setLimits({ createsPerMinute: 2, minuteMs: 3_600_000 });
    expect((await createUrl('impl', 'nope')).status).toBe(400);
    expect((await createUrl('impl')).status).toBe(200);
    expect((await createUrl('impl')).status).toBe(429);
  });

  test('jobs at once: unfinished uploads count, ended jobs do not', async () => {
    sandbox.setLimits({ activeJobs: 1 });
    const { job_id } = (await createFile('impl')).body;
    const refused = await createFile('impl');
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(refused.headers.has('x-ratelimit-remaining')).toBe(false);
    expect(refused.body.error.details).toMatchObject({ period: 'concurrent', active_jobs: 1, available_slots: 0 });
    sandbox.finishJob(job_id, { outcome: 'failed' });
    expect((await createFile('impl')).status).toBe(200);
  });

  test('the daily quota caps its hint at an hour; presets name the published tiers', async () => {
    sandbox.setLimits({ preset: 'free', createsPerMinute: null, activeJobs: null, createsPerDay: 1 });
    expect(sandbox.settings()['knowhere']).toMatchObject({ getJobsPerMinute: 200, otherPerMinute: 1_000 });
    await createUrl('impl');
    const refused = await createUrl('impl');
    expect(refused.status).toBe(429);
    expect(refused.body.error.details).toMatchObject({ period: 'day', limit: 1 });
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(3_600);
  });

  test('limits are per user and off by default', async () => {
    for (let n = 0; n < 70; n += 1) expect((await look('doc', 'none')).status).toBe(404);
    sandbox.setLimits({ createsPerMinute: 1, minuteMs: 3_600_000 });
    await createUrl('impl');
    const other = { authorization: 'Bearer sk_user-anna_1' };
    const theirs = await api(
      'impl',
      'POST',
      '/v1/jobs',
      { source_type: 'url', source_url: 'https://e.com/a.pdf' },
      other,
    );
    expect(theirs.status).toBe(200);
  });
});
