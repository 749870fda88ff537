import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../../src/core/json.ts';
import type { VendorJob } from '../../src/core/submission.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type { ConfirmReply, StepContext, VendorReport } from '../../src/ports/vendor-adapter.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';
import type { KnowhereAccount } from '../../src/vendors/knowhere/account.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { FileTransfers } from '../../src/vendors/transfers/file-transfers.ts';
import { ScriptedVendor, type Responder } from '../helpers/scripted-vendor.ts';

/** Steps around links that are missing, late or dead, with a clock that goes as fast as the adapter asks it to. */

const zip = 'PK\u0003\u0004 a result';
const checksum = { algorithm: 'sha256', value: createHash('sha256').update(zip).digest('hex') };
const missing: Responder = { status: 404, text: '<Error><Code>NoSuchKey</Code><Message>Not there.</Message></Error>' };
const found: Responder = { text: zip };
const look = 'GET /v1/jobs/*';
const minuteMs = 60_000;

let folder: string;
let transfers: FileTransfers;
let vendor: ScriptedVendor;
let http: HttpClient<KnowhereAccount>;
let now: number;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'jobferry-results-'));
  await writeFile(path.join(folder, 'a.json'), '[1]');
  transfers = new FileTransfers({
    filesDir: folder,
    artifactsDir: path.join(folder, 'artifacts'),
    allowPrivateUrls: true,
    maxResultBytes: 10_000,
  });
});
afterAll(async () => {
  await transfers.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  vendor = await ScriptedVendor.start();
  http = new HttpClient(knowhere, account());
  now = Date.parse('2026-11-24T10:00:00Z');
});
afterEach(() => vendor.close());

function account(): KnowhereAccount {
  return { apiKey: 'sk_test', baseUrl: vendor.url };
}

function context(input: object, jobs: readonly VendorJob[], deadlineAt: number): StepContext<KnowhereAccount, never> {
  return {
    submissionId: 's-1',
    account: account(),
    accountName: 'default',
    input: input as never,
    stage: undefined,
    part: 0,
    carry: undefined,
    snapshot: undefined,
    jobs,
    http,
    transfers,
    now,
    deadlineAt,
    attempt: 1,
    doubts: 0,
    enqueuedAt: now,
    logger: silentLogger,
    signal: new AbortController().signal,
    claim: async () => true,
  };
}

const doneJob = (result: Json, id = 'job_1'): VendorJob => ({
  id,
  kind: 'job',
  status: 'succeeded',
  vendorStatus: 'done',
  outcome: 'succeeded',
  result,
});
const withLink = (): JsonObject => ({ resultUrl: `${vendor.url}/storage/old`, resultUrlExpiresAt: null, checksum });
const withoutLink: JsonObject = { resultUrl: null, resultUrlExpiresAt: null, checksum: null };
const wire = (rest: object = {}): JsonObject => ({ job_id: 'job_1', status: 'done', data_id: 'order-17', ...rest });
const freshWire = (): JsonObject => wire({ result_url: `${vendor.url}/storage/new`, result_checksum: checksum });

interface Confirmed {
  jobs: VendorJob[];
  /** ms that passed until it was confirmed. */
  tookMs: number;
  waits: number[];
}

/** Asks as the engine does: what is not confirmed yet is asked again when the adapter says. */
async function confirm(isDownload: boolean, jobs: VendorJob[], deadlineMs = 30 * minuteMs): Promise<Confirmed> {
  const startedAt = now;
  const waits: number[] = [];
  for (let turns = 0; turns < 100; turns += 1) {
    const given = context({ jobIds: ['job_1'], download: isDownload }, jobs, startedAt + deadlineMs);
    const reply: ConfirmReply | undefined = await knowhere.operations['watch']?.confirm?.(given);
    if (reply === undefined) break;
    const changed = new Map((reply.jobs ?? []).map((job) => [job.id, job]));
    jobs = jobs.map((job) => changed.get(job.id) ?? job);
    if (reply.kind === 'confirmed') return { jobs, tookMs: now - startedAt, waits };
    if (reply.kind !== 'not-yet') throw new Error(`confirmed as ${reply.kind}`);
    if (now >= startedAt + deadlineMs) throw new Error('not yet, at the deadline');
    waits.push(reply.afterMs ?? 2_000);
    now += Math.max(250, reply.afterMs ?? 2_000);
  }
  throw new Error('never confirmed');
}

