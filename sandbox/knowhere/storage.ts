import type { ActiveFault } from '../faults/definition.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { withHeaders } from '../http/reply.ts';
import type { ArchiveShelf } from './archive.ts';
import { requestIdOf, storageError } from './errors.ts';
import type { KnowhereJob, Standing } from './job.ts';
import { trait } from './job.ts';
import type { LinkSigner } from './links.ts';
import type { KnowhereSettings } from './settings.ts';
import { uploadLinkSeconds } from './settings.ts';
import type { Upload, UploadShelf } from './upload-shelf.ts';

const EXPIRED = ['AccessDenied', 'Request has expired'] as const;
const FORGED = [
  'SignatureDoesNotMatch',
  'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
] as const;

/** The storage behind the links: takes uploads, hands out results. Speaks S3, knows no API key. */
export class Storage {
  readonly #links: LinkSigner;
  readonly #uploads: UploadShelf;
  readonly #archives: ArchiveShelf;

  constructor(links: LinkSigner, uploads: UploadShelf, archives: ArchiveShelf) {
    this.#links = links;
    this.#uploads = uploads;
    this.#archives = archives;
  }

  /** A fresh upload link of a job. DOC shows one in each Get Job, with a life of its own. */
  uploadUrl(call: Call, job: KnowhereJob, settings: KnowhereSettings): string | null {
    if (job.upload === null) return null;
    const path = `/knowhere/_storage/uploads/${job.id}/${encodeURIComponent(job.fileName)}`;
    const expiresAtMs = Date.now() + uploadLinkSeconds(settings, job.dialect) * 1_000;
    return call.origin + this.#links.sign('PUT', path, expiresAtMs, job.upload.contentType);
  }

  /** A fresh result link, and when it ends (Unix ms). */
  resultUrl(call: Call, job: KnowhereJob, settings: KnowhereSettings): { url: string; expiresAtMs: number } {
    const seconds = Number(trait(job, 'result-expires-in') ?? settings.resultLinkSeconds);
    const expiresAtMs = Date.now() + seconds * 1_000;
    const path = `/knowhere/_storage/results/result_${job.id}.zip`;
    return { url: call.origin + this.#links.sign('GET', path, expiresAtMs, null), expiresAtMs };
  }

  /**
   * Takes an upload.
   * @returns the refusal, or what was stored
   */
  async put(
    call: Call,
    job: KnowhereJob | undefined,
    faults: readonly ActiveFault[],
    settings: KnowhereSettings,
  ): Promise<Reply | Upload> {
    if (call.header('authorization') !== undefined) return twoMechanisms(call);
    if (job === undefined) return storageError(call, 403, ...FORGED);
    const check = this.#links.check(call, 'PUT', call.header('content-type') ?? null);
    if (check.kind === 'expired') return storageError(call, 403, ...EXPIRED);
    if (check.kind === 'forged' || has(faults, 'upload-signature')) return storageError(call, 403, ...FORGED);
    if (has(faults, 'upload-expired')) kill(job, check.serial);
    if (job.deadLinks?.has(check.serial) === true) return storageError(call, 403, ...EXPIRED);
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
    const cut = faults.find((fault) => fault.name === 'upload-cut');
    return this.#uploads.store(call, job.id, settings.maxUploadBytes, cut === undefined ? null : Number(cut.argument));
  }

  /** Hands out a result. */
  async get(
    call: Call,
    job: KnowhereJob | undefined,
    standing: Standing | null,
    faults: readonly ActiveFault[],
    settings: KnowhereSettings,
  ): Promise<Reply> {
    if (call.header('authorization') !== undefined) return twoMechanisms(call);
    const check = this.#links.check(call, 'GET', null);
    if (check.kind === 'expired') return storageError(call, 403, ...EXPIRED);
    if (check.kind === 'forged' || job === undefined) return storageError(call, 403, ...FORGED);
    if (has(faults, 'result-expired')) kill(job, check.serial);
    if (job.deadLinks?.has(check.serial) === true) return storageError(call, 403, ...EXPIRED);
    const shownFromMs = standing?.status === 'done' ? standing.end.atMs + Number(trait(job, 'result-late') ?? 0) : 0;
    if (Date.now() < shownFromMs) {
      call.faultNames.push('result-late');
      return storageError(call, 404, 'NoSuchKey', 'The specified key does not exist.');
    }
    const isKept = standing?.status === 'done' && Date.now() <= standing.end.atMs + settings.retentionSeconds * 1_000;
    if (!isKept) return storageError(call, 404, 'NoSuchKey', 'The specified key does not exist.');
    const redirect = faults.find((fault) => fault.name === 'result-redirect');
    if (redirect !== undefined) return redirected(call, redirect.argument);
    if (has(faults, 'result-not-zip')) {
      return { status: 200, headers: { 'content-type': 'application/zip' }, body: 'This is not a ZIP archive.\n' };
    }
    let bytes = await this.#archives.bytes(job, standing.end);
    if (has(faults, 'result-corrupt')) {
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
}

/** What storage answers to an upload that it took. */
export function stored(call: Call, upload: Upload): Reply {
  return { status: 200, headers: { etag: `"${upload.md5}"`, 'x-amz-request-id': requestIdOf(call) }, body: '' };
}

function has(faults: readonly ActiveFault[], name: string): boolean {
  return faults.some((fault) => fault.name === name);
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
