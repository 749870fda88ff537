import * as z from 'zod';
import { VendorContractError, VendorRejectedError } from '../../core/errors.ts';
import { clip, type JsonObject } from '../../core/json.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Lookup, LookupContext, LookupJob, VendorReport } from '../../ports/vendor-adapter.ts';
import { call, mustBe, type SharelyAccount } from './account.ts';
import { readKnowledgeState, readStatus, wordOf } from './status.ts';
import { knowledge, workflowRow, type WireKnowledge, type WorkflowRow } from './wire.ts';

/** What is odd about a status is told once, not at every poll. */
const told = new Set<string>();

function tellOnce(key: string, tell: () => void): void {
  if (told.has(key)) return;
  if (told.size >= 1_000) told.clear();
  told.add(key);
  tell();
}

function workspaceOfJob(job: LookupJob, account: SharelyAccount): string {
  const workspaceId = job.extra?.['workspaceId'];
  return typeof workspaceId === 'string' ? workspaceId : account.workspaceId;
}

/**
 * background-jobs: the statuses of many workflows of one workspace. An id that the answer leaves out is not visible,
 * which the engine gives time; only ids that were asked for are read.
 * @see docs/vendors/sharely.md
 */
export const workflowLookup: Lookup<SharelyAccount> = {
  maxBatch: ({ statusBatchSize }) => statusBatchSize,
  batchKey: (job) => {
    const workspaceId = job.extra?.['workspaceId'];
    return typeof workspaceId === 'string' ? workspaceId.toLowerCase() : '';
  },
  async look(jobs, context) {
    const [first] = jobs;
    // An absent or empty list may mean "all of the workspace".
    if (first === undefined) return new Map();
    const workspaceId = workspaceOfJob(first, context.account);
    const rows = await askForRows(context, workspaceId, jobs);
    const byId = new Map<string, WorkflowRow[]>(jobs.map((job) => [job.id, []]));
    let unreadable = 0;
    for (const row of rows) {
      const parsed = workflowRow.safeParse(row);
      if (parsed.success) byId.get(parsed.data.workflowId)?.push(parsed.data);
      else unreadable += 1;
    }
    if (unreadable > 0) {
      if (unreadable === rows.length) throw oddAnswer(rows[0]);
      tellOnce('row', () => context.logger.warn({ unreadable }, 'background-jobs rows without a workflowId'));
    }
    return new Map(
      jobs.map(({ id }) => [
        id,
        // Several submissions can share a workflow, each with a resource of its own.
        (job: LookupJob): VendorReport | undefined => {
          const report = toReport(job, byId.get(id) ?? [], context.logger);
          // Of an answer that can not be read in full, nothing is concluded from an absence.
          return report === undefined && unreadable > 0 ? { status: 'running' } : report;
        },
      ]),
    );
  },
};

async function askForRows(
  context: LookupContext<SharelyAccount>,
  workspaceId: string,
  jobs: readonly LookupJob[],
): Promise<readonly unknown[]> {
  const json = { jobIds: jobs.map((job) => job.id) };
  try {
    const { body } = await call(context, workspaceId, {
      method: 'POST',
      path: 'background-jobs',
      json,
      reply: z.unknown(),
    });
    if (!Array.isArray(body)) throw oddAnswer(body);
    return body as readonly unknown[];
  } catch (error) {
    // Unknown ids are left out of the answer, never a 404: this refusal is about the workspace, not about a workflow.
    if (!(error instanceof VendorRejectedError) || error.httpStatus === 400 || error.httpStatus === 422) throw error;
    throw new VendorContractError(`background-jobs of workspace ${workspaceId}: ${error.message}`, {
      cause: error,
      ...(error.httpStatus === undefined ? {} : { httpStatus: error.httpStatus }),
      ...(error.details === undefined ? {} : { details: error.details }),
    });
  }
}

/** The older documentation wraps the rows and names the id `id`; guessing at it could call a job finished. */
export function oddAnswer(body: unknown): VendorContractError {
  const isObject = typeof body === 'object' && body !== null;
  const isOld = isObject && ('jobs' in body || ('id' in body && !('workflowId' in body)));
  const got = isOld
    ? 'the old shape {"jobs":[{"id",…}]}'
    : `a body that starts ${clip(JSON.stringify(body) ?? '', 80)}`;
  return new VendorContractError(
    `background-jobs answered ${got}; expected [{"workflowId","status":{"code","name"},"runId"}]`,
  );
}

