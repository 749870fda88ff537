import type { DoubleContext } from '../double-context.ts';
import { FaultCatalogue } from '../faults/catalogue.ts';
import type { BoundFault, Refusal } from '../faults/definition.ts';
import { MarkedTexts } from '../faults/marked-texts.ts';
import { bearerToken } from '../http/bearer.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import type { Admission, JobEnding, JobFilter, JobView, VendorDouble, VendorFaults } from '../vendor-double.ts';
import { VendorSettings } from '../vendor-settings.ts';
import { userOf } from './api-key.ts';
import { ArchiveShelf } from './archive.ts';
import { createJob } from './create.ts';
import { submittedNames } from './create-input.ts';
import { apiRefusal, errorReply, storageRefusal } from './errors.ts';
import { knowhereFaults, knowhereRoutes, type KnowhereRoute, type StorageRoute } from './faults.ts';
import { withApiHeaders } from './headers.ts';
import { end, scriptedFailure, standing } from './job.ts';
import { JobStore } from './job-store.ts';
import { jobView, selectedJobs } from './job-view.ts';
import { LinkSigner } from './links.ts';
import { listJobs } from './list.ts';
import { confirmUpload, deleteJob, lookUpJob } from './one-job.ts';
import type { Handler, KnowhereParts, KnowhereRequest, StorageHandler } from './parts.ts';
import { RateLimits } from './rate-limits.ts';
import { routeOf } from './route.ts';
import { changedKnowhereSettings, defaultKnowhereSettings, dialectOf, type KnowhereSettings } from './settings.ts';
import { giveResult, takeUpload } from './storage.ts';
import { UploadShelf } from './upload-shelf.ts';

/** Plays Knowhere's document parsing API; facts in docs/vendors and the vendor's own pages. */
export function knowhereDouble(context: DoubleContext): VendorDouble {
  return new KnowhereDouble(context);
}

const handlers: Readonly<Record<Exclude<KnowhereRoute, StorageRoute>, Handler>> = {
  create: createJob,
  lookup: lookUpJob,
  list: listJobs,
  confirm: confirmUpload,
  delete: deleteJob,
};

const storageHandlers: Readonly<Record<StorageRoute, StorageHandler>> = {
  upload: takeUpload,
  result: giveResult,
};

/** DOC has two endpoints; the others exist in the implementation only. */
const documentedRoutes: ReadonlySet<string> = new Set<KnowhereRoute>(['create', 'lookup']);

class KnowhereDouble implements VendorDouble {
  readonly name = 'knowhere';
  readonly basePaths = ['knowhere', 'knowhere-doc', 'knowhere-impl'] as const satisfies [string, ...string[]];
  readonly catalogue = new FaultCatalogue(knowhereFaults, [...knowhereRoutes]);
  readonly settings: VendorSettings<KnowhereSettings>;
  readonly #parts: KnowhereParts;

  constructor({ clock, faults, options }: DoubleContext) {
    const defaults = defaultKnowhereSettings(options.dialect ?? 'impl');
    this.settings = new VendorSettings(defaults, changedKnowhereSettings, options.settings?.['knowhere']);
    const settings = () => this.settings.current;
    this.#parts = {
      clock,
      jobs: new JobStore((job) => standing(job, Date.now(), clock, settings())),
      limits: new RateLimits(),
      links: new LinkSigner(),
      uploads: new UploadShelf(),
      archives: new ArchiveShelf(),
      marks: new MarkedTexts(this.name, faults, this.catalogue),
      board: faults,
      settings,
    };
  }

  async admit(call: Call): Promise<Admission> {
    const { route, jobId } = routeOf(call);
    const { jobs, marks } = this.#parts;
    const apiKey = bearerToken(call);
    if (route === 'create') {
      // Read before any fault is chosen, because it may hold markers; not validated yet.
      const { sourceUrl, fileName, dataId } = submittedNames(await call.text());
      const faults = marks.ofNames([sourceUrl, fileName, dataId].filter((name) => name !== null));
      return { route, jobId, dataId, source: sourceUrl ?? fileName, apiKey, faults };
    }
    const job = jobId === null ? undefined : jobs.get(jobId);
    return { route, jobId, dataId: job?.dataId ?? null, source: null, apiKey, faults: job?.faults ?? [] };
  }

  async handle(call: Call, admission: Admission, faults: VendorFaults): Promise<Reply> {
    const route = admission.route as KnowhereRoute | 'unknown';
    if (isStorage(route)) return storageHandlers[route](this.#parts, { call, admission, faults });
    const user = userOf(admission.apiKey);
    const request = { call, admission, faults, dialect: dialectOf(call, this.settings.current), user: user ?? '' };
    const reply =
      user === null
        ? errorReply(call, 401, 'UNAUTHENTICATED', 'Invalid or missing API key')
        : await this.#reply(request, route);
    return withApiHeaders(this.#parts, request, reply);
  }

  refuse(refusal: Refusal, call: Call, { route, jobId }: Admission): Reply {
    return isStorage(route) ? storageRefusal(call, refusal) : apiRefusal(call, refusal, jobId);
  }

  attachFault(jobId: string, fault: BoundFault): boolean {
    const job = this.#parts.jobs.get(jobId);
    if (job === undefined) return false;
    job.faults = [...job.faults, fault];
    return true;
  }

  jobs(filter: JobFilter): { total: number; jobs: JobView[] } {
    return selectedJobs(this.#parts.jobs, filter);
  }

  job(jobId: string): JobView | null {
    const { jobs } = this.#parts;
    const job = jobs.get(jobId);
    return job === undefined ? null : jobView(jobs, job);
  }

  finish(jobId: string, ending: JobEnding): boolean {
    const { jobs } = this.#parts;
    const job = jobs.get(jobId);
    if (job === undefined || 'end' in jobs.standing(job)) return false;
    const failure = ending.outcome === 'done' ? null : scriptedFailure(ending.code ?? 'INTERNAL_ERROR', ending.message);
    end(job, Date.now(), failure);
    return true;
  }

  async clear(): Promise<void> {
    const { jobs, limits, archives, uploads } = this.#parts;
    jobs.clear();
    limits.reset();
    archives.clear();
    await uploads.clear();
  }

  async #reply(request: KnowhereRequest, route: Exclude<KnowhereRoute, StorageRoute> | 'unknown'): Promise<Reply> {
    const { call, dialect, user } = request;
    // The rule for `GET /v1/jobs/*` needs a path behind `/jobs/`, so the list is not under it.
    const isGetJob = route === 'lookup';
    const refusal = this.#parts.limits.refuseRequest(call, user, dialect, isGetJob, this.settings.current);
    if (refusal !== null) return refusal;
    if (route === 'unknown' || (dialect === 'doc' && !documentedRoutes.has(route))) {
      return errorReply(call, 404, 'NOT_FOUND', 'Not Found');
    }
    return handlers[route](this.#parts, request);
  }
}

function isStorage(route: string): route is StorageRoute {
  return route in storageHandlers;
}
