import { FaultCatalogue } from '../faults/catalogue.ts';
import { commonFaults } from '../faults/common-faults.ts';
import type { BoundFault, Refusal } from '../faults/definition.ts';
import { markersIn, mayHoldMarkers } from '../faults/marker.ts';
import { bearerToken } from '../http/bearer.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import type { Admission, JobEnding, JobFilter, JobView, VendorDouble, VendorFaults } from '../vendor-double.ts';
import { VendorSettings } from '../vendor-settings.ts';
import type { DoubleContext } from '../double-context.ts';
import { Api } from './api.ts';
import { ArchiveShelf } from './archive.ts';
import { apiRefusal, storageRefusal } from './errors.ts';
import { knowhereFaults, knowhereRoutes, type KnowhereRoute } from './faults.ts';
import { end, scriptedFailure, standing, type KnowhereJob } from './job.ts';
import { JobStore } from './job-store.ts';
import { LinkSigner } from './links.ts';
import { RateLimits } from './rate-limits.ts';
import { changedKnowhereSettings, defaultKnowhereSettings, type Dialect, type KnowhereSettings } from './settings.ts';
import { Storage, stored } from './storage.ts';
import { UploadShelf } from './upload-shelf.ts';

const NO_FAULTS: readonly BoundFault[] = [];

/** Plays Knowhere's document parsing API; facts in docs/vendors and the vendor's own pages. */
export function knowhereDouble(context: DoubleContext): VendorDouble {
  return new KnowhereDouble(context);
}

class KnowhereDouble implements VendorDouble {
  readonly name = 'knowhere';
  readonly basePaths = ['knowhere', 'knowhere-doc', 'knowhere-impl'] as const satisfies [string, ...string[]];
  readonly catalogue = new FaultCatalogue([...commonFaults, ...knowhereFaults], [...knowhereRoutes]);
  readonly settings: VendorSettings<KnowhereSettings>;
  readonly #context: DoubleContext;
  readonly #jobs: JobStore;
  readonly #limits = new RateLimits();
  readonly #uploads = new UploadShelf();
  readonly #archives = new ArchiveShelf();
  readonly #storage: Storage;
  readonly #api: Api;

