import { VendorContractError } from '../../../core/errors.ts';
import type { JsonObject } from '../../../core/json.ts';
import type { ErrorInfo } from '../../../core/submission.ts';
import type { SubmitReply, VendorRef } from '../../../ports/vendor-adapter.ts';
import { operation, type Context } from '../account.ts';
import { bulkPath, jobsInError } from '../errors.ts';
import { bulkGenerateInput, generateInput, type BulkGenerateInput } from '../input.ts';
import { partOf, type Part } from './parts.ts';
import { bulkReply, generateReply } from '../wire.ts';

const poll = { initialDelayMs: 3_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1_800_000 };
const graceMs = 30_000;

type GenerationOptions = Pick<BulkGenerateInput, 'restrictedOps' | 'instructions' | 'botId' | 'isDraft'>;

export const generate = operation({
  summary: 'Makes knowledge from a text: an article, an update, or a draft of either. Drafts are live once published.',
  input: generateInput,
  // The vendor has no key and no list of jobs: a lost job id is lost, and a second submit may make a second draft.
  resend: 'none',
  // The id is in this answer alone.
  submitTimeoutMs: 90_000,
  jobKind: 'job',
  poll,
  graceMs,

  async submit({ input, http }): Promise<SubmitReply> {
    const { body } = await http.request({
      method: 'POST',
      path: 'v2/knowledge/public',
      json: {
        candidateKnowledge: input.candidateKnowledge,
        origin: input.origin,
        ...(input.origin === 'sources' ? { documentId: input.documentId } : {}),
        ...(input.origin === 'inbox' ? { hcEventId: input.hcEventId } : {}),
        ...toOptions(input),
      },
      reply: generateReply,
    });
    const documentId = input.origin === 'sources' ? input.documentId : undefined;
    return { jobs: [toJobRef(body.backgroundJobId, documentId, input.isDraft)] };
  },
});

export const bulkGenerate = operation({
  summary: 'Makes knowledge from many ingested documents, one vendor job each. Drafts are live once published.',
  input: bulkGenerateInput,
  resend: 'none',
  // The id is in this answer alone.
  submitTimeoutMs: 90_000,
  jobKind: 'job',
  poll,
  graceMs,
  submit: (context) => submitBulk(context, partOf(context.input.documentIds, context), context.input),
  giveUp: (context, error) => giveUpBulk(partOf(context.input.documentIds, context), error),
});

/** One bulk request. Jobs are matched to documents by id; what comes twice or unasked is ignored. */
export async function submitBulk(
  { http, logger }: Pick<Context<unknown>, 'http' | 'logger'>,
  part: Part<string>,
  options: GenerationOptions,
): Promise<SubmitReply> {
  let rows: { documentId: string; backgroundJobId: string }[];
  let missing: ErrorInfo = { code: 'vendor_contract', message: 'the vendor’s answer names no job for this document' };
  try {
    const json = { documentIds: part.items, origin: 'sources', ...toOptions(options) };
    ({ jobs: rows } = (await http.request({ method: 'POST', path: bulkPath, json, reply: bulkReply })).body);
  } catch (error) {
    rows = jobsInError(error);
    if (rows.length === 0) throw error;
    logger.warn({ jobs: rows.length, documents: part.items.length }, 'a bulk request failed and named jobs: adopted');
    missing = {
      code: 'submit_ambiguous',
      message:
        'the vendor answered 500 and named jobs for other documents only; it is not known whether it took this one',
    };
  }
  const jobs = new Map<string, string>();
  const used = new Set<string>();
  for (const { documentId, backgroundJobId } of rows) {
    const key = documentId.toLowerCase();
    if (jobs.has(key) || used.has(backgroundJobId)) continue;
    jobs.set(key, backgroundJobId);
    used.add(backgroundJobId);
  }
  if (!part.items.some((id) => jobs.has(id.toLowerCase()))) {
    throw new VendorContractError('the vendor took the request and named no job for any of its documents');
  }
  return {
    jobs: part.items.map((documentId) => {
      const jobId = jobs.get(documentId.toLowerCase());
      return jobId === undefined ? toNoJob(documentId, missing) : toJobRef(jobId, documentId, options.isDraft);
    }),
    more: part.more,
  };
}

export function giveUpBulk(part: Part<string>, error: ErrorInfo): SubmitReply {
  return { jobs: part.items.map((documentId) => toNoJob(documentId, error)), more: part.more };
}

function toJobRef(id: string, documentId: string | undefined, isDraft: boolean): VendorRef {
  const extra: JsonObject = { ...(documentId === undefined ? {} : { documentId }), draft: isDraft };
  return { id, kind: 'job', extra };
}

/** A document for which the vendor started nothing that we know of; a prefix, as it may stand beside the document itself. */
function toNoJob(documentId: string, error: ErrorInfo): VendorRef {
  const result = { documentId, articleId: null, draft: null };
  return { id: `generation:${documentId}`, kind: '', status: 'failed', vendorStatus: 'no job', result, error };
}

function toOptions({ restrictedOps, instructions, botId, isDraft }: GenerationOptions): Record<string, unknown> {
  return {
    ...(restrictedOps === undefined ? {} : { restrictedOps }),
    ...(instructions === undefined ? {} : { instructions }),
    ...(botId === undefined ? {} : { botId }),
    isDraft,
  };
}
