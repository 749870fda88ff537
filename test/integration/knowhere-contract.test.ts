import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { decideOnLookup, decideOnSubmit } from '../../src/core/decide.ts';
import { toErrorInfo } from '../../src/core/errors.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { readLimits } from '../../src/vendors/knowhere/errors.ts';
import { parseInput, toCreateBody, watchInput } from '../../src/vendors/knowhere/input.ts';
import { toStatus } from '../../src/vendors/knowhere/status.ts';
import { checksumOf, job } from '../../src/vendors/knowhere/wire.ts';
import { parseTimestamp } from '../../src/vendors/timestamps.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';

/** Rows of Knowhere's documentation that no other test covers; docs/vendors/knowhere.md lists all of them. */

describe('error answers', () => {
  let vendor: ScriptedVendor;
  let http: HttpClient<{ apiKey: string; baseUrl: string }>;

  beforeEach(async () => {
    vendor = await ScriptedVendor.start();
    http = new HttpClient(knowhere, { apiKey: 'sk_test', baseUrl: vendor.url });
  });
  afterEach(() => vendor.close());

  const wait = { retry_after: 3 };
  it.each([
    [400, 'INVALID_ARGUMENT', undefined, 'reject', 'backoff'],
    [400, 'FAILED_PRECONDITION', undefined, 'reject', 'backoff'],
    [400, 'OUT_OF_RANGE', undefined, 'reject', 'backoff'],
    [401, 'UNAUTHENTICATED', undefined, 'hold', 'hold'],
    [402, 'PAYMENT_REQUIRED', { required_credits: 5, current_balance: 0 }, 'hold', 'hold'],
    [403, 'PERMISSION_DENIED', undefined, 'hold', 'backoff'],
    [404, 'NOT_FOUND', { resource: 'Job', id: 'job_1' }, 'reject', 'gone'],
    [409, 'ALREADY_EXISTS', undefined, 'reject', 'backoff'],
    [409, 'ABORTED', undefined, 'resend', 'backoff'],
    [429, 'RESOURCE_EXHAUSTED', { reason: 'RATE_LIMIT_EXCEEDED', ...wait }, 'throttle', 'throttle'],
    [429, 'RESOURCE_EXHAUSTED', { reason: 'QUOTA_EXCEEDED' }, 'hold', 'hold'],
    [429, 'RESOURCE_EXHAUSTED', { reason: 'QUOTA_EXCEEDED', ...wait }, 'hold', 'hold'],
    [499, 'CANCELLED', undefined, 'reconcile', 'backoff'],
    [500, 'INTERNAL_ERROR', undefined, 'reconcile', 'backoff'],
    [500, 'UNKNOWN', undefined, 'reconcile', 'backoff'],
    [500, 'DATA_LOSS', undefined, 'reconcile', 'backoff'],
    [501, 'NOT_IMPLEMENTED', undefined, 'reconcile', 'backoff'],
    [502, undefined, undefined, 'reconcile', 'backoff'],
    [503, 'UNAVAILABLE', wait, 'resend', 'backoff'],
    [503, 'UNAVAILABLE', undefined, 'reconcile', 'backoff'],
    [504, 'DEADLINE_EXCEEDED', undefined, 'reconcile', 'backoff'],
    [418, 'A_CODE_OF_TOMORROW', undefined, 'reject', 'backoff'],
  ])('%i %s %j: a create is %s, a look-up %s', async (status, code, details, onSubmit, onLookup) => {
    const error = code === undefined ? undefined : { code, message: 'no', request_id: 'r', details };
    vendor.on('POST /v1/jobs', { status, json: { success: false, error } });
    vendor.on('GET /v1/jobs/*', { status, json: { success: false, error } });
    const failure = async (method: 'GET' | 'POST', path: string): Promise<unknown> =>
      http.request({ method, path, reply: z.unknown() }).catch((thrown: unknown) => thrown);
    const submit = await failure('POST', 'v1/jobs');
    expect(decideOnSubmit(submit)).toBe(onSubmit);
    expect(decideOnLookup(await failure('GET', 'v1/jobs/job_1'))).toBe(onLookup);
    if (onSubmit === 'reject') expect(toErrorInfo(submit).code).toBe(code);
  });

  it('a wait stands in the header, or only in the body', async () => {
    const json = { success: false, error: { code: 'RESOURCE_EXHAUSTED', message: 'slow', details: wait } };
    vendor.on('POST /v1/jobs', { status: 429, json }, { status: 429, json, headers: { 'retry-after': '7' } });
    const hint = async (): Promise<unknown> =>
      http.request({ method: 'POST', path: 'v1/jobs', reply: z.unknown() }).catch((thrown: unknown) => thrown);
    expect(await hint()).toMatchObject({ retryAfterMs: 3_000 });
    expect(await hint()).toMatchObject({ retryAfterMs: 7_000 });
  });

  it('a body without the envelope is read by its status alone', async () => {
    vendor.on('POST /v1/jobs', { status: 503, text: '<html>gateway</html>' });
    const failure = await http
      .request({ method: 'POST', path: 'v1/jobs', reply: z.unknown() })
      .catch((thrown: unknown) => thrown);
    expect(decideOnSubmit(failure)).toBe('reconcile');
  });
});

