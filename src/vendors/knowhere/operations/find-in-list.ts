import type * as z from 'zod';
import { VendorContractError, VendorRejectedError } from '../../../core/errors.ts';
import type { Intent } from '../../../core/submission.ts';
import type { ReconcileReply } from '../../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../../timestamps.ts';
import type { Context } from '../account.ts';
import { getJob } from '../get-job.ts';
import type { ParseInput } from '../input.ts';
import { job as wireJob, jobLabel, jobList, type WireJob } from '../wire.ts';
import { dataIdOf } from './data-id.ts';
import { toUpload } from './upload.ts';
import { toRef } from './vendor-ref.ts';

/** Clocks differ, and the list is asked from a time on. */
const clockSkewMs = 10 * 60_000;
const pageSize = 100;
const listPages = 200;

/** The job list is in no documentation, is late at times and empty on a fault: one look proves nothing. */
export async function findInList(context: Context<ParseInput>, intent: Intent): Promise<ReconcileReply> {
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
  if (unreadable > 0) throw new VendorContractError(`${unreadable} rows of the job list cannot be read`);
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
