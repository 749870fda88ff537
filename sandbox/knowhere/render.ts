import { traitOf } from '../faults/traits.ts';
import type { KnowhereJob, Standing } from './job.ts';
import type { Dialect } from './settings.ts';

/** What a rendering needs besides the job: links and checksum are made by others. */
export interface JobParts {
  readonly standing: Standing;
  /** Present while DOC waits for an upload. */
  readonly uploadUrl: string | null;
  /** Present when done. */
  readonly result: { readonly url: string; readonly expiresAtMs: number; readonly sha256: string } | null;
}

/** Unix ms as DOC writes it: whole seconds, `Z`. */
export function docTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Unix ms as IMPL writes it in Get Job: microseconds, `Z`. */
export function implTime(ms: number): string {
  return `${implNaiveTime(ms)}Z`;
}

/** Unix ms as IMPL writes it in the create answer: UTC, but without saying so. */
export function implNaiveTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000`;
}

/** The answer to a create. */
export function createdJob(job: KnowhereJob, dialect: Dialect, upload: { url: string; seconds: number } | null) {
  const headers = job.upload === null || upload === null ? null : { 'Content-Type': job.upload.contentType };
  if (dialect === 'doc') {
    return {
      job_id: job.id,
      status: job.sourceType === 'url' ? 'pending' : 'waiting-file',
      source_type: job.sourceType,
      data_id: job.dataId,
      created_at: docTime(job.createdAtMs),
      ...(upload === null ? {} : { upload_url: upload.url, upload_headers: headers }),
    };
  }
  return {
    job_id: job.id,
    status: 'waiting-file',
    source_type: job.sourceType,
    data_id: job.dataId,
    namespace: job.namespace,
    document_id: job.documentId,
    created_at: implNaiveTime(job.createdAtMs),
    upload_url: upload?.url ?? null,
    upload_headers: headers,
    expires_in: upload?.seconds ?? null,
  };
}

/** The answer to Get Job, and one item of the job list. */
export function shownJob(job: KnowhereJob, dialect: Dialect, parts: JobParts): Record<string, unknown> {
  return dialect === 'doc' ? docJob(job, parts) : implJob(job, parts);
}

function docJob(job: KnowhereJob, { standing, uploadUrl, result }: JobParts): Record<string, unknown> {
  const shown: Record<string, unknown> = {
    job_id: job.id,
    status: shownStatus(job, standing),
    source_type: job.sourceType,
    data_id: job.dataId,
    created_at: docTime(job.createdAtMs),
  };
  switch (standing.status) {
    case 'waiting-file':
      if (uploadUrl !== null && job.upload !== null) {
        shown['upload_url'] = uploadUrl;
        shown['upload_headers'] = { 'Content-Type': job.upload.contentType };
      }
      break;
    case 'running': {
      const pages = job.material?.pages ?? 1;
      shown['progress'] = progress(job, pages, Math.floor(pages * standing.part));
      break;
    }
    case 'done':
      shown['completed_at'] = docTime(standing.end.atMs);
      if (result !== null) {
        shown['result_url'] = result.url;
        shown['result_url_expires_at'] = docTime(result.expiresAtMs);
        Object.assign(shown, checksumFields(job, 'doc', result.sha256));
      }
      break;
    case 'failed':
      shown['failed_at'] = docTime(standing.end.atMs);
      Object.assign(shown, errorField(job, standing.end.failure));
      break;
    case 'pending':
    case 'converting':
      break;
    default:
      standing satisfies never;
  }
  return shown;
}

function implJob(job: KnowhereJob, { standing, result }: JobParts): Record<string, unknown> {
  const isEnded = 'end' in standing;
  const failure = isEnded ? standing.end.failure : null;
  const seconds = isEnded ? Math.round((standing.end.atMs - job.createdAtMs) / 10) / 100 : null;
  const shown: Record<string, unknown> = {
    job_id: job.id,
    namespace: job.namespace,
    document_id: job.documentId ?? (standing.status === 'done' ? documentIdOf(job) : null),
    status: shownStatus(job, standing),
    source_type: job.sourceType,
    data_id: job.dataId,
    created_at: implTime(job.createdAtMs),
    // A hard-coded placeholder at the vendor, too: it never tells how far the work is.
    progress: standing.status === 'running' ? progress(job, 10, 5) : null,
    error: null,
    result: null,
    result_url: result?.url ?? null,
    // Never null: before the end it repeats the creation.
    result_url_expires_at: implTime(result?.expiresAtMs ?? job.createdAtMs),
    file_name: job.fileName,
    file_extension: job.extension,
    model: job.model,
    ocr_enabled: job.ocrEnabled,
    duration_seconds: seconds,
    credits_spent: standing.status === 'done' ? (job.material?.pages ?? 1) : null,
  };
  if (failure !== null) {
    const { code, message, details } = failure;
    const error = { code, message, request_id: job.id, ...(details === undefined ? {} : { details }) };
    Object.assign(shown, errorField(job, error));
  }
  if (result !== null) {
    shown['result'] = {};
    Object.assign(shown, checksumFields(job, 'impl', result.sha256));
  }
  return shown;
}

/** Pages of a running job. A fault lets them fall, look-up by look-up. */
function progress(job: KnowhereJob, total: number, done: number) {
  const isFalling = traitOf(job.faults, 'progress-goes-down') !== undefined;
  return { total_pages: total, processed_pages: isFalling ? Math.max(0, total - job.workLookups) : done };
}

/** The error of a failed job, or what a fault puts in its place. */
function errorField(job: KnowhereJob, error: { readonly message: string } | null): Record<string, unknown> {
  if (error === null || traitOf(job.faults, 'fail-without-error') !== undefined) return {};
  return { error: traitOf(job.faults, 'fail-with-text') === undefined ? error : error.message };
}

/** Id of the document that a finished job made. */
export function documentIdOf(job: KnowhereJob): string {
  return job.documentId ?? `doc_${job.id.slice('job_'.length)}`;
}

function shownStatus(job: KnowhereJob, { status }: Standing): string {
  if (status !== 'running' || job.faults.length === 0) return status;
  if (traitOf(job.faults, 'status-goes-back') !== undefined && job.lookups % 2 === 0) return 'pending';
  return traitOf(job.faults, 'unknown-status') ?? status;
}

/** The checksum where the dialect has it, or where a fault puts it. */
function checksumFields(job: KnowhereJob, dialect: Dialect, sha256: string): Record<string, unknown> {
  if (traitOf(job.faults, 'no-checksum') !== undefined) return {};
  const isOther = traitOf(job.faults, 'checksum-other-place') !== undefined;
  const isBoth = traitOf(job.faults, 'checksum-both-places') !== undefined;
  let value = sha256;
  if (traitOf(job.faults, 'wrong-checksum') !== undefined) {
    // Every digit differs, and it is still a well-formed hash.
    value = value.replace(/./g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16));
  }
  if (traitOf(job.faults, 'checksum-upper-case') !== undefined) value = value.toUpperCase();
  const inDocPlace = isBoth || (dialect === 'doc') !== isOther;
  const inImplPlace = isBoth || (dialect === 'impl') !== isOther;
  return {
    ...(inDocPlace ? { result_checksum: { algorithm: 'sha256', value } } : {}),
    ...(inImplPlace ? { result: { checksum: value } } : {}),
  };
}
