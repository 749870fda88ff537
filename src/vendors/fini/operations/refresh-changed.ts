import { AccountHeldError, VendorThrottledError } from '../../../core/errors.ts';
import type { JsonObject } from '../../../core/json.ts';
import type { VendorJob } from '../../../core/submission.ts';
import type { ConfirmReply, ReconcileReply } from '../../../ports/vendor-adapter.ts';
import { operation, type Context } from '../account.ts';
import { refreshSteps } from './documents.ts';
import { refreshChangedInput, type RefreshChangedInput } from '../input.ts';
import { giveUpBulk, submitBulk } from './knowledge.ts';
import { partOf } from './parts.ts';
import { getRecords, listRecords } from '../records.ts';
import type { WireRecord } from '../wire.ts';

const generateStage = 'generate';
const listedPages = 1_000;

type Input = Context<RefreshChangedInput>;

/**
 * What became of a document, as its row in the event says:
 * - `unchanged`: refreshed, and nothing upstream had changed
 * - `unlinked`: changed, but tied to no article that could be updated
 * - `changed`: knowledge is to be generated; stays only where that could not be found out
 * - `generated`: a generation ended well; `articleId` names its article, or null where it decided on no change
 * - `failed`: the refresh or the generation did not end well
 */
type Action = 'unchanged' | 'unlinked' | 'changed' | 'generated' | 'failed';

/**
 * The vendor's whole refresh cycle: refresh → poll the records → list what changed → bulk generate → poll the jobs.
 * Two stages of one submission, each a submit followed by polls under the engine's protection.
 */
export const refreshChanged = operation({
  summary: 'Refreshes documents and generates knowledge again for those that changed.',
  input: refreshChangedInput,
  resend: 'lookup',
  // As that of the bulk generation, which is its second stage.
  submitTimeoutMs: 90_000,
  // Only the generation can come to that: a refresh is found again in its records.
  jobKind: 'job',
  poll: { ...refreshSteps.poll, deadlineMs: 14_400_000 },
  graceMs: refreshSteps.graceMs,

  async preflight(context) {
    return context.stage === generateStage ? undefined : refreshSteps.preflight(context);
  },

  async submit(context) {
    if (context.stage !== generateStage) return refreshSteps.submit(context);
    return submitBulk(context, partOf(changedDocuments(context), context), context.input);
  },

  async reconcile(context): Promise<ReconcileReply> {
    if (context.stage !== generateStage) return refreshSteps.reconcile(context);
    return { found: 'unknowable', reason: 'the vendor has no list of its generation jobs' };
  },

  giveUp(context, error) {
    if (context.stage !== generateStage) return refreshSteps.giveUp(context, error);
    return giveUpBulk(partOf(changedDocuments(context), context), error);
  },

  confirm: (context) => (context.stage === generateStage ? tellPerDocument(context) : findChanged(context)),
});

/**
 * Decides which documents changed: those of which the list or the record says so, because each can be behind the other.
 * Where the list names one whose record says no, and where a record is gone, both are looked at once more.
 */
async function findChanged(context: Input): Promise<ConfirmReply> {
  const { http } = context;
  const documents = documentRows(context);
  const refreshed = documents.filter((job) => job.outcome === 'succeeded' && actionOf(job) === undefined);
  const listed = new Set<string>();
  if (refreshed.length > 0) {
    // Rows of other documents are common here: the list knows of no submission.
    for await (const { documents: rows } of listRecords(http, { changed: true }, listedPages)) {
      for (const row of rows) if (row.changed !== false) listed.add(row.id.toLowerCase());
    }
  }
  // While records are processed the list re-orders and can miss a row.
  const records = await getRecords(
    http,
    refreshed.map((job) => job.id),
  );
  const decided = documents.map((job): VendorJob => {
    if (actionOf(job) !== undefined) return job;
    if (job.outcome !== 'succeeded') return withResult(job, { action: 'failed' });
    const wire = records.get(job.id);
    const isListed = listed.has(job.id.toLowerCase());
    const isDoubtful = wire === undefined || (isListed && wire.changed === false);
    if (isDoubtful && job.extra?.['isDoubted'] !== true) return { ...job, extra: { ...job.extra, isDoubted: true } };
    if (wire === undefined) return toDeleted(job);
    const changed = isListed || wire.changed === true;
    const linkedKnowledgeId = wire.linkedKnowledgeId ?? linkOf(job);
    const action = !changed ? 'unchanged' : linkedKnowledgeId === null ? 'unlinked' : 'changed';
    return withResult(job, { changed, linkedKnowledgeId, action });
  });
  const doubtful = decided.filter((job) => actionOf(job) === undefined).length;
  if (doubtful > 0) {
    const reason = `of ${doubtful} documents the list and the record say different things`;
    return { kind: 'not-yet', reason, jobs: decided };
  }
  const isWorkLeft = decided.some((job) => actionOf(job) === 'changed');
  return isWorkLeft ? { kind: 'next', stage: generateStage, jobs: decided } : { kind: 'confirmed', jobs: decided };
}

