import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { begin } from './begin.ts';
import { type CreateInput, readCreate } from './create-input.ts';
import { errorReply, invalidReply } from './errors.ts';
import { uploadLink } from './job-links.ts';
import { urlMaterial } from './material.ts';
import { jobFaults, struck, type KnowhereParts, type KnowhereRequest } from './parts.ts';
import { createdJob } from './render.ts';
import { uploadLinkSeconds } from './settings.ts';

/** Work ms that IMPL takes to find out the type of a URL without an extension (it sends a HEAD request). */
const HEAD_REQUEST_MS = 400;

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  md: 'text/markdown',
  txt: 'text/plain',
  csv: 'text/csv',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  xls: 'application/vnd.ms-excel',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  png: 'image/png',
};

/**
 * Creates a job, in the implementation's order: per-minute limit (its slot is used even if the rest refuses),
 * validation, document conflict, jobs at once, daily quota, insert.
 */
export async function createJob(parts: KnowhereParts, request: KnowhereRequest): Promise<Reply> {
  const { call, dialect, user } = request;
  const { limits, jobs, clock } = parts;
  const settings = parts.settings();
  const perMinute = limits.refuseCreate(call, user, dialect, settings);
  if (perMinute !== null) return perMinute;
  const input = readCreate(await call.text(), dialect);
  if (Array.isArray(input)) return invalidReply(call, dialect, input);
  if (input.extension === null && dialect === 'impl') {
    await call.pause(Math.min(2_000, HEAD_REQUEST_MS / clock.speed));
  }
  // No pause from here to the insert: two creates at once must not both pass the same check.
  const conflict = documentConflict(parts, request, input);
  if (conflict !== null) return conflict;
  const active = settings.activeJobs === null ? 0 : jobs.active(user, settings.activeJobs).length;
  const refusal =
    limits.refuseActive(call, active, dialect, settings) ?? limits.refuseDay(call, user, dialect, settings);
  if (refusal !== null) return refusal;

  const { sourceType } = input;
  const extension = input.extension ?? 'pdf';
  const contentType = CONTENT_TYPES[extension] ?? 'application/octet-stream';
  const job = jobs.add({
    ...input,
    extension,
    dialect,
    user,
    upload: sourceType === 'file' ? { contentType } : null,
    faults: jobFaults(parts, request),
  });
  if (sourceType === 'url') {
    job.material = urlMaterial(job, settings);
    begin(job, clock);
  }
  call.jobId = job.id;
  call.jobCreated = true;
  const url = traitOf(job.faults, 'upload-link-missing') === undefined ? uploadLink(parts, call, job) : null;
  const upload = url === null ? null : { url, seconds: uploadLinkSeconds(settings, dialect) };
  const status = struck(request, 'created-as') ?? (dialect === 'doc' && sourceType === 'url' ? 202 : 200);
  return json(Number(status), createdJob(job, dialect, upload));
}

function documentConflict({ jobs }: KnowhereParts, { call, user }: KnowhereRequest, input: CreateInput): Reply | null {
  const { documentId } = input;
  if (documentId === null) return null;
  const maker = jobs.get(documentId.replace(/^doc_/, 'job_'));
  if (maker === undefined || maker.user !== user || jobs.standing(maker).status !== 'done') {
    return errorReply(call, 404, 'NOT_FOUND', 'Document not found', { resource: 'Document', id: documentId });
  }
  if (maker.namespace !== input.namespace) {
    return invalidReply(call, 'impl', [{ field: 'namespace', description: 'Document belongs to another namespace' }]);
  }
  const active = jobs.active(user, Infinity).find((job) => job.documentId === documentId);
  if (active === undefined) return null;
  const message = `Document ${documentId} is being processed by another job. Active job: ${active.id}.`;
  return errorReply(call, 409, 'ABORTED', message, { document_id: documentId });
}
