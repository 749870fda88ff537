import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { begin } from './begin.ts';
import { errorReply, invalidReply } from './errors.ts';
import type { KnowhereJob } from './job.ts';
import { resultLink, uploadLink } from './job-links.ts';
import { struck, type Handler, type KnowhereParts, type KnowhereRequest } from './parts.ts';
import { documentIdOf, shownJob } from './render.ts';

/** GET /v1/jobs/{id}: Get Job. */
export const lookUpJob = ofJob(async (parts, request, job) => {
  job.lookups += 1;
  const hiding = hidingFault(job);
  if (hiding !== null) {
    request.call.faultNames.push(hiding);
    return noSuchJob(request, job.id);
  }
  if (job.plan !== null) job.workLookups += 1;
  return json(200, await shownAt(parts, request, job, 'lookup'));
});

/** POST /v1/jobs/{id}/confirm-upload: begins the work where storage has not reported the upload. */
export const confirmUpload = ofJob((parts, request, job) => {
  const { call } = request;
  if (struck(request, 'confirm-settling') !== undefined) {
    const details = { retry_after: 120 };
    return errorReply(call, 503, 'UNAVAILABLE', 'Job state is settling', details, { 'retry-after': '120' });
  }
  if (parts.jobs.standing(job).status === 'waiting-file') {
    if (job.material === null) {
      return invalidReply(call, 'impl', [{ field: 'job_id', description: 'Uploaded file was not found in storage' }]);
    }
    if (job.plan === null) begin(job, parts.clock);
  }
  return json(200, { message: 'Upload confirmed' });
});

/** DELETE /v1/jobs/{id}. */
export const deleteJob = ofJob((_parts, { call }, job) => {
  job.deletedAtMs = Date.now();
  const isArchived = call.query.get('archive_document') === 'true';
  return json(200, { job_id: job.id, deleted: true, document_id: documentIdOf(job), document_archived: isArchived });
});

/** A job as a look-up or the list shows it, with fresh links. */
export async function shownAt(
  parts: KnowhereParts,
  { call, dialect }: KnowhereRequest,
  job: KnowhereJob,
  route: 'lookup' | 'list',
): Promise<Record<string, unknown>> {
  const standing = parts.jobs.standing(job);
  let result = null;
  if (standing.status === 'done') {
    if (route === 'lookup') job.doneLookups += 1;
    if (job.doneLookups > Number(traitOf(job.faults, 'done-without-result') ?? 0) || job.faults.length === 0) {
      result = { ...resultLink(parts, call, job), sha256: await parts.archives.sha256(job, standing.end) };
    }
  }
  const isWaiting = dialect === 'doc' && standing.status === 'waiting-file' && job.plan === null;
  return shownJob(job, dialect, { standing, uploadUrl: isWaiting ? uploadLink(parts, call, job) : null, result });
}

/** Finds the job that the request names, if it is the user's. */
function ofJob(
  act: (parts: KnowhereParts, request: KnowhereRequest, job: KnowhereJob) => Promise<Reply> | Reply,
): Handler {
  return (parts, request) => {
    const id = request.admission.jobId ?? '';
    const job = parts.jobs.get(id);
    if (job === undefined || job.deletedAtMs !== null) return noSuchJob(request, id);
    if (job.user !== request.user) {
      return errorReply(request.call, 403, 'PERMISSION_DENIED', 'This job belongs to another user');
    }
    return act(parts, request, job);
  };
}

/** The fault that hides the job from this look-up, or null. */
function hidingFault(job: KnowhereJob): string | null {
  if (job.faults.length === 0) return null;
  const goneAfter = traitOf(job.faults, 'gone-after');
  const isHidden =
    job.lookups <= Number(traitOf(job.faults, 'not-found-first') ?? 0) || job.lookups > Number(goneAfter ?? Infinity);
  if (!isHidden) return null;
  return goneAfter === undefined ? 'not-found-first' : 'gone-after';
}

function noSuchJob({ call }: KnowhereRequest, id: string): Reply {
  return errorReply(call, 404, 'NOT_FOUND', 'Job not found', { resource: 'Job', id });
}