function toDeleted(job: VendorJob): VendorJob {
  const message = 'the vendor no longer knows the document: it was deleted after its refresh';
  const gone = withResult(job, { action: 'failed', changed: null });
  return { ...gone, status: 'failed', outcome: 'failed', error: { code: 'vendor_job_lost', message } };
}

/** One row per document that says it all; the vendor jobs of the generation stand next to them. */
async function tellPerDocument(context: Input): Promise<ConfirmReply> {
  const generations = new Map(
    context.jobs.flatMap((job) => {
      const { documentId } = { ...job.extra, ...(job.result as JsonObject | undefined) };
      return job.kind === 'document' || typeof documentId !== 'string' ? [] : [[documentId, job] as const];
    }),
  );
  const isGenerated = (job: VendorJob): boolean =>
    actionOf(job) === 'changed' && generations.get(job.id)?.outcome === 'succeeded';
  const records = await readBack(context, documentRows(context).filter(isGenerated));
  const jobs = documentRows(context).map((job): VendorJob => {
    if (actionOf(job) !== 'changed') return job;
    const generation = generations.get(job.id);
    if (generation?.outcome === 'succeeded') {
      const { articleId, saved } = generation.result as { articleId: string | null; saved: string | null };
      const { isDraft } = context.input;
      const wire = records.get(job.id);
      return withResult(job, {
        action: 'generated',
        articleId,
        draft: isDraft,
        saved,
        jobId: generation.id,
        linkedKnowledgeId: wire?.linkedKnowledgeId ?? linkOf(job),
        // A live save clears it at the vendor; where the record does not show that yet, it is not known.
        changed: wire?.changed === true && saved === 'live' ? null : (wire?.changed ?? null),
      });
    }
    const error = generation?.error ?? { code: 'vendor_contract', message: 'no generation was started' };
    const failed = withResult(job, { action: 'failed', articleId: null, jobId: generation?.id ?? null });
    return { ...failed, outcome: 'failed', error };
  });
  return { kind: 'confirmed', jobs };
}

/** The records after their generation. Only news of finished work: what cannot be read now ends nothing. */
async function readBack(
  { http, logger }: Input,
  jobs: readonly VendorJob[],
): Promise<ReadonlyMap<string, WireRecord | undefined>> {
  try {
    return await getRecords(
      http,
      jobs.map((job) => job.id),
    );
  } catch (error) {
    // The account's own limits and holds are kept; the engine waits and asks again.
    if (error instanceof AccountHeldError || error instanceof VendorThrottledError) throw error;
    logger.warn({ documents: jobs.length }, 'records could not be read after their generation');
    return new Map();
  }
}

/** In the order of the submission's record, which no later step changes, so that parts stay what they are. */
function changedDocuments(context: Input): string[] {
  return documentRows(context)
    .filter((job) => actionOf(job) === 'changed')
    .map((job) => job.id);
}

function documentRows(context: Input): VendorJob[] {
  return context.jobs.filter((job) => job.kind === 'document');
}

function withResult(job: VendorJob, facts: JsonObject & { action?: Action }): VendorJob {
  return { ...job, result: { ...(job.result as JsonObject | undefined), ...facts } };
}

function actionOf(job: VendorJob): Action | undefined {
  return ((job.result ?? {}) as { action?: Action }).action;
}

function linkOf(job: VendorJob): string | null {
  return ((job.result ?? {}) as { linkedKnowledgeId?: string | null }).linkedKnowledgeId ?? null;
}
