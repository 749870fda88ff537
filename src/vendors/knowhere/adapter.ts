import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import { InvalidSubmissionError, VendorContractError, VendorRejectedError } from '../../core/errors.ts';
import { clip, type JsonObject } from '../../core/json.ts';
import type { Intent } from '../../core/submission.ts';
import type {
  LookupContext,
  ReconcileReply,
  StepContext,
  SubmitReply,
  VendorRef,
  VendorReport,
} from '../../ports/vendor-adapter.ts';
import { defineOperation, defineVendor } from '../define-vendor.ts';
import { parseTimestamp } from '../timestamps.ts';
import { readError, readLimits } from './errors.ts';
import { getJob } from './get-job.ts';
import { carriesExtension, fileNameOf, parseInput, toCreateBody, watchInput, type ParseInput } from './input.ts';
import { toReport } from './report.ts';
import { confirmResults } from './operations/results.ts';
import { toStatus } from './status.ts';
import { toUpload, uploadFile } from './operations/upload.ts';
import { createReply, job as wireJob, jobLabel, jobList, type WireJob } from './wire.ts';

const account = z.strictObject({
  apiKey: z.string().min(1).describe('Starts with sk_.'),
  baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.knowhereto.ai'),
});
export type KnowhereAccount = z.output<typeof account>;

const operation = defineOperation<KnowhereAccount>();
type Context<Input> = StepContext<KnowhereAccount, Input>;

/** Clocks differ, and the list is asked from a time on. */
const clockSkewMs = 10 * 60_000;
const pageSize = 100;
const listPages = 200;

const parse = operation({
  summary: 'Parses a document, from a public URL or an uploaded file, into chunks and Markdown.',
  input: parseInput,
  // The vendor has no idempotency key; a lost create is found again in the job list by its data_id.
  resend: 'lookup',
  // The vendor asks the source for its type meanwhile, and both of its clients wait for a minute.
  submitTimeoutMs: 90_000,
  poll: { initialDelayMs: 2_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1_800_000 },
  graceMs: 30_000,

  async preflight({ input, transfers, submissionId }) {
    if (input.sourceType === 'file') {
      if (!carriesExtension(fileNameOf(input))) {
        throw new InvalidSubmissionError([
          { path: 'input.fileName', message: 'must carry an extension, such as .pdf' },
        ]);
      }
      const file = await transfers.openFile(input.file);
      await file.close();
    }
    return { dataId: input.dataId ?? uniqueDataId(submissionId) };
  },

  async submit(context): Promise<SubmitReply> {
    const { body } = await context.http.request({
      method: 'POST',
      path: 'v1/jobs',
      json: toCreateBody(context.input, dataIdOf(context)),
      reply: createReply,
    });
    // With a label of the caller's own, another submission may carry the same: say whose job this is.
    if (context.input.dataId !== undefined) await context.claim(body.job_id);
    const upload = context.input.sourceType === 'file' ? toUpload(body) : undefined;
    return { jobs: [toRef(body.job_id, body.status, upload)] };
  },

  reconcile: findInList,

  prepare: uploadFile,

  confirm: (context) => confirmResults(context, context.input.download),
});

const watch = operation({
  summary: 'Watches jobs that were started elsewhere.',
  input: watchInput,
  resend: 'safe',
  adopts: true,
  poll: { initialDelayMs: 1_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1_800_000 },
  graceMs: 30_000,
  async submit({ input }) {
    return { jobs: input.jobIds.map((id) => toRef(id, undefined, undefined)) };
  },
  confirm: (context) => confirmResults(context, context.input.download),
});

/** Document parsing: https://docs.knowhereto.ai, in the documented dialect and the one that is deployed. */
export const knowhere = defineVendor({
  name: 'knowhere',
  summary: 'Document parsing: URLs and files into chunks and Markdown.',
  account,
  environment: { apiKey: 'KNOWHERE_API_KEY', baseUrl: 'KNOWHERE_BASE_URL' },
  secrets: ['apiKey'],
  credentials: ['apiKey'],
  http: {
    baseUrl: ({ baseUrl }) => baseUrl,
    headers: ({ apiKey }) => ({ authorization: `Bearer ${apiKey}` }),
    readError,
    readLimits,
  },
  lookups: {
    job: {
      maxBatch: 1,
      async look([ref], { http, logger }: LookupContext<KnowhereAccount>) {
        if (ref === undefined) return new Map<string, VendorReport>();
        const wire = await getJob(http, ref.id);
        const report = toReport(wire);
        if (toStatus(wire.status) === undefined) {
          logger.warn({ vendorStatus: clip(wire.status, 60) }, 'unknown vendor status, taken for running');
        }
        if (report.status === 'failed') {
          const requestId = wire.error?.requestId;
          logger.info({ vendorJobId: ref.id, errorCode: report.error?.code, requestId }, 'vendor job failed');
        }
        return new Map([[ref.id, report]]);
      },
    },
  },
  operations: { parse, watch },
});

