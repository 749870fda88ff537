import type { BoundFault } from '../faults/definition.ts';
import type { FaultBoard } from '../faults/fault-board.ts';
import type { MarkedTexts } from '../faults/marked-texts.ts';
import { traitOf } from '../faults/traits.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { Admission, VendorFaults } from '../vendor-double.ts';
import { errorReply } from './errors.ts';
import type { Estate, Workspace } from './estate.ts';
import type { SharelyOperation } from './faults.ts';
import type { Workflow, WorkflowEffect } from './model.ts';
import type { SharelySettings } from './settings.ts';
import type { Tokens } from './tokens.ts';
import type { UploadFiles } from './upload-files.ts';
import type { Workflows } from './workflows.ts';

/** What the routes work with. */
export interface SharelyParts {
  readonly estate: Estate;
  readonly workflows: Workflows;
  readonly tokens: Tokens;
  readonly files: UploadFiles;
  readonly marks: MarkedTexts;
  readonly board: FaultBoard;
  readonly settings: () => SharelySettings;
}

/** One admitted and authorized request. */
export interface SharelyRequest {
  readonly call: Call;
  readonly admission: Admission;
  readonly faults: VendorFaults;
  readonly workspace: Workspace;
  /** Role, knowledge, taxonomy, or customer role id in the path; empty when there is none. */
  readonly subject: string;
  /** As in the request's header. */
  readonly organizationId: string;
  /** The parsed JSON body, if there is one. */
  readonly body: unknown;
}

export type Handler = (parts: SharelyParts, request: SharelyRequest) => Promise<Reply> | Reply;

/** A vendor error in the shape of the settings. */
export function refused({ settings }: SharelyParts, status: number, message: string): Reply {
  return errorReply(settings().errorShape, status, message);
}

export function notFound(parts: SharelyParts, what: string): Reply {
  return refused(parts, 404, `${what} not found`);
}

/** The faults that the workflow of this request gets. */
export function drawnFaults({ board, marks }: SharelyParts, request: SharelyRequest, text: string): BoundFault[] {
  const { call, admission } = request;
  const context = {
    vendor: 'sharely',
    route: admission.route,
    method: call.method,
    jobId: null,
    source: `${text} ${admission.dataId ?? ''}`,
    apiKey: admission.apiKey,
  };
  const drawn = board.strikeJob(context, marks.of(text));
  for (const { definition } of drawn) call.faultNames.push(definition.name);
  return [...drawn, ...marks.forLater(text)];
}

/** Starts the workflow of a request, or joins one, and notes it in the ledger. */
export function startWorkflow(
  { workflows }: SharelyParts,
  { call, admission, workspace }: SharelyRequest,
  targetId: string,
  source: string,
  faults: readonly BoundFault[],
  effect: WorkflowEffect,
): Workflow {
  const operation = admission.route as SharelyOperation;
  const common = { operation, workspaceId: workspace.id, targetId, source, faults };
  const host = traitOf(faults, 'joins-workflow') === undefined ? undefined : workflows.running(common);
  if (host !== undefined) {
    host.joined.push(effect);
    call.jobId = host.id;
    return host;
  }
  const [ending = null, ...others] = traitOf(faults, 'several-workflows')?.split('-') ?? [];
  // The work hangs on the first of them.
  const nothing = { apply: () => undefined };
  const siblings = others.map((other) => workflows.start({ ...common, effect: nothing, ending: other }).id);
  const workflow = workflows.start({ ...common, effect, ending, siblings });
  call.jobId = workflow.id;
  call.jobCreated = true;
  return workflow;
}

/** The answer to a request that started a workflow: its id in the field that settings or a marker want, if any. */
export function startedReply(
  { settings }: SharelyParts,
  workflow: Workflow,
  body: Readonly<Record<string, unknown>>,
  status = settings().replyStatus[workflow.operation],
): Reply {
  const several = workflow.siblings.length === 0 ? undefined : 'workflowIds';
  const marked = traitOf(workflow.faults, 'reply-ids') ?? several;
  const ids = marked ?? settings().replyIds[workflow.operation];
  if (status === 204 && (ids === 'none' || marked === undefined)) return { status, headers: {}, body: '' };
  const named =
    ids === 'workflowId'
      ? { workflowId: workflow.id }
      : ids === 'workflowIds'
        ? { workflowIds: [workflow.id, ...workflow.siblings] }
        : {};
  // Ids need a body, whatever the usual status.
  return json(status === 204 ? 200 : status, { ...named, ...body });
}
