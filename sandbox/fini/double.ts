import type { DoubleContext } from '../double-context.ts';
import { FaultCatalogue } from '../faults/catalogue.ts';
import type { BoundFault, Refusal } from '../faults/definition.ts';
import { MarkedTexts } from '../faults/marked-texts.ts';
import { bearerToken } from '../http/bearer.ts';
import type { Call } from '../http/call.ts';
import { jsonBody, textField, textsField } from '../http/json-body.ts';
import { RequestLimit } from '../http/request-limit.ts';
import type { Reply } from '../http/reply.ts';
import type { Admission, JobEnding, JobFilter, JobView, VendorDouble, VendorFaults } from '../vendor-double.ts';
import { VendorSettings } from '../vendor-settings.ts';
import { grantOf, refusedKey } from './api-key.ts';
import { finiControls } from './control.ts';
import { finiRefusal, hintOf, plainError, throttledReply } from './errors.ts';
import { finiCreateRoutes, finiFaults, finiRoutes, type FiniRoute } from './faults.ts';
import { ingest, refresh } from './ingest.ts';
import { selectedJobs, shownJob } from './job-view.ts';
import { jobStatus } from './job-status.ts';
import { bulk, generate } from './knowledge.ts';
import { Library } from './library.ts';
import { recordText } from './model.ts';
import type { FiniParts, FiniRequest } from './parts.ts';
import { crawl, listResources, registerResources } from './resources.ts';
import { deleteRecords, listRecords, oneRecord } from './records.ts';
import { routeOf } from './route.ts';
import { changedFiniSettings, defaultFiniSettings, type FiniSettings } from './settings.ts';
import { Work } from './work.ts';

/** Plays Fini's documents and knowledge API; facts in docs/vendors and the vendor's own pages. */
export function finiDouble(context: DoubleContext): VendorDouble {
  return new FiniDouble(context);
}

const handlers: Readonly<Record<FiniRoute, (parts: FiniParts, request: FiniRequest) => Reply>> = {
  ingest,
  refresh,
  generate,
  bulk,
  list: listRecords,
  record: oneRecord,
  status: jobStatus,
  resources: listResources,
  register: registerResources,
  crawl,
  delete: deleteRecords,
};

/** Check-jobs is a POST, yet it only reads. */
const readRoutes: ReadonlySet<string> = new Set<FiniRoute>(['list', 'record', 'status', 'resources']);

class FiniDouble implements VendorDouble {
  readonly name = 'fini';
  readonly basePaths = ['fini'] as const satisfies [string, ...string[]];
  readonly catalogue = new FaultCatalogue(finiFaults, [...finiRoutes], finiCreateRoutes);
  readonly settings: VendorSettings<FiniSettings>;
  readonly controlRoutes;
  readonly #library = new Library();
  readonly #work: Work;
  readonly #parts: FiniParts;
  readonly #limit = new RequestLimit();

  constructor({ clock, faults, options }: DoubleContext) {
    this.settings = new VendorSettings(defaultFiniSettings, changedFiniSettings, options.settings?.['fini']);
    const settings = () => this.settings.current;
    this.#work = new Work(clock, this.#library, settings);
    this.#parts = {
      library: this.#library,
      work: this.#work,
      marks: new MarkedTexts(this.name, faults, this.catalogue),
      board: faults,
      settings,
    };
    this.controlRoutes = finiControls(this.#parts);
  }