/** The job list is in no documentation, is late at times and empty on a fault: one look proves nothing. */
async function findInList(context: Context<ParseInput>, intent: Intent): Promise<ReconcileReply> {
  const dataId = dataIdOf(context);
  const matches: WireJob[] = [];
  let size: number | undefined;
  let unreadable = 0;
  let seen = 0;
  let total = 0;
  for (let page = 1, pages = 1; page <= pages; page += 1) {
    if (page > listPages)
      throw new VendorContractError(`the job list has more than ${listPages} pages since the submit`);
    const reply = await readList(context, intent, page);
    if ('found' in reply) return reply;
    const { jobs: rows, total_pages: announced } = reply;
    seen += rows.length;
    total = Math.max(total, reply.total ?? 0);
    // A server may give smaller pages than asked for; what it says, or its first page, tells.
    size ??= reply.page_size ?? (announced !== undefined && rows.length > 0 ? rows.length : pageSize);
    for (const row of rows) {
      const parsed = wireJob.safeParse(row);
      if (parsed.success && parsed.data.data_id === dataId) matches.push(parsed.data);
      else if (!parsed.success && mayCarry(row, dataId)) unreadable += 1;
    }
    pages = Math.max(pages, announced ?? (rows.length < size ? page : page + 1));
    // An absence counts only where all was seen: a page that comes short before the last, or empty, is a fault.
    const isShort = page < pages ? rows.length < size : page > 1 && rows.length === 0 && announced !== undefined;
    if (isShort && matches.length === 0) {
      throw new VendorContractError(
        `page ${page} of ${pages} of the job list has ${rows.length} rows instead of ${size}`,
      );
    }
  }
  // Oldest first: the job of this attempt was there before any later one with the same label.
  for (const wire of matches.reverse()) {
    if (!isOurs(context, wire, intent) || !(await context.claim(wire.job_id))) continue;
    if (context.input.sourceType === 'file' && wire.status === 'waiting-file') {
      const upload = toUpload(wire) ?? toUpload(await getJob(context.http, wire.job_id));
      if (upload === undefined)
        return { found: 'unusable', reason: `${wire.job_id} waits for a file, and its upload link is lost` };
      return { found: { jobs: [toRef(wire.job_id, wire.status, upload)] } };
    }
    return { found: { jobs: [toRef(wire.job_id, wire.status, undefined)] } };
  }
  if (unreadable > 0) throw new VendorContractError(`${unreadable} rows of the job list can not be read`);
  if (seen < total) throw new VendorContractError(`the job list has ${seen} rows, and says ${total}`);
  if (seen === 0) {
    // The list is empty on a fault, and nothing tells that from the truth. So it has to say so twice.
    const again = await readList(context, intent, 1);
    if ('found' in again) return again;
    if (again.jobs.length > 0) throw new VendorContractError('the job list was empty, and is not when asked again');
  }
  return { found: 'absent' };
}

async function readList(
  context: Context<ParseInput>,
  intent: Intent,
  page: number,
): Promise<z.output<typeof jobList> | { found: 'unknowable'; reason: string }> {
  try {
    const { body } = await context.http.request({
      method: 'GET',
      path: 'v1/jobs',
      query: { page, page_size: pageSize, start_time: new Date(intent.at - clockSkewMs).toISOString() },
      reply: jobList,
    });
    return body;
  } catch (error) {
    if (error instanceof VendorRejectedError && [404, 405, 410, 501].includes(error.httpStatus ?? 0)) {
      return { found: 'unknowable', reason: `the vendor has no job list (${error.httpStatus})` };
    }
    throw error;
  }
}

/** Could a row that makes no sense be the job that we look for? Only a label that is another's says no. */
function mayCarry(row: unknown, dataId: string): boolean {
  const label = jobLabel.safeParse(row);
  return !label.success || label.data.data_id === dataId;
}

/** Our own labels are unique; under a label of the caller's, kind and time of the job must fit as well. */
function isOurs(context: Context<ParseInput>, wire: WireJob, intent: Intent): boolean {
  if (context.input.dataId === undefined) return true;
  if (wire.source_type !== undefined && wire.source_type !== context.input.sourceType) return false;
  const createdAt = parseTimestamp(wire.created_at);
  return createdAt === undefined || createdAt >= intent.at - clockSkewMs;
}

/** A label that people recognise and nobody else has. */
function uniqueDataId(submissionId: string): string {
  return `${clip(submissionId.replace(/[^A-Za-z0-9._-]/g, '-'), 90).replace('…', '')}.${randomBytes(8).toString('hex')}`;
}

function dataIdOf(context: Context<ParseInput>): string {
  const snapshot = context.snapshot as { dataId?: string } | undefined;
  const dataId = context.input.dataId ?? snapshot?.dataId;
  if (dataId === undefined) throw new Error('the label of this submit was not saved');
  return dataId;
}

function toRef(id: string, vendorStatus: string | undefined, extra: JsonObject | undefined): VendorRef {
  return {
    id,
    kind: 'job',
    ...(vendorStatus === undefined ? {} : { vendorStatus }),
    ...(extra === undefined ? {} : { extra }),
  };
}
