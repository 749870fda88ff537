import { randomUUID } from 'node:crypto';
import { disturbedRows } from '../faults/row-faults.ts';
import { traitOf } from '../faults/traits.ts';
import { announcesBody } from '../http/json-body.ts';
import { json } from '../http/reply.ts';
import { jobIdsBody, read } from './input.ts';
import type { Workflow } from './model.ts';
import { type Handler, refused } from './parts.ts';

/** Status codes by name; names that are not here get 99. */
const codes: Readonly<Record<string, number>> = {
  UNSPECIFIED: 0,
  RUNNING: 1,
  COMPLETED: 2,
  FAILED: 3,
  CANCELLED: 4,
  CANCELED: 4,
  TERMINATED: 5,
  CONTINUED_AS_NEW: 6,
  TIMED_OUT: 7,
  PAUSED: 8,
};

/**
 * POST /background-jobs: a bare array with an element for each workflow found, in no order that was asked for. Ids that
 * match nothing, or another workspace's workflow, are absent. Without `jobIds`: every workflow of the workspace.
 */
export const backgroundJobs: Handler = (parts, { call, workspace, body, faults }) => {
  // The one field is optional, so a request needs no body.
  const asked = read(jobIdsBody, announcesBody(call) ? body : {});
  if (typeof asked === 'string') return refused(parts, 400, asked);
  const { emptyJobIds, maxJobIds } = parts.settings();
  let { jobIds } = asked;
  if (jobIds?.length === 0) {
    if (emptyJobIds === 'refuse') return refused(parts, 400, 'jobIds must not be empty');
    if (emptyJobIds === 'all') jobIds = undefined;
  }
  if (maxJobIds !== null && (jobIds?.length ?? 0) > maxJobIds) {
    return refused(parts, 400, `jobIds must have at most ${maxJobIds} elements`);
  }
  const workflows =
    jobIds === undefined
      ? parts.workflows.newestFirst()
      : [...new Set(jobIds)].map((id) => parts.workflows.get(id)).filter((workflow) => workflow !== undefined);
  const shown: Workflow[] = [];
  for (const workflow of workflows) {
    if (workflow.workspaceId !== workspace.id) continue;
    if (jobIds !== undefined) parts.workflows.look(workflow);
    const hidden = absence(workflow);
    if (hidden === null) shown.push(workflow);
    else if (!call.faultNames.includes(hidden)) call.faultNames.push(hidden);
  }
  const rows = shown.map(row).sort((one, other) => one.workflowId.localeCompare(other.workflowId));
  const disturbed = disturbedRows<Row>(rows, faults.active, () => ({
    workflowId: randomUUID(),
    status: { code: 2, name: 'COMPLETED' },
    runId: randomUUID(),
  }));
  const isOld = faults.active.some(({ name }) => name === 'old-reply-shape');
  return json(
    200,
    isOld
      ? { jobs: disturbed.map(({ workflowId, status }) => oldRow(workflowId, status.name ?? 'RUNNING')) }
      : disturbed,
  );
};

/** The status word that background-jobs shows. */
export function shownStatus(workflow: Workflow): string {
  const stays = traitOf(workflow.faults, 'workflow-stays-as');
  if (workflow.endedAs !== null) return workflow.endedAs;
  return stays ?? traitOf(workflow.faults, 'workflow-runs-as') ?? 'RUNNING';
}

/** The fault that keeps a workflow out of the answer, or null. */
function absence({ faults, lookups }: Workflow): string | null {
  if (faults.length === 0) return null;
  if (traitOf(faults, 'vanish') !== undefined) return 'vanish';
  // A list of all counts no look-up, so there can be none yet.
  const late = traitOf(faults, 'visible-late');
  if (late !== undefined && lookups <= Number(late)) return 'visible-late';
  return lookups > Number(traitOf(faults, 'vanish-after') ?? Infinity) ? 'vanish-after' : null;
}

interface Row {
  workflowId: string;
  status: { code?: number; name?: string };
  runId: string;
}

function row(workflow: Workflow): Row {
  workflow.shown += 1;
  let name = shownStatus(workflow);
  const { runId } = workflow;
  if (workflow.shown <= Number(traitOf(workflow.faults, 'continued-as-new') ?? 0)) {
    name = 'CONTINUED_AS_NEW';
    // This run is closed; the next look-up finds another one under the same workflow id.
    workflow.runId = randomUUID();
  }
  const code = Number(traitOf(workflow.faults, 'code-mismatch') ?? codes[name] ?? 99);
  const only = traitOf(workflow.faults, 'status-only');
  const status = only === 'code' ? { code } : only === 'name' ? { name } : { code, name };
  return { workflowId: workflow.id, status, runId };
}

function oldRow(id: string, status: string): Record<string, unknown> {
  return { id, status, type: 'ROLE_ASSIGNMENT', createdAt: new Date().toISOString(), progress: null, result: null };
}
