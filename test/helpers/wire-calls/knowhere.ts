import { createHash } from 'node:crypto';
import { knowhere } from '../../../src/vendors/knowhere/adapter.ts';
import { own, rows, textOf, vendorJob, when, type Served, type WireCall } from './wire-call.ts';

const common = { adapter: knowhere, account: { apiKey: 'sk_x' } };
const label = 'order-17';
const id = 'job_1';
const urlInput = { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' };
const fileInput = { sourceType: 'file', file: 'a.md' };
const snapshot = { dataId: label };
const intent = { attempt: 1, at: Date.parse(when), fingerprint: '0' };

/** The result file; it is JSON, so that it can be damaged like every other answer. */
const result = { chunks: [{ text: 'one' }, { text: 'two' }] };
const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const checksum = sha256(JSON.stringify(result));

const uploadLink = (url: string): { upload_url: string; upload_headers: Record<string, string> } => ({
  upload_url: `${url}/storage/upload?X-Amz-Signature=abc`,
  upload_headers: { 'Content-Type': 'text/markdown' },
});

const job = (url: string, status: string): Record<string, unknown> => ({
  job_id: id,
  status,
  source_type: 'url',
  data_id: label,
  created_at: when,
  completed_at: when,
  progress: { total_pages: 10, processed_pages: 5 },
  error: status === 'failed' ? { code: 'X', message: 'y', details: { a: 1 } } : null,
  result: { checksum },
  result_url: `${url}/storage/result?X-Amz-Signature=abc`,
  result_url_expires_at: when,
  result_checksum: { algorithm: 'sha256', value: checksum },
});
const statuses = ['waiting-file', 'pending', 'converting', 'running', 'done', 'failed'];
const isOurs = (row: unknown): boolean => own(row, 'data_id') === label;
const jobId = ({ json }: Served): unknown[] => [own(json, 'job_id')];

function surelyNot({ status, json }: Served): boolean {
  const error = own(json, 'error');
  if (status === 409) return own(error, 'code') === 'ABORTED';
  return status === 503 && own(error, 'code') === 'UNAVAILABLE' && own(error, 'details') !== undefined;
}

const create = { ...common, step: 'parse.submit', route: 'POST /v1/jobs', names: jobId, surelyNot } as const;
const created = (url: string): object => ({ job_id: id, status: 'pending', data_id: label, ...uploadLink(url) });

/** Downloads of finished jobs, of the two operations that have them. */
function downloads(operation: string, input: object): WireCall[] {
  const context = (link: string) => (url: string) => ({
    input: { ...input, download: true },
    snapshot,
    jobs: [
      vendorJob(id, 'job', {
        result: {
          resultUrl: `${url}/storage/${link}?X-Amz-Signature=abc`,
          checksum: { algorithm: 'sha256', value: checksum },
        },
      }),
    ],
  });
  const step = `${operation}.confirm`;
  const good = { json: result };
  const lookup = { ...common, step, route: 'GET /v1/jobs/*', bodies: (url: string) => [job(url, 'done')] };
  return [
    {
      ...common,
      step,
      route: 'GET /storage/result',
      bodies: () => [result],
      context: context('result'),
      others: (url) => ({ 'GET /v1/jobs/*': { json: job(url, 'done') } }),
      says: ({ status, body }) => status === 200 && sha256(body) === checksum,
    },
    {
      ...lookup,
      variant: 'for a fresh link',
      context: context('expired'),
      others: () => ({ 'GET /storage/expired': { status: 403 }, 'GET /storage/result': good }),
      says: ({ json }) => own(json, 'job_id') === id && textOf(own(json, 'result_url')).includes('/storage/result'),
    },
    {
      ...lookup,
      variant: 'for a damaged result',
      context: context('result'),
      others: () => ({ 'GET /storage/result': { json: { chunks: [] } } }),
      // Whatever the answer says: bytes that are not those of the job are no result.
      says: () => false,
    },
  ];
}

export const knowhereCalls: WireCall[] = [
  { ...create, bodies: (url) => [created(url)], context: () => ({ input: urlInput, snapshot }) },
  {
    ...create,
    variant: 'with a file',
    bodies: (url) => [{ ...created(url), status: 'waiting-file', expires_in: 7_200 }],
    context: () => ({ input: { ...fileInput, dataId: label }, snapshot }),
  },
  {
    ...common,
    step: 'parse.reconcile',
    route: 'GET /v1/jobs',
    bodies: (url) => {
      const foreign = { ...job(url, 'done'), job_id: 'job_2', data_id: null };
      return [
        { jobs: [foreign, job(url, 'pending')], page: 1, page_size: 100, total_pages: 1 },
        { jobs: [foreign], page: 1, page_size: 100, total_pages: 1 },
      ];
    },
    context: () => ({ input: urlInput, snapshot }),
    intent,
    says: ({ json }) => rows(own(json, 'jobs')).some(isOurs),
  },
  {
    ...common,
    step: 'parse.reconcile',
    variant: 'whose file is missing',
    route: 'GET /v1/jobs/*',
    bodies: (url) => [{ ...job(url, 'waiting-file'), ...uploadLink(url) }],
    others: (url) => ({ 'GET /v1/jobs': { json: { jobs: [job(url, 'waiting-file')], total_pages: 1 } } }),
    context: () => ({ input: fileInput, snapshot }),
    intent,
    says: ({ json }) => own(json, 'job_id') === id,
  },
  {
    ...common,
    step: 'parse.prepare',
    route: 'GET /v1/jobs/*',
    bodies: (url) => [job(url, 'pending'), { ...job(url, 'waiting-file'), ...uploadLink(url) }],
    others: () => ({ 'PUT /storage/upload': { status: 200 } }),
    context: () => ({ input: fileInput, snapshot, jobs: [vendorJob(id, 'job', { status: 'pending' })] }),
    // Past waiting-file the vendor has the bytes; before it, the link must be there to send them to.
    says: ({ json }) =>
      own(json, 'job_id') === id &&
      (own(json, 'status') !== 'waiting-file' || textOf(own(json, 'upload_url')).includes('/storage/upload')),
  },
  {
    ...common,
    step: 'parse.prepare',
    route: 'PUT /storage/upload',
    bodies: () => [{}],
    others: (url) => ({ 'GET /v1/jobs/*': { json: job(url, 'waiting-file') } }),
    context: (url) => {
      const { upload_url: uploadUrl, upload_headers: uploadHeaders } = uploadLink(url);
      return { input: fileInput, snapshot, jobs: [vendorJob(id, 'job', { extra: { uploadUrl, uploadHeaders } })] };
    },
    says: ({ status }) => status >= 200 && status <= 299,
    isHeadEnough: true,
  },
  ...downloads('parse', urlInput),
  ...downloads('watch', { jobIds: [id] }),
  {
    ...common,
    step: 'lookups.job',
    route: 'GET /v1/jobs/*',
    bodies: (url) => statuses.map((status) => job(url, status)),
    jobs: [{ id, extra: undefined }],
    says: ({ json }) => own(json, 'job_id') === id && own(json, 'status') === 'done',
  },
];

export const knowhereErrors = [
  { error: { code: 'INVALID_ARGUMENT', message: 'no', request_id: 'r', details: { field: 'source_url' } } },
  { error: { code: 'UNAVAILABLE', message: 'later', details: { retry_after: 15 } } },
  { error: { code: 'RESOURCE_EXHAUSTED', message: 'slow', details: { retry_after: 3, reason: 'RATE_LIMITED' } } },
  { error: { code: 'ABORTED', message: 'another job is active' } },
];

/** Steps that make no request. */
export const knowhereSilent = [
  { step: 'parse.preflight', context: { input: fileInput } },
  { step: 'watch.submit', context: { input: { jobIds: [id] } } },
];
