import type { DoubleContext } from '../double-context.ts';
import { FaultCatalogue } from '../faults/catalogue.ts';
import type { BoundFault, Refusal } from '../faults/definition.ts';
import { MarkedTexts } from '../faults/marked-texts.ts';
import { bearerToken } from '../http/bearer.ts';
import type { Call } from '../http/call.ts';
import { jsonBody, textField, textsField } from '../http/json-body.ts';
import { RequestLimit } from '../http/request-limit.ts';
import type { Reply } from '../http/reply.ts';
import { withHeaders } from '../http/reply.ts';
import type { Admission, JobEnding, JobFilter, JobView, VendorDouble, VendorFaults } from '../vendor-double.ts';
import { VendorSettings } from '../vendor-settings.ts';
import { refusedAccess } from './access.ts';
import { sharelyControls } from './control.ts';
import { hintOf, sharelyRefusal, throttledReply } from './errors.ts';
import { Estate, knowledgeText, roleText, taxonomyText } from './estate.ts';
import { sharelyCreateRoutes, sharelyFaults, sharelyRoutes, type SharelyRoute } from './faults.ts';
import { handlersWith } from './handlers.ts';
import { selectedWorkflows, shownWorkflow } from './job-view.ts';
import { notFound, type Handler, type SharelyParts } from './parts.ts';
import { routeOf, type RouteMatch } from './route.ts';
import { changedSharelySettings, defaultSharelySettings, type SharelySettings } from './settings.ts';
import { exchangeToken } from './token-exchange.ts';
import { Tokens } from './tokens.ts';
import { UploadFiles } from './upload-files.ts';
import { announceUpload } from './upload.ts';
import { Workflows } from './workflows.ts';

/** Plays Sharely's workspace API; facts in docs/vendors and the vendor's own pages. */
export function sharelyDouble(context: DoubleContext): VendorDouble {
  return new SharelyDouble(context);
}

const createRoutes: ReadonlySet<string> = new Set(sharelyCreateRoutes);

class SharelyDouble implements VendorDouble {
  readonly name = 'sharely';
  readonly basePaths = ['sharely'] as const satisfies [string, ...string[]];
  readonly catalogue = new FaultCatalogue(sharelyFaults, [...sharelyRoutes], sharelyCreateRoutes);
  readonly settings: VendorSettings<SharelySettings>;
  readonly controlRoutes;
  readonly #estate = new Estate();
  readonly #workflows: Workflows;
  readonly #tokens = new Tokens();
  readonly #files = new UploadFiles();
  readonly #limit = new RequestLimit();
  readonly #parts: SharelyParts;
  readonly #handlers: Readonly<Record<Exclude<SharelyRoute, 'token'>, Handler>>;