describe('limit headers', () => {
  const inHalfAMinute = (): string => String(Math.ceil(Date.now() / 1_000) + 30);
  const read = (status: number, headers: Record<string, string>) =>
    readLimits({ status, headers: new Headers(headers), now: Date.now() });

  it('DOC has them on every answer, the reset as a unix time', () => {
    const limits = read(200, { 'ratelimit-remaining': '0', 'ratelimit-reset': inHalfAMinute() });
    expect(limits?.remaining).toBe(0);
    expect(limits?.resetMs).toBeGreaterThan(28_000);
    expect(limits?.resetMs).toBeLessThanOrEqual(31_000);
  });

  it('IMPL has others, on a 429 only', () => {
    expect(read(429, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': inHalfAMinute() })?.remaining).toBe(0);
    expect(read(200, {})).toBeUndefined();
  });

  it('a reset in seconds is one from now', () => {
    expect(read(200, { 'ratelimit-remaining': '0', 'ratelimit-reset': '30' })?.resetMs).toBe(30_000);
  });

  it('a reset that is past asks for no wait, and one far off for a minute at most', () => {
    expect(read(200, { 'ratelimit-remaining': '0', 'ratelimit-reset': '1700000000' })?.resetMs).toBe(0);
    expect(read(200, { 'ratelimit-remaining': '0', 'ratelimit-reset': '99999999999' })?.resetMs).toBe(60_000);
    expect(read(200, { 'ratelimit-remaining': 'many' })).toBeUndefined();
  });
});

describe('the create body', () => {
  const url = { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' } as const;

  it('carries every documented field under its own name', () => {
    const input = parseInput.parse({
      ...url,
      fileName: 'a.pdf',
      dataId: 'order-17',
      namespace: 'legal',
      documentId: 'doc_1',
      webhook: { url: 'https://example.com/hook' },
      parsingParams: {
        model: 'advanced',
        ocrEnabled: true,
        docType: 'pdf',
        smartTitleParse: false,
        summaryImage: false,
        summaryTable: false,
        summaryTxt: false,
        summaryUseLlm: true,
        addFragDesc: 'x',
        kbDir: 'y',
      },
    });
    expect(toCreateBody(input, 'order-17')).toEqual({
      source_type: 'url',
      source_url: 'https://example.com/a.pdf',
      file_name: 'a.pdf',
      data_id: 'order-17',
      namespace: 'legal',
      document_id: 'doc_1',
      webhook: { url: 'https://example.com/hook' },
      parsing_params: {
        model: 'advanced',
        ocr_enabled: true,
        doc_type: 'pdf',
        smart_title_parse: false,
        summary_image: false,
        summary_table: false,
        summary_txt: false,
        summary_use_llm: true,
        add_frag_desc: 'x',
        kb_dir: 'y',
      },
    });
  });

  it('leaves out what was left out, and names a file by its path', () => {
    expect(toCreateBody(parseInput.parse(url), 'l')).toEqual({
      source_type: 'url',
      source_url: 'https://example.com/a.pdf',
      data_id: 'l',
    });
    const file = parseInput.parse({ sourceType: 'file', file: 'in/b.docx' });
    expect(toCreateBody(file, 'l')).toEqual({ source_type: 'file', file_name: 'b.docx', data_id: 'l' });
  });

  it.each([
    ['a URL that is no web address', { ...url, sourceUrl: 'ftp://example.com/a.pdf' }],
    ['no URL', { sourceType: 'url' }],
    ['no file', { sourceType: 'file' }],
    ['another source', { sourceType: 's3', sourceUrl: 'https://example.com/a.pdf' }],
    ['a file name without extension', { sourceType: 'file', file: 'a.pdf', fileName: 'a' }],
    ['a label with a blank', { ...url, dataId: 'a b' }],
    ['a label of 129 letters', { ...url, dataId: 'a'.repeat(129) }],
    ['a namespace of 256 letters', { ...url, namespace: 'a'.repeat(256) }],
    ['another model', { ...url, parsingParams: { model: 'huge' } }],
    ['another kind of document', { ...url, parsingParams: { docType: 'exe' } }],
    ['a field that the vendor has and we do not offer', { ...url, parseTrack: 'chunk' }],
  ])('is refused before anything is sent: %s', (_what, input) => {
    expect(parseInput.safeParse(input).success).toBe(false);
  });

  it('watch names each job once', () => {
    expect(watchInput.safeParse({ jobIds: ['job_1', 'job_1'] }).success).toBe(false);
    expect(watchInput.safeParse({ jobIds: [] }).success).toBe(false);
    expect(watchInput.safeParse({ jobIds: ['job_1', 'job_2'] }).success).toBe(true);
  });

  it.each(['..', '.', '-', 'a/b', 'a%2fb', 'a b', 'x'.repeat(201)])('watch takes no id that is a path: %s', (id) => {
    expect(watchInput.safeParse({ jobIds: [id] }).success).toBe(false);
  });
});

describe('what the vendor sends', () => {
  it.each([
    ['waiting-file', 'pending'],
    ['pending', 'pending'],
    ['converting', 'running'],
    ['running', 'running'],
    ['done', 'succeeded'],
    ['failed', 'failed'],
    ['processing', undefined],
    ['constructor', undefined],
  ])('status %s is %s', (word, status) => {
    expect(toStatus(word)).toBe(status);
  });

  const least = { job_id: 'job_1', status: 'done' };
  const hex = 'AB'.repeat(32);

  it('fields that are missing, null or of another shape read as absent', () => {
    const empty = job.parse({ ...least, error: null, progress: { total_pages: '10' }, result: 7, result_url: '' });
    expect(empty).toMatchObject({ job_id: 'job_1', status: 'done' });
    expect([empty.error, empty.progress, empty.result, empty.result_url]).toEqual(Array(4).fill(undefined));
  });

  it.each([
    ['DOC', { result_checksum: { algorithm: 'sha256', value: hex } }],
    ['IMPL', { result: { checksum: hex } }],
  ])('the checksum of %s is read, in lower case', (_dialect, fields) => {
    expect(checksumOf(job.parse({ ...least, ...fields }))).toBe(hex.toLowerCase());
  });

  it('a checksum of another algorithm, or of no hex, is none', () => {
    const md5 = job.parse({ ...least, result_checksum: { algorithm: 'md5', value: hex } });
    expect(checksumOf(md5)).toBeUndefined();
    expect(checksumOf(job.parse({ ...least, result: { checksum: 'see manifest' } }))).toBeUndefined();
  });

  it('a time without a zone is UTC, with microseconds or without', () => {
    const expected = Date.UTC(2026, 5, 11, 12, 0, 0, 123);
    for (const text of ['2026-06-11T12:00:00.123456', '2026-06-11T12:00:00.123Z', '2026-06-11 12:00:00.123']) {
      expect(parseTimestamp(text)).toBe(expected);
    }
  });
});

describe('jobs of the deployed dialect', () => {
  let rig: KnowhereRig;
  beforeAll(async () => {
    rig = await startKnowhere();
  });
  afterAll(() => rig.stop());
  beforeEach(() => rig.sandbox.reset());

  const run = async (name: string, rest: object = {}, input: object = {}) =>
    rig.harness.event(
      await rig.harness.submit('knowhere', 'parse', { ...urlInput(name), ...input }, { poll: quickPoll, ...rest }),
    );

  it.each(['PAYMENT_REQUIRED', 'JOB_EXPIRED', 'UPLOAD_EXPIRED', 'A_CODE_OF_TOMORROW'])(
    'a job that failed with %s passes the code through',
    async (code) => {
      const event = await run(`x.pdf?sandbox=fail--${code}`);
      expect(event.data).toMatchObject({ outcome: 'failed', error: { code } });
    },
  );

  it.each([
    'not-found-first--2',
    'status-goes-back',
    'unknown-status',
    'slow-reply--500--at-lookup',
    'created-as--201',
  ])('goes on after %s', async (fault) => {
    const event = await run(`x.pdf?sandbox=${fault}`);
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.created()).toHaveLength(1);
  });

  it('needs no upload and no confirmation for a URL, though it begins as waiting-file', async () => {
    const event = await run('x.pdf');
    expect(event.data.outcome).toBe('succeeded');
    const routes = new Set(rig.sandbox.ledger.entries().map((entry) => entry.route));
    expect([...routes].sort()).toEqual(['create', 'lookup']);
  });

  it('looks again where a job is done and has no link yet', async () => {
    const event = await run('x.pdf?sandbox=done-without-result', {}, { download: true });
    expect(event.data).toMatchObject({ outcome: 'succeeded' });
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ artifact: { verified: true } });
  });

  it('asks again for a link that is not there yet, whether the result is downloaded or not', async () => {
    const event = await run('x.pdf?sandbox=done-without-result--3');
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ resultUrl: expect.stringContaining('http') as string });
  });

  it('tells no deadline of a link that is not there', async () => {
    const event = await run('x.pdf?sandbox=done-without-result--99', { poll: { ...quickPoll, deadlineMs: 1_500 } });
    expect(event.data.outcome).toBe('succeeded');
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ resultUrl: null, resultUrlExpiresAt: null });
  });

  it('waits for a result that the storage shows late', async () => {
    const event = await run('x.pdf?sandbox=result-late--900', {}, { download: true });
    expect(event.data).toMatchObject({ outcome: 'succeeded' });
    expect(event.data.vendorJobs[0]?.result).toMatchObject({ artifact: { verified: true } });
  });

  it.each([
    ['fail-without-error', { code: 'vendor_job_failed', message: 'the vendor gave no reason' }],
    [
      'fail-with-text',
      { code: 'vendor_job_failed', message: 'An internal error occurred while processing the document' },
    ],
  ])('that failed say why, as far as the vendor does: %s', async (fault, error) => {
    expect((await run(`x.pdf?sandbox=${fault}`)).data).toMatchObject({ outcome: 'failed', error });
  });

  it('say of which document they are, and the id that the vendor’s support asks for', async () => {
    const event = await run('x.pdf?sandbox=fail', {}, { dataId: 'order-17' });
    const { id } = event.data.vendorJobs[0] ?? { id: '' };
    expect(event.data.vendorJobs).toMatchObject([
      {
        result: { dataId: 'order-17', sourceType: 'url', fileName: 'x.pdf' },
        error: { code: 'INTERNAL_ERROR', details: { requestId: id } },
      },
    ]);
  });

  it('finds a lost create although the list is empty at first', async () => {
    rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    rig.sandbox.faults.arm({ fault: 'list-empty' });
    const event = await run('x.pdf');
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });

  it('labels every job in the letters and the length that the documentation allows', async () => {
    const jobId = `an id of ours: ${'ä long one '.repeat(20)}`.replaceAll(':', '');
    await rig.harness.push('knowhere', 'parse', { input: urlInput('x.pdf'), poll: quickPoll }, { jobId });
    await rig.harness.event(jobId);
    expect(rig.creates()[0]?.dataId).toMatch(/^[A-Za-z0-9._-]{1,128}$/);
  });

  it('lets an upload that was taken twice go through', async () => {
    await writeFile(path.join(rig.harness.folder, 'twice.md'), '# Twice');
    const input = { sourceType: 'file', file: 'twice.md' };
    rig.sandbox.faults.arm({ fault: 'cut-after', route: 'upload' });
    const event = await rig.harness.event(await rig.harness.submit('knowhere', 'parse', input, { poll: quickPoll }));
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });
});

