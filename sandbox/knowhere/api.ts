import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { json, withHeaders } from '../http/reply.ts';
import type { Admission, VendorFaults } from '../vendor-double.ts';
import type { ApiParts } from './api-parts.ts';
import { begin } from './begin.ts';
import { createJob } from './create.ts';
import { errorReply, invalidReply, requestIdOf } from './errors.ts';
import type { KnowhereRoute } from './faults.ts';
import { type KnowhereJob, standing, type Standing, trait } from './job.ts';
import { listed, readListQuery } from './list.ts';
import { uploadMaterial } from './material.ts';
import { documentIdOf, shownJob } from './render.ts';
import type { Dialect, KnowhereSettings } from './settings.ts';
import type { Upload } from './upload-shelf.ts';

/** Everything below `/v1`: keys, limits, creates, look-ups, lists. */
export class Api {
  readonly #parts: ApiParts;

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  async reply(call: Call, admission: Admission, dialect: Dialect, faults: VendorFaults): Promise<Reply> {
    const user = userOf(admission.apiKey);
    const reply =
      user === null
        ? errorReply(call, 401, 'UNAUTHENTICATED', 'Invalid or missing API key')
        : await this.#authenticated(call, admission, dialect, user, faults);
    const headers: Record<string, string> = { 'x-request-id': requestIdOf(call) };
    if (dialect === 'doc') Object.assign(headers, this.#parts.limits.docHeaders(user ?? '', this.#settings));
    return deformed(withHeaders(reply, headers), admission.route, faults);
  }

  /**
   * Storage has an upload: the work begins by itself, unless a fault lost the news. A second upload before the work
   * takes the place of the first; one after it changes nothing any more.
   * @returns the file that nobody needs now, or null
   */
  async noteUpload(job: KnowhereJob, upload: Upload): Promise<string | null> {
    const material = await uploadMaterial(job, upload, this.#settings);
    if (job.plan !== null || job.ended !== null) return upload.path;
    const former = job.material?.path ?? null;
    job.material = material;
    if (trait(job, 'upload-unnoticed') === undefined) begin(job, this.#parts.clock);
    return former;
  }

  get #settings(): KnowhereSettings {
    return this.#parts.settings();
  }

  async #authenticated(
    call: Call,
    admission: Admission,
    dialect: Dialect,
    user: string,
    faults: VendorFaults,
  ): Promise<Reply> {
    const { limits } = this.#parts;
    const route = admission.route as KnowhereRoute | 'unknown';
    // The rule for `GET /v1/jobs/*` needs a path behind `/jobs/`, so the list is not under it.
    const refusal = limits.refuseRequest(call, user, dialect, route === 'lookup', this.#settings);
    if (refusal !== null) return refusal;
    // Two endpoints are documented; the others exist in the implementation only.
    if (dialect === 'doc' && route !== 'create' && route !== 'lookup') return notFoundRoute(call);
    switch (route) {
      case 'create':
        return createJob(this.#parts, call, { dialect, user, marked: admission.faults, armed: faults.forJob });
      case 'list':
        return this.#list(call, dialect, user, faults);
      case 'lookup':
        return this.#withJob(call, admission, user, (job) => this.#lookup(call, job, dialect));
      case 'confirm':
        return this.#withJob(call, admission, user, (job) => this.#confirm(call, job, faults));
      case 'delete':
        return this.#withJob(call, admission, user, (job) => deleted(call, job));
      case 'upload':
      case 'result':
      case 'unknown':
        return notFoundRoute(call);
      default:
        return route satisfies never;
    }
  }

  #withJob(
    call: Call,
    admission: Admission,
    user: string,
    act: (job: KnowhereJob) => Promise<Reply> | Reply,
  ): Promise<Reply> | Reply {
    const id = admission.jobId ?? '';
    const job = this.#parts.jobs.get(id);
    if (job === undefined || job.deletedAtMs !== null) return noSuchJob(call, id);
    if (job.user !== user) return errorReply(call, 403, 'PERMISSION_DENIED', 'This job belongs to another user');
    return act(job);
  }

  async #lookup(call: Call, job: KnowhereJob, dialect: Dialect): Promise<Reply> {
    job.lookups += 1;
    const isHidden =
      job.faults.length > 0 &&
      (job.lookups <= Number(trait(job, 'not-found-first') ?? 0) ||
        job.lookups > Number(trait(job, 'gone-after') ?? Infinity));
    if (isHidden) {
      call.faultNames.push(trait(job, 'gone-after') === undefined ? 'not-found-first' : 'gone-after');
      return noSuchJob(call, job.id);
    }
    if (job.plan !== null) job.workLookups += 1;
    return json(200, await this.#shown(call, job, dialect, true));
  }

  async #list(call: Call, dialect: Dialect, user: string, faults: VendorFaults): Promise<Reply> {
    const nowMs = Date.now();
    const query = readListQuery(call.query, nowMs);
    if (Array.isArray(query)) return invalidReply(call, 'impl', query);
    const isEmpty = faults.active.some((fault) => fault.name === 'list-empty');
    const { total, page } = isEmpty
      ? { total: 0, page: [] }
      : listed(this.#parts.jobs, user, query, nowMs, (job) => this.#standing(job));
    return json(200, {
      jobs: await Promise.all(page.map((job) => this.#shown(call, job, dialect, false))),
      total,
      page: query.page,
      page_size: query.pageSize,
      total_pages: Math.ceil(total / query.pageSize),
    });
  }

  #confirm(call: Call, job: KnowhereJob, faults: VendorFaults): Reply {
    if (faults.active.some((fault) => fault.name === 'confirm-settling')) {
      const details = { retry_after: 120 };
      return errorReply(call, 503, 'UNAVAILABLE', 'Job state is settling', details, { 'retry-after': '120' });
    }
    if (this.#standing(job).status === 'waiting-file') {
      if (job.material === null) {
        return invalidReply(call, 'impl', [{ field: 'job_id', description: 'Uploaded file was not found in storage' }]);
      }
      if (job.plan === null) begin(job, this.#parts.clock);
    }
    return json(200, { message: 'Upload confirmed' });
  }

  async #shown(call: Call, job: KnowhereJob, dialect: Dialect, isLookup: boolean): Promise<Record<string, unknown>> {
    const { archives, storage } = this.#parts;
    const now = this.#standing(job);
    let result = null;
    if (now.status === 'done') {
      if (isLookup) job.doneLookups += 1;
      if (job.doneLookups > Number(trait(job, 'done-without-result') ?? 0) || job.faults.length === 0) {
        const sha256 = await archives.sha256(job, now.end);
        result = { ...storage.resultUrl(call, job, this.#settings), sha256 };
      }
    }
    const isWaiting = dialect === 'doc' && now.status === 'waiting-file' && job.plan === null;
    return shownJob(job, dialect, {
      standing: now,
      uploadUrl: isWaiting ? storage.uploadUrl(call, job, this.#settings) : null,
      result,
    });
  }

  #standing(job: KnowhereJob): Standing {
    return standing(job, Date.now(), this.#parts.clock, this.#settings);
  }
}

/** Other ways to say the same that clients meet elsewhere. */
function deformed(reply: Reply, route: string, { active }: VendorFaults): Reply {
  const headers = { ...reply.headers };
  if (active.some((fault) => fault.name === 'reset-in-seconds')) {
    for (const name of ['ratelimit-reset', 'x-ratelimit-reset']) {
      const at = headers[name];
      if (at !== undefined) headers[name] = String(Math.max(0, Number(at) - Math.floor(Date.now() / 1000)));
    }
  }
  const createdAs = active.find((fault) => fault.name === 'created-as');
  const isCreated = createdAs !== undefined && route === 'create' && reply.status < 300;
  return { ...reply, headers, status: isCreated ? Number(createdAs.argument) : reply.status };
}

/**
 * The user that a key belongs to; null when the vendor would not know the key. Any `sk_…` key will do except `sk_bad…`.
 * Limits and jobs are kept per user: `sk_user-anna_…` is anna's, every other key the default user's.
 */
function userOf(apiKey: string | undefined): string | null {
  if (apiKey === undefined || !/^sk_.+/.test(apiKey) || apiKey.startsWith('sk_bad')) return null;
  return /^sk_user-([^_]+)/.exec(apiKey)?.[1] ?? 'default';
}

function deleted(call: Call, job: KnowhereJob): Reply {
  job.deletedAtMs = Date.now();
  const isArchived = call.query.get('archive_document') === 'true';
  return json(200, { job_id: job.id, deleted: true, document_id: documentIdOf(job), document_archived: isArchived });
}

function noSuchJob(call: Call, id: string): Reply {
  return errorReply(call, 404, 'NOT_FOUND', 'Job not found', { resource: 'Job', id });
}

function notFoundRoute(call: Call): Reply {
  return errorReply(call, 404, 'NOT_FOUND', 'Not Found');
}