describe('a result to be downloaded', () => {
  it('that the storage shows late is fetched, with a fresh link each time', async () => {
    vendor.on('GET /storage/old', missing).on('GET /storage/new', missing, missing, found);
    vendor.on(look, { json: freshWire() });
    const { jobs, tookMs } = await confirm(true, [doneJob(withLink())]);
    expect(jobs).toMatchObject([
      { outcome: 'succeeded', result: { artifact: { verified: true }, dataId: 'order-17' } },
    ]);
    expect(jobs[0]).not.toHaveProperty('extra');
    expect(vendor.callsTo(look)).toHaveLength(3);
    expect(tookMs).toBeLessThan(10_000);
  });

  it('that never comes is waited for a minute, ever more seldom, and then told', async () => {
    vendor.on('GET /storage/*', missing).on(look, { json: freshWire() });
    const { jobs, tookMs, waits } = await confirm(true, [doneJob(withLink())]);
    expect(jobs).toMatchObject([
      {
        outcome: 'failed',
        error: { code: 'result_unavailable', message: expect.stringContaining('NoSuchKey') as string },
      },
    ]);
    expect(tookMs).toBe(minuteMs);
    expect(waits.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(vendor.callsTo(look).length).toBeLessThan(12);
  });

  it('is told at the deadline, where that comes first', async () => {
    vendor.on('GET /storage/*', missing).on(look, { json: freshWire() });
    const { jobs, tookMs } = await confirm(true, [doneJob(withLink())], 5_000);
    expect(jobs).toMatchObject([{ outcome: 'failed', error: { code: 'result_unavailable' } }]);
    expect(tookMs).toBe(5_000);
  });

  it('gives way to the vendor’s last word', async () => {
    const error = { code: 'DATA_LOSS', message: 'the result was lost', request_id: 'req_7' };
    vendor.on('GET /storage/old', missing).on(look, { json: wire({ status: 'failed', error }) });
    const { jobs, tookMs } = await confirm(true, [doneJob(withLink())]);
    expect(jobs).toMatchObject([
      {
        status: 'failed',
        outcome: 'failed',
        error: {
          code: 'DATA_LOSS',
          message: 'the result was lost',
          details: { requestId: 'req_7', result: { code: 'result_unavailable' } },
        },
      },
    ]);
    expect(jobs[0]).not.toHaveProperty('vendorStatus');
    expect(tookMs).toBe(0);
  });

  it('of a job that the vendor does not know any more ends as unavailable, past the grace', async () => {
    const gone: Responder = { status: 404, json: { error: { code: 'NOT_FOUND', message: 'Job not found' } } };
    vendor.on('GET /storage/old', missing).on(look, gone);
    const { jobs, tookMs } = await confirm(true, [doneJob(withLink())]);
    expect(jobs).toMatchObject([{ outcome: 'failed', error: { code: 'result_unavailable' } }]);
    expect(tookMs).toBe(minuteMs);
  });

  it('is not given up for one 404 of the vendor', async () => {
    vendor.on('GET /storage/old', missing).on('GET /storage/new', found);
    vendor.on(look, { status: 404, json: { error: { code: 'NOT_FOUND' } } }, { json: freshWire() });
    expect((await confirm(true, [doneJob(withLink())])).jobs).toMatchObject([{ outcome: 'succeeded' }]);
  });

  it('that is a sign-in page at first is fetched again', async () => {
    vendor.on('GET /storage/old', { text: '<html>sign in</html>' }).on('GET /storage/new', found);
    vendor.on(look, { json: wire({ result_url: `${vendor.url}/storage/new` }) });
    const { jobs } = await confirm(true, [doneJob({ ...withLink(), checksum: null })]);
    expect(jobs).toMatchObject([
      { outcome: 'succeeded', result: { artifact: { verified: false, sha256: checksum.value } } },
    ]);
  });

  it('that is damaged twice is given up at once', async () => {
    vendor.on('GET /storage/*', { text: 'PK damaged' }).on(look, { json: freshWire() });
    const { jobs, tookMs } = await confirm(true, [doneJob(withLink())]);
    expect(jobs).toMatchObject([{ outcome: 'failed', error: { code: 'checksum_mismatch' } }]);
    expect([tookMs, vendor.callsTo(look).length]).toEqual([0, 1]);
  });
});

describe('a job that is done without a link', () => {
  it('is asked again until there is one', async () => {
    vendor.on(look, { json: wire() }, { json: wire() }, { json: freshWire() });
    const { jobs } = await confirm(false, [doneJob(withoutLink)]);
    expect(jobs).toMatchObject([
      { outcome: 'succeeded', result: { resultUrl: expect.stringContaining('/storage/new') as string, checksum } },
    ]);
    expect(jobs[0]).not.toHaveProperty('extra');
  });

  it.each([
    ['it stays so', (): Responder => ({ json: wire() })],
    ['the vendor forgets it', (): Responder => ({ status: 404, json: { error: { code: 'NOT_FOUND' } } })],
  ])('has succeeded all the same, past the grace: %s', async (_what, answer) => {
    vendor.on(look, answer());
    const { jobs, tookMs } = await confirm(false, [doneJob(withoutLink)]);
    expect(jobs).toMatchObject([{ outcome: 'succeeded', result: { resultUrl: null } }]);
    expect(tookMs).toBe(20_000);
  });

  it('costs no request where the look-up brought the link', async () => {
    expect((await confirm(false, [doneJob(withLink())])).tookMs).toBe(0);
    expect(vendor.calls).toEqual([]);
  });

  it('is one of many: a turn asks for twenty, and what it found is kept', async () => {
    vendor.on(look, ({ path: asked }) => ({ json: { ...freshWire(), job_id: asked.split('/').at(-1) ?? '' } }));
    const many = Array.from({ length: 45 }, (_, n) => doneJob(withoutLink, `job_${n}`));
    const { jobs } = await confirm(false, many);
    expect(jobs.filter((job) => (job.result as JsonObject)['resultUrl'] !== null)).toHaveLength(45);
    expect(vendor.callsTo(look)).toHaveLength(45);
  });
});

describe('an upload', () => {
  const put = 'PUT /storage/*';
  const expired: Responder = {
    status: 403,
    text: '<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
  };
  const link = (name: string): JsonObject => ({ upload_url: `${vendor.url}/storage/${name}`, upload_headers: {} });
  const prepare = async (name?: string): Promise<unknown> => {
    const uploadUrl = `${vendor.url}/storage/${name}`;
    const job: VendorJob = { id: 'job_1', kind: 'job', status: 'pending' };
    const given = name === undefined ? job : { ...job, extra: { uploadUrl, uploadHeaders: {} } };
    const input = { sourceType: 'file', file: 'a.json' };
    try {
      return await knowhere.operations['parse']?.prepare?.(context(input, [given], now + minuteMs));
    } catch (error) {
      return error;
    }
  };
  const prepared = [{ id: 'job_1', kind: 'job', status: 'pending' }];

  it('takes the fresh link that the vendor shows, when the first one is dead', async () => {
    vendor.on('PUT /storage/old', expired).on('PUT /storage/new', { status: 200 });
    vendor.on(look, { json: wire({ status: 'waiting-file', ...link('new') }) });
    expect(await prepare('old')).toEqual(prepared);
    expect(vendor.callsTo(put).map((call) => call.path)).toEqual(['/storage/old', '/storage/new']);
  });

  it('gives up after three fresh links', async () => {
    vendor.on(put, expired).on(look, { json: wire({ status: 'waiting-file', ...link('new') }) });
    expect(await prepare('old')).toMatchObject({ code: 'upload_expired' });
    expect(vendor.callsTo(put)).toHaveLength(4);
  });

  it('gives up at once where the vendor shows none', async () => {
    vendor.on(put, expired).on(look, { json: wire({ status: 'waiting-file' }) });
    expect(await prepare('old')).toMatchObject({ code: 'upload_expired' });
    expect(vendor.callsTo(put)).toHaveLength(1);
  });

  it('finds its link where the create brought none', async () => {
    vendor.on(put, { status: 200 }).on(look, { json: wire({ status: 'waiting-file', ...link('new') }) });
    expect(await prepare()).toEqual(prepared);
  });

  it('is over where the vendor has gone on', async () => {
    vendor.on(put, expired).on(look, { json: wire({ status: 'running' }) });
    expect(await prepare('old')).toEqual(prepared);
  });
});

describe('what a look-up tells', () => {
  const report = async (json: JsonObject): Promise<VendorReport> => {
    vendor.on(look, { json });
    const given = { account: account(), http, logger: silentLogger, signal: new AbortController().signal, now };
    const reports = await knowhere.lookups['job']?.look([{ id: 'job_1', extra: undefined }], given);
    return reports?.get('job_1') as VendorReport;
  };
  const origin = {
    source_type: 'file',
    file_name: 'a.pdf',
    created_at: '2026-11-24T09:00:00.123456',
  };

  it.each(['done', 'failed'])('of which document a job is that is %s', async (status) => {
    expect((await report(wire({ status, ...origin }))).result).toMatchObject({
      dataId: 'order-17',
      sourceType: 'file',
      fileName: 'a.pdf',
      createdAt: '2026-11-24T09:00:00.123Z',
    });
  });

  it.each([
    [
      { code: 'X', message: 'm', request_id: 'req_1' },
      { code: 'X', message: 'm', details: { requestId: 'req_1' } },
    ],
    [
      { code: 'X', message: 'm', request_id: 'req_1', details: { a: 1 } },
      { code: 'X', message: 'm', details: { a: 1, requestId: 'req_1' } },
    ],
    [
      { message: 'm', details: ['a'], request_id: 'req_1' },
      { message: 'm', details: { details: ['a'], requestId: 'req_1' } },
    ],
    ['the parser crashed', { message: 'the parser crashed' }],
    [{ detail: 'the parser crashed' }, { message: 'the parser crashed' }],
    [{ code: 500 }, { code: '500', message: 'the vendor gave no reason' }],
    [{ stage: 'ocr' }, { message: '{"stage":"ocr"}' }],
    [['a', 'b'], { message: '["a","b"]' }],
    ['', { message: 'the vendor gave no reason' }],
    [{}, { message: 'the vendor gave no reason' }],
    [null, { message: 'the vendor gave no reason' }],
    [undefined, { message: 'the vendor gave no reason' }],
  ])('why a job failed: %j', async (error, expected) => {
    const said = await report(wire({ status: 'failed', ...(error === undefined ? {} : { error }) }));
    expect(said.error).toEqual({ code: 'vendor_job_failed', ...expected });
  });
});

describe('an error answer', () => {
  it.each([400, 401, 402, 403, 404, 409, 429, 499, 500, 502, 503])(
    '%i names the request, in its details and in the text that logs show',
    async (status) => {
      const error = { code: 'A_CODE', message: 'no', request_id: 'req_9', details: { a: 1 } };
      vendor.on(look, { status, json: { success: false, error } });
      const job = { id: 'job_1', extra: undefined };
      const given = { account: account(), http, logger: silentLogger, signal: new AbortController().signal, now };
      const thrown: unknown = await knowhere.lookups['job']?.look([job], given).catch((failure: unknown) => failure);
      expect(thrown).toMatchObject({
        details: { a: 1, requestId: 'req_9' },
        message: expect.stringContaining('(request_id req_9)') as string,
      });
    },
  );
});