describe('jobs of the documented dialect', () => {
  let rig: KnowhereRig;
  beforeAll(async () => {
    rig = await startKnowhere({ dialect: 'doc' });
    await writeFile(path.join(rig.harness.folder, 'a.md'), '# A');
  });
  afterAll(() => rig.stop());
  beforeEach(() => rig.sandbox.reset());

  const run = async (input: object) =>
    rig.harness.event(await rig.harness.submit('knowhere', 'parse', input, { poll: quickPoll }));

  it.each(['upload-expired', 'upload-signature'])('take the fresh upload link after %s', async (fault) => {
    rig.sandbox.faults.arm({ fault });
    expect((await run({ sourceType: 'file', file: 'a.md' })).data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
    expect(rig.sandbox.ledger.entries({ route: 'upload' })).toHaveLength(2);
  });

  it('find an upload link that the create did not bring', async () => {
    rig.sandbox.faults.arm({ fault: 'upload-link-missing' });
    expect((await run({ sourceType: 'file', file: 'a.md' })).data.outcome).toBe('succeeded');
  });

  it.each(['progress-goes-down', 'reset-in-seconds--at-lookup', 'created-as--200'])('go on with %s', async (fault) => {
    expect((await run(urlInput(`x.pdf?sandbox=${fault}`))).data.outcome).toBe('succeeded');
  });
});

describe('limits of the documented dialect', () => {
  it('are kept to by what the answers announce', async () => {
    const rig = await startKnowhere({ dialect: 'doc' });
    try {
      rig.sandbox.setLimits({ requestsPerMinute: 12, minuteMs: 1_500 });
      const ids = await Promise.all(
        ['a', 'b', 'c', 'd'].map((name) =>
          rig.harness.submit('knowhere', 'parse', urlInput(`${name}.pdf`), { poll: quickPoll }),
        ),
      );
      const events = await Promise.all(ids.map((id) => rig.harness.event(id, 25_000)));
      expect(events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
      expect(rig.created()).toHaveLength(4);
    } finally {
      await rig.stop();
    }
  });
});