  constructor({ clock, faults, options }: DoubleContext) {
    this.settings = new VendorSettings(defaultSharelySettings, changedSharelySettings, options.settings?.['sharely']);
    const settings = () => this.settings.current;
    this.#workflows = new Workflows(clock, settings);
    this.#parts = {
      estate: this.#estate,
      workflows: this.#workflows,
      tokens: this.#tokens,
      files: this.#files,
      marks: new MarkedTexts(this.name, faults, this.catalogue),
      board: faults,
      settings,
    };
    this.#handlers = handlersWith((rbacStatus) => {
      this.settings.change({ rbacStatus });
    });
    this.controlRoutes = sharelyControls(this.#parts);
  }

  async admit(call: Call): Promise<Admission> {
    const match = routeOf(call);
    const { route, subject } = match;
    const token = bearerToken(call);
    const admission: Admission = {
      route,
      kind: createRoutes.has(route) ? 'create' : route === 'background-jobs' ? 'lookup' : 'other',
      jobId: null,
      dataId: subject || null,
      source: null,
      apiKey: route === 'token' ? call.header('x-api-key') : token,
      faults: [],
    };
    if (route === 'token' || route === 'unknown') return admission;
    if (route === 'background-jobs') {
      const jobIds = textsField(await jsonBody(call), 'jobIds').map((id) => this.#workflows.get(id)?.id ?? id);
      return { ...admission, jobIds, faults: this.#faultsOf(jobIds) };
    }
    const { text, source, dataId, faults } = await this.#subjectOf(call, match);
    const ofRequest = createRoutes.has(route) ? this.#parts.marks.ofRequest([text]) : [];
    return { ...admission, dataId: dataId ?? admission.dataId, source, faults: [...faults, ...ofRequest] };
  }

  async handle(call: Call, admission: Admission, faults: VendorFaults): Promise<Reply> {
    const { route, workspaceId, subject, isBelowV1 } = routeOf(call);
    this.#workflows.settle();
    const reply = await this.#reply(call, admission, faults, { route, workspaceId, subject, isBelowV1 });
    return isBelowV1 ? withHeaders(reply, { 'x-api-version': 'v1' }) : reply;
  }

  refuse(refusal: Refusal, _call: Call, { route }: Admission): Reply {
    return sharelyRefusal(route === 'token' ? 'old' : this.settings.current.errorShape, refusal);
  }

  attachFault(workflowId: string, fault: BoundFault): boolean {
    const workflow = this.#workflows.get(workflowId);
    if (workflow === undefined) return false;
    workflow.faults = [...workflow.faults, fault];
    return true;
  }

  jobs(filter: JobFilter): { total: number; jobs: JobView[] } {
    this.#workflows.settle();
    return selectedWorkflows(this.#workflows.newestFirst(), filter);
  }

  job(workflowId: string): JobView | null {
    this.#workflows.settle();
    const workflow = this.#workflows.get(workflowId);
    return workflow === undefined ? null : shownWorkflow(workflow);
  }

  /** `code` names the status that it fails with. */
  finish(workflowId: string, ending: JobEnding): boolean {
    this.#workflows.settle();
    const workflow = this.#workflows.get(workflowId);
    if (workflow === undefined || workflow.endedAs !== null) return false;
    this.#workflows.end(workflow, Date.now(), ending.outcome === 'done' ? 'COMPLETED' : (ending.code ?? 'FAILED'));
    return true;
  }

  /** Tokens stay good, so that a client with one in its cache can go on. */
  async clear(): Promise<void> {
    this.#estate.clear();
    this.#workflows.clear();
    this.#limit.reset();
    await this.#files.clear();
  }

  async #reply(call: Call, admission: Admission, faults: VendorFaults, match: RouteMatch): Promise<Reply> {
    const { route, workspaceId, subject } = match;
    const organizationId = call.header('organizationid');
    const settings = this.settings.current;
    if (route === 'unknown' && !match.isBelowV1) return notFound(this.#parts, 'Route');
    if (route !== 'token') {
      const names = faults.active.map(({ name }) => name);
      const token = admission.apiKey;
      const refusal = refusedAccess(this.#parts, { token, workspaceId, organizationId, faults: names });
      if (refusal !== null) return refusal;
    }
    const { requestsPerMinute, minuteMs, throttleHint, errorShape } = settings;
    const key = route === 'token' ? admission.apiKey : this.#tokens.grant(admission.apiKey ?? '')?.apiKey;
    const seconds = this.#limit.refuse(key ?? '', requestsPerMinute, minuteMs);
    if (seconds !== null) return throttledReply(errorShape, hintOf(throttleHint, seconds));
    if (route === 'unknown') return notFound(this.#parts, 'Route');
    const hasJson = call.method !== 'GET' && route !== 'knowledge-upload';
    const request = {
      call,
      admission,
      faults,
      workspace: this.#estate.workspace(workspaceId),
      subject,
      organizationId: organizationId ?? '',
      body: hasJson ? await jsonBody(call) : undefined,
    };
    return route === 'token' ? exchangeToken(this.#parts, request) : this.#handlers[route](this.#parts, request);
  }

  /** What a request is about: the text that may hold markers, and the faults of the resource it names. */
  async #subjectOf(
    call: Call,
    { route, workspaceId, subject }: RouteMatch,
  ): Promise<{ text: string; source: string | null; dataId: string | null; faults: readonly BoundFault[] }> {
    const workspace = this.#estate.workspace(workspaceId);
    if (route === 'knowledge-upload') {
      const { file, fields } = await announceUpload(call);
      const title = fields.get('title') ?? file?.fileName ?? null;
      const text = [fields.get('title'), fields.get('description'), file?.fileName].filter(Boolean).join(' ');
      return { text, source: title, dataId: title, faults: [] };
    }
    const role = workspace.roles.get(subject);
    const knowledge = workspace.knowledge.get(subject);
    const taxonomy = workspace.taxonomies.get(subject);
    const ofResource =
      role !== undefined
        ? roleText(role)
        : knowledge !== undefined
          ? knowledgeText(knowledge)
          : taxonomy !== undefined
            ? taxonomyText(taxonomy)
            : '';
    const body = call.method === 'GET' ? undefined : await jsonBody(call);
    const customerRoleId = textField(body, 'customerRoleId');
    const submitted = [textField(body, 'name') ?? textField(body, 'title'), textField(body, 'description')];
    const ofBody = [...submitted, customerRoleId].filter((text) => text !== null).join(' ');
    const source = submitted[0] ?? role?.name ?? knowledge?.title ?? taxonomy?.name ?? customerRoleId;
    const faults = [role, knowledge, taxonomy].flatMap((resource) => resource?.faults ?? []);
    return { text: `${ofBody} ${ofResource}`.trim(), source: source ?? null, dataId: customerRoleId, faults };
  }

  #faultsOf(workflowIds: readonly string[]): BoundFault[] {
    return workflowIds.flatMap(
      (id) => this.#workflows.get(id)?.faults.filter(({ definition }) => definition.scope === 'request') ?? [],
    );
  }
}
