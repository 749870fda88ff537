import * as z from 'zod';
import { clip } from '../../core/json.ts';
import type { ListedVendorJob, LookupContext } from '../../ports/vendor-adapter.ts';
import { call, type SharelyAccount } from './account.ts';
import { oddAnswer } from './lookups.ts';
import { readStatus, wordOf } from './status.ts';
import { workflowRow } from './wire.ts';

/** The vendor documents no bound on this list, and no pages. */
const maxListBytes = 32 * 1024 * 1024;

/**
 * background-jobs without `jobIds`: every workflow recorded for the account's workspace. Rows without a workflow id are
 * left out, and counted in the log.
 * @throws VendorContractError for an answer that is no list of such rows
 * @see docs/vendors/sharely.md
 */
export async function listVendorJobs(context: LookupContext<SharelyAccount>): Promise<readonly ListedVendorJob[]> {
  const { body } = await call(context, context.account.workspaceId, {
    method: 'POST',
    path: 'background-jobs',
    json: {},
    reply: z.unknown(),
    maxBytes: maxListBytes,
  });
  if (!Array.isArray(body)) throw oddAnswer(body);
  const jobs = body.flatMap((row: unknown): ListedVendorJob[] => {
    const parsed = workflowRow.safeParse(row);
    if (!parsed.success) return [];
    const { workflowId, runId, status } = parsed.data;
    const word = wordOf(status ?? {});
    return [
      {
        id: workflowId,
        status: word === undefined ? 'running' : readStatus(word, status?.code).status,
        ...(word === undefined ? {} : { vendorStatus: clip(word, 60) }),
        details: { runId: runId ?? null },
      },
    ];
  });
  const unreadable = body.length - jobs.length;
  if (unreadable > 0) {
    if (jobs.length === 0) throw oddAnswer(body[0]);
    context.logger.warn({ unreadable }, 'background-jobs rows without a workflowId');
  }
  return jobs;
}
