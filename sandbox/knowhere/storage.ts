import { traitOf } from '../faults/traits.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { withHeaders } from '../http/reply.ts';
import { begin } from './begin.ts';
import { requestIdOf, storageError } from './errors.ts';
import type { KnowhereJob } from './job.ts';
import { uploadMaterial } from './material.ts';
import { struck, type KnowhereParts, type StorageRequest } from './parts.ts';
import type { Upload } from './upload-shelf.ts';

/** The storage behind the links: takes uploads, hands out results. Speaks S3, knows no API key. */

const EXPIRED = ['AccessDenied', 'Request has expired'] as const;
const FORGED = [
  'SignatureDoesNotMatch',
  'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
] as const;
const NO_SUCH_KEY = ['NoSuchKey', 'The specified key does not exist.'] as const;

/** PUT to an upload link. Storage reports it, so the work begins by itself, unless a fault loses the news. */
export async function takeUpload(parts: KnowhereParts, request: StorageRequest): Promise<Reply> {
  const { call } = request;
  if (call.header('authorization') !== undefined) return twoMechanisms(call);
  const job = jobOf(parts, request);
  if (job === undefined) return storageError(call, 403, ...FORGED);
  const check = parts.links.check(call, 'PUT', call.header('content-type') ?? null);
  if (check.kind === 'expired') return storageError(call, 403, ...EXPIRED);
  if (check.kind === 'forged' || struck(request, 'upload-signature') !== undefined) {
    return storageError(call, 403, ...FORGED);
  }
  if (struck(request, 'upload-expired') !== undefined) kill(job, check.serial);
  if (job.deadLinks?.has(check.serial) === true) return storageError(call, 403, ...EXPIRED);
  const refusal = refusedHeaders(call);
  if (refusal !== null) return refusal;
  const cutAfter = struck(request, 'upload-cut');
  const cutAfterBytes = cutAfter === undefined ? null : Number(cutAfter);
  const upload = await parts.uploads.store(call, job.id, parts.settings().maxUploadBytes, cutAfterBytes);
  const unneeded = await noteUpload(parts, job, upload);
  if (unneeded !== null) await parts.uploads.discard(unneeded);
  return { status: 200, headers: { etag: `"${upload.md5}"`, 'x-amz-request-id': requestIdOf(call) }, body: '' };
}

/** GET of a result link. */
export async function giveResult(parts: KnowhereParts, request: StorageRequest): Promise<Reply> {
  const { call } = request;
  if (call.header('authorization') !== undefined) return twoMechanisms(call);
  const check = parts.links.check(call, 'GET', null);
  if (check.kind === 'expired') return storageError(call, 403, ...EXPIRED);
  const job = jobOf(parts, request);
  if (check.kind === 'forged' || job === undefined) return storageError(call, 403, ...FORGED);
  if (struck(request, 'result-expired') !== undefined) kill(job, check.serial);
  if (job.deadLinks?.has(check.serial) === true) return storageError(call, 403, ...EXPIRED);
  const standing = parts.jobs.standing(job);
  if (standing.status !== 'done') return storageError(call, 404, ...NO_SUCH_KEY);
  if (Date.now() < standing.end.atMs + Number(traitOf(job.faults, 'result-late') ?? 0)) {
    call.faultNames.push('result-late');
    return storageError(call, 404, ...NO_SUCH_KEY);
  }
  if (Date.now() > standing.end.atMs + parts.settings().retentionSeconds * 1_000) {
    return storageError(call, 404, ...NO_SUCH_KEY);
  }
  const target = struck(request, 'result-redirect');
  if (target !== undefined) return redirected(call, target);
  if (struck(request, 'result-not-zip') !== undefined) {
    return { status: 200, headers: { 'content-type': 'application/zip' }, body: 'This is not a ZIP archive.\n' };
  }
  let bytes = await parts.archives.bytes(job, standing.end);
  if (struck(request, 'result-corrupt') !== undefined) {
    bytes = Buffer.from(bytes);
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
  }
  return ranged(call, {
    status: 200,
    headers: {
      'content-type': 'application/zip',
      'accept-ranges': 'bytes',
      etag: `"${job.archive?.sha256.slice(0, 32) ?? ''}"`,
      'x-amz-request-id': requestIdOf(call),
    },
    body: bytes,
  });
}

/**
 * A second upload before the work begins takes the place of the first; one after it changes nothing any more.
 * @returns the file that is not needed now, or null
 */
async function noteUpload(
  { clock, settings }: KnowhereParts,
  job: KnowhereJob,
  upload: Upload,
): Promise<string | null> {
  const material = await uploadMaterial(job, upload, settings());
  if (job.plan !== null || job.ended !== null) return upload.path;
  const former = job.material?.path ?? null;
  job.material = material;
  if (traitOf(job.faults, 'upload-unnoticed') === undefined) begin(job, clock);
  return former;
}

function jobOf({ jobs }: KnowhereParts, { admission }: StorageRequest): KnowhereJob | undefined {
  return admission.jobId === null ? undefined : jobs.get(admission.jobId);
}

/** Headers that S3 takes no upload with. */
function refusedHeaders(call: Call): Reply | null {
  const unsigned = Object.keys(call.request.headers).find((name) => name.startsWith('x-amz-'));
  if (unsigned !== undefined) {
    return storageError(
      call,
      403,
      'AccessDenied',
      `There were headers present in the request which were not signed: ${unsigned}`,
    );
  }
  if (call.header('content-length') === undefined && call.header('transfer-encoding') !== undefined) {
    return storageError(
      call,
      501,
      'NotImplemented',
      'A header you provided implies functionality that is not implemented: Transfer-Encoding',
    );
  }
  return null;
}

function kill(job: KnowhereJob, serial: string): void {
  job.deadLinks ??= new Set();
  job.deadLinks.add(serial);
}

/** A bearer token next to a signed query: S3 refuses that outright, and so do we, loudly. */
function twoMechanisms(call: Call): Reply {
  return storageError(
    call,
    400,
    'InvalidArgument',
    'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified. Never send the API key to storage.',
  );
}

function redirected(call: Call, target: string): Reply {
  const { hostname, port } = new URL(call.origin);
  // The same sandbox under its other name: another origin for the client, and the file is there.
  const otherHost = hostname === 'localhost' ? '127.0.0.1' : 'localhost';
  const here = call.path + call.search;
  const locations: Record<string, string> = {
    elsewhere: `http://${otherHost}:${port}${here}`,
    private: 'http://169.254.169.254/latest/meta-data/',
    loop: call.origin + here,
    file: 'file:///etc/hostname',
  };
  return { status: 302, headers: { location: locations[target] ?? '' }, body: '' };
}

/** Serves one byte range, as S3 does, so that clients which resume can be tested. */
function ranged(call: Call, whole: Reply): Reply {
  const match = /^bytes=(\d+)-(\d*)$/.exec(call.header('range') ?? '');
  if (match === null || typeof whole.body === 'string') return whole;
  const size = whole.body.length;
  const from = Number(match[1]);
  const to = Math.min(match[2] === undefined || match[2] === '' ? size - 1 : Number(match[2]), size - 1);
  if (from > to)
    return withHeaders(
      { ...storageError(call, 416, 'InvalidRange', 'The requested range is not satisfiable') },
      { 'content-range': `bytes */${size}` },
    );
  return withHeaders(
    { ...whole, status: 206, body: whole.body.subarray(from, to + 1) },
    { 'content-range': `bytes ${from}-${to}/${size}` },
  );
}
