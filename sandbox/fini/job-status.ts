import { randomUUID } from 'node:crypto';
import { disturbedRows } from '../faults/row-faults.ts';
import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { invalidReply, plainError } from './errors.ts';
import { read, statusBody } from './input.ts';
import type { FiniJob } from './model.ts';
import type { FiniParts, FiniRequest } from './parts.ts';
import { statusRow } from './render.ts';

/**
 * POST /v2/knowledge/public/jobs/status. One id that is unknown, of another workspace or no generation fails the whole
 * request with 404, and the answer does not say which. Rows come in no promised order.
 */
export function jobStatus({ library, work, settings }: FiniParts, { call, grant, faults, body }: FiniRequest): Reply {
  const asked = read(statusBody, body);
  if (Array.isArray(asked)) return invalidReply(asked, settings());
  const { maxStatusIds } = settings();
  if (maxStatusIds !== null && asked.jobIds.length > maxStatusIds) {
    return invalidReply([`jobIds must contain at most ${maxStatusIds} elements`], settings());
  }
  const jobs = new Set<FiniJob>();
  let isUnknown = false;
  let isUnreadable = false;
  const strike = (name: string) => {
    if (!call.faultNames.includes(name)) call.faultNames.push(name);
  };
  for (const id of new Set(asked.jobIds)) {
    const job = library.job(id);
    if (job === undefined || job.kind !== 'generation' || job.workspace !== grant.workspace) {
      isUnknown = true;
      continue;
    }
    jobs.add(job);
    work.look(job);
    const hidden = absence(job);
    if (hidden !== null) {
      strike(hidden);
      isUnknown = true;
    }
    const unreadable = traitOf(job.faults, 'unreadable-job');
    if (unreadable !== undefined && (unreadable === '0' || job.lookups <= Number(unreadable))) {
      strike('unreadable-job');
      isUnreadable = true;
    }
  }
  if (isUnknown) return plainError(404, 'One or more jobs were not found', settings());
  if (isUnreadable) return plainError(500, 'Failed to read job status', settings());
  const rows = [...jobs].map(statusRow).sort((one, other) => String(one['id']).localeCompare(String(other['id'])));
  const foreignRow = () => ({ id: randomUUID(), jobStatus: 'COMPLETED', hcArticleId: randomUUID() });
  return json(200, { jobs: disturbedRows<Record<string, unknown>>(rows, faults.active, foreignRow) });
}

/** The fault that makes a job unknown at this look-up, or null. */
export function absence(job: FiniJob): string | null {
  if (job.faults.length === 0) return null;
  if (traitOf(job.faults, 'poison-id') !== undefined) return 'poison-id';
  if (job.lookups <= Number(traitOf(job.faults, 'not-found-first') ?? 0)) return 'not-found-first';
  return job.lookups > Number(traitOf(job.faults, 'gone-after') ?? Infinity) ? 'gone-after' : null;
}