/** Several rows of one workflow are several runs: what still runs wins, then what ended badly, then COMPLETED. */
const weights = { running: 3, pending: 3, failed: 2, canceled: 1, succeeded: 0 } as const;

function toReport(job: LookupJob, rows: readonly WorkflowRow[], logger: Logger): VendorReport | undefined {
  const ended = rows.filter((row) => wordOf(row.status ?? {})?.toUpperCase() !== 'CONTINUED_AS_NEW');
  const candidates = ended.length > 0 ? ended : rows;
  const reports = candidates.map((row) => readRow(job, row, logger));
  return reports.sort((a, b) => weights[b.status] - weights[a.status])[0];
}

function readRow(job: LookupJob, row: WorkflowRow, logger: Logger): VendorReport {
  const { runId, status: wire } = row;
  const extra: JsonObject = { ...job.extra, ...(runId === undefined ? {} : { runId }) };
  // Also of a workflow that runs: support asks for both where its deadline passes first.
  const ids = { workflowId: job.id, runId: runId ?? null };
  const word = wordOf(wire ?? {});
  if (wire === undefined || word === undefined)
    return { status: 'running', vendorStatus: 'unreadable', result: ids, extra };
  const { status, isDocumented, isCodeRight } = readStatus(word, wire.code);
  const vendorStatus = clip(word, 60);
  if (wire.name === undefined) {
    tellOnce('no name', () =>
      logger.warn({ ...ids, vendorStatus, code: wire.code }, 'statuses without a name, their codes hold'),
    );
  }
  if (!isDocumented) {
    tellOnce(`name ${vendorStatus}`, () =>
      logger.warn({ ...ids, vendorStatus, code: wire.code }, 'status in no documentation, taken for running'),
    );
  }
  if (!isCodeRight) {
    tellOnce(`code ${vendorStatus} ${wire.code}`, () =>
      logger.warn({ ...ids, vendorStatus, code: wire.code }, 'status name and code differ, the name holds'),
    );
  }
  switch (status) {
    case 'pending':
    case 'running':
      return { status, vendorStatus, result: ids, extra };
    case 'succeeded':
      return { status, vendorStatus, extra, result: ids };
    case 'failed':
    case 'canceled': {
      logger.warn({ ...ids, vendorStatus }, 'workflow ended badly');
      const what = {
        FAILED: 'failed',
        TERMINATED: 'was terminated',
        TIMED_OUT: 'timed out, perhaps half done',
      }[vendorStatus.toUpperCase()];
      return {
        status,
        vendorStatus,
        extra,
        error: {
          code: status === 'failed' ? 'vendor_job_failed' : 'vendor_job_canceled',
          message: `the workflow ${what ?? 'was canceled at the vendor'}; the vendor tells no reason, its support asks for workflowId and runId`,
          details: { ...ids, status: vendorStatus, statusCode: wire.code ?? null },
        },
      };
    }
  }
}

/** The record of a knowledge item, where an upload has no workflow to ask for. */
export const knowledgeLookup: Lookup<SharelyAccount> = {
  maxBatch: 1,
  async look([job], context) {
    if (job === undefined) return new Map();
    const { body } = await call(context, workspaceOfJob(job, context.account), {
      method: 'GET',
      path: `knowledge/${encodeURIComponent(job.id)}`,
      reply: knowledge,
    });
    mustBe('knowledge', job.id, body);
    return new Map([[job.id, toKnowledgeReport(body)]]);
  },
};

function toKnowledgeReport(item: WireKnowledge): VendorReport {
  const vendorStatus = clip(item.status ?? 'unknown', 60);
  switch (readKnowledgeState(item)) {
    case 'waiting':
      return { status: 'running', vendorStatus };
    case 'done':
      return { status: 'succeeded', vendorStatus, result: { knowledge: toKnowledgeFacts(item) } };
    case 'failed': {
      const details = { knowledgeId: item.id, status: vendorStatus };
      const message = `the knowledge item ended as ${vendorStatus}`;
      return { status: 'failed', vendorStatus, error: { code: 'vendor_job_failed', message, details } };
    }
  }
}

/** What an event tells of a knowledge item; its description carries our mark and may be long. */
export function toKnowledgeFacts(item: WireKnowledge): JsonObject {
  return {
    id: item.id,
    title: item.title ?? null,
    type: item.type ?? null,
    status: item.status ?? null,
    processedAt: item.processedAt ?? null,
  };
}