  constructor(context: DoubleContext) {
    const { options } = context;
    this.#context = context;
    const defaults = defaultKnowhereSettings(options.dialect ?? 'impl');
    this.settings = new VendorSettings(defaults, changedKnowhereSettings, options.settings?.['knowhere']);
    this.#jobs = new JobStore((job) => this.#standing(job));
    this.#storage = new Storage(new LinkSigner(), this.#uploads, this.#archives);
    this.#api = new Api({
      clock: context.clock,
      jobs: this.#jobs,
      limits: this.#limits,
      archives: this.#archives,
      storage: this.#storage,
      settings: () => this.settings.current,
    });
  }

  async admit(call: Call): Promise<Admission> {
    const { route, jobId } = routeOf(call);
    const apiKey = bearerToken(call);
    if (route === 'create') return this.#admitCreate(call, apiKey);
    const job = jobId === null ? undefined : this.#jobs.get(jobId);
    return { route, jobId, dataId: job?.dataId ?? null, source: null, apiKey, faults: job?.faults ?? NO_FAULTS };
  }

  async handle(call: Call, admission: Admission, faults: VendorFaults): Promise<Reply> {
    const job = admission.jobId === null ? undefined : this.#jobs.get(admission.jobId);
    switch (admission.route as KnowhereRoute | 'unknown') {
      case 'upload': {
        const taken = await this.#storage.put(call, job, faults.active, this.settings.current);
        if ('status' in taken) return taken;
        const unneeded = job === undefined ? taken.path : await this.#api.noteUpload(job, taken);
        if (unneeded !== null) await this.#uploads.discard(unneeded);
        return stored(call, taken);
      }
      case 'result':
        return this.#storage.get(
          call,
          job,
          job === undefined ? null : this.#standing(job),
          faults.active,
          this.settings.current,
        );
      case 'create':
      case 'lookup':
      case 'list':
      case 'confirm':
      case 'delete':
      case 'unknown':
        return this.#api.reply(call, admission, this.#dialectOf(call), faults);
    }
  }

  refuse(refusal: Refusal, call: Call, { route, jobId }: Admission): Reply {
    const isStorage = route === 'upload' || route === 'result';
    return isStorage ? storageRefusal(call, refusal) : apiRefusal(call, refusal, jobId);
  }

  attachFault(jobId: string, fault: BoundFault): boolean {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return false;
    job.faults = [...job.faults, fault];
    return true;
  }

  jobs(filter: JobFilter): { total: number; jobs: JobView[] } {
    const { total, page } = this.#jobs.select(filter);
    return { total, jobs: page.map((job) => this.#view(job)) };
  }

  job(jobId: string): JobView | null {
    const job = this.#jobs.get(jobId);
    return job === undefined ? null : this.#view(job);
  }

  finish(jobId: string, ending: JobEnding): boolean {
    const job = this.#jobs.get(jobId);
    if (job === undefined || 'end' in this.#standing(job)) return false;
    const failure = ending.outcome === 'done' ? null : scriptedFailure(ending.code ?? 'INTERNAL_ERROR', ending.message);
    end(job, Date.now(), failure);
    return true;
  }

  async clear(): Promise<void> {
    this.#jobs.clear();
    this.#limits.reset();
    this.#archives.clear();
    await this.#uploads.clear();
  }

  /** A create may carry markers, so its body is read before any fault is chosen. */
  async #admitCreate(call: Call, apiKey: string | undefined): Promise<Admission> {
    const fields = submittedTexts(await call.text());
    const texts = [fields.sourceUrl, fields.fileName, fields.dataId].filter((text) => text !== null);
    const marked = texts.filter(mayHoldMarkers);
    const wishes = marked.flatMap(markersIn);
    const faults =
      wishes.length === 0 ? NO_FAULTS : this.#context.faults.forMarkedText(this.name, marked.join('\n'), wishes);
    return {
      route: 'create',
      jobId: null,
      dataId: fields.dataId,
      source: fields.sourceUrl ?? fields.fileName,
      apiKey,
      faults,
    };
  }

  #standing(job: KnowhereJob) {
    return standing(job, Date.now(), this.#context.clock, this.settings.current);
  }

  #dialectOf(call: Call): Dialect {
    const [base] = call.segments;
    if (base === 'knowhere-doc') return 'doc';
    if (base === 'knowhere-impl') return 'impl';
    const asked = call.header('x-sandbox-dialect');
    return asked === 'doc' || asked === 'impl' ? asked : this.settings.current.dialect;
  }

  #view(job: KnowhereJob): JobView {
    const now = this.#standing(job);
    return {
      vendor: this.name,
      id: job.id,
      status: now.status,
      isTerminal: 'end' in now,
      createdAt: new Date(job.createdAtMs).toISOString(),
      endedAt: 'end' in now ? new Date(now.end.atMs).toISOString() : null,
      dataId: job.dataId,
      source: job.sourceUrl ?? job.fileName,
      lookups: job.lookups,
      faults: job.faults.map((fault) => fault.definition.name),
    };
  }
}

/** Route and job of a request, by its path below the base. */
function routeOf(call: Call): { route: KnowhereRoute | 'unknown'; jobId: string | null } {
  const [, version, second, third = '', fourth] = call.segments;
  const depth = call.segments.length;
  if (version === '_storage') {
    if (second === 'uploads' && depth === 5) return { route: 'upload', jobId: third };
    const result = /^result_(job_[0-9a-f]+)\.zip$/.exec(third)?.[1];
    return second === 'results' && result !== undefined
      ? { route: 'result', jobId: result }
      : { route: 'unknown', jobId: null };
  }
  if (version !== 'v1' && version !== 'v2') return { route: 'unknown', jobId: null };
  if (second !== 'jobs') return { route: 'unknown', jobId: null };
  const { method } = call;
  if (depth === 3 && method === 'POST') return { route: 'create', jobId: null };
  if (depth === 3 && method === 'GET') return { route: 'list', jobId: null };
  if (depth === 4 && method === 'GET') return { route: 'lookup', jobId: third };
  if (depth === 4 && method === 'DELETE') return { route: 'delete', jobId: third };
  if (depth === 5 && method === 'POST' && fourth === 'confirm-upload') return { route: 'confirm', jobId: third };
  return { route: 'unknown', jobId: null };
}

/** The texts of a create that may be anything at all: it is not validated yet. */
function submittedTexts(body: string): { sourceUrl: string | null; fileName: string | null; dataId: string | null } {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    value = null;
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const text = (name: string) => {
    const found = fields[name];
    return typeof found === 'string' ? found.slice(0, 4_000) : null;
  };
  return { sourceUrl: text('source_url'), fileName: text('file_name'), dataId: text('data_id') };
}