  async admit(call: Call): Promise<Admission> {
    const { route, subject } = routeOf(call);
    const apiKey = bearerToken(call);
    const admission: Admission = {
      route,
      kind: 'other',
      jobId: null,
      dataId: null,
      source: null,
      apiKey,
      faults: [],
    };
    switch (route) {
      case 'ingest':
      case 'refresh':
      case 'generate':
      case 'bulk':
        return { ...admission, ...this.#create(route, await jsonBody(call), apiKey) };
      case 'record': {
        const record = this.#library.record(subject ?? '');
        const source = record?.originalUrl ?? null;
        return { ...admission, kind: 'lookup', jobId: subject, source, faults: record?.faults ?? [] };
      }
      case 'status': {
        const jobIds = textsField(await jsonBody(call), 'jobIds').map((id) => this.#library.job(id)?.id ?? id);
        return { ...admission, kind: 'lookup', jobIds, faults: this.#faultsOf(jobIds) };
      }
      case 'resources':
      case 'register':
        return { ...admission, dataId: subject };
      case 'list':
      case 'crawl':
      case 'delete':
      case 'unknown':
        return admission;
      default:
        return route satisfies never;
    }
  }

  async handle(call: Call, admission: Admission, faults: VendorFaults): Promise<Reply> {
    const settings = this.settings.current;
    const grant = grantOf(admission.apiKey);
    const route = admission.route as FiniRoute | 'unknown';
    const scope = readRoutes.has(route) ? 'read' : 'write';
    if (grant === null) return refusedKey(grant, scope, settings) ?? notFound(call, settings);
    const { requestsPerMinute, minuteMs, throttleHint } = settings;
    const seconds = this.#limit.refuse(admission.apiKey ?? '', requestsPerMinute, minuteMs);
    if (seconds !== null) return throttledReply(hintOf(throttleHint, seconds));
    if (route === 'unknown') return notFound(call, settings);
    const refusal = refusedKey(grant, scope, settings);
    if (refusal !== null) return refusal;
    const body = call.method === 'GET' ? undefined : await jsonBody(call);
    this.#work.settle();
    return handlers[route](this.#parts, { call, admission, grant, faults, body });
  }

  refuse(refusal: Refusal): Reply {
    return finiRefusal(refusal, this.settings.current);
  }

  attachFault(id: string, fault: BoundFault): boolean {
    this.#work.settle();
    const job = this.#library.job(id);
    const record = this.#library.record(id);
    const run = job ?? record?.next ?? record?.run ?? undefined;
    if (run !== undefined && (job !== undefined || run.phase !== 'ended')) {
      run.faults = [...run.faults, fault];
      return true;
    }
    record?.runFaults.push(fault);
    return record !== undefined;
  }

  jobs(filter: JobFilter): { total: number; jobs: JobView[] } {
    this.#work.settle();
    return selectedJobs(this.#library, filter);
  }

  /** By job id, or by the id of the record whose run it is. */
  job(id: string): JobView | null {
    this.#work.settle();
    const job = this.#jobOf(id);
    return job === undefined ? null : shownJob(job);
  }

  finish(id: string, ending: JobEnding): boolean {
    this.#work.settle();
    const job = this.#jobOf(id);
    if (job === undefined || job.phase === 'ended') return false;
    const text = job.kind === 'generation' ? ending.code : (ending.message ?? ending.code);
    this.#work.end(job, Date.now(), { isDone: ending.outcome === 'done', text });
    return true;
  }

  clear(): Promise<void> {
    this.#library.clear();
    this.#work.clear();
    this.#limit.reset();
    return Promise.resolve();
  }

  #jobOf(id: string) {
    const record = this.#library.record(id);
    return this.#library.job(id) ?? record?.next ?? record?.run ?? undefined;
  }

  /** Reads markers before any fault is chosen; the body is not validated yet. */
  #create(route: (typeof finiCreateRoutes)[number], body: unknown, apiKey: string | undefined): Partial<Admission> {
    const { marks } = this.#parts;
    if (route === 'generate') {
      const [text, documentId] = [textField(body, 'candidateKnowledge') ?? '', textField(body, 'documentId')];
      const source = text.slice(0, 300) || null;
      return { kind: 'create', dataId: documentId, source, faults: marks.ofRequest([text]) };
    }
    const workspace = grantOf(apiKey)?.workspace ?? '';
    const names = route === 'ingest' ? ['documentIdsToAdd', 'documentIdsToRefresh'] : ['documentIds'];
    const submitted = names.flatMap((name) => textsField(body, name));
    const texts = submitted.map((text) => {
      const record = this.#library.record(text) ?? this.#library.recordByUrl(workspace, text);
      return record === undefined ? text : recordText(record);
    });
    // Only the beginning of long lists: the ledger holds no whole body.
    const source = submitted.slice(0, 20).join(' ').slice(0, 1_000) || null;
    return { kind: 'create', source, faults: marks.ofRequest(texts) };
  }

  #faultsOf(jobIds: readonly string[]): BoundFault[] {
    return jobIds.flatMap(
      (id) => this.#library.job(id)?.faults.filter(({ definition }) => definition.scope === 'request') ?? [],
    );
  }
}

function notFound(call: Call, settings: FiniSettings): Reply {
  return plainError(404, `Cannot ${call.method} ${call.path.replace(/^\/fini/, '')}`, settings);
}
