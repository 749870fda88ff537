import type { JobFilter, JobView } from '../vendor-double.ts';
import { shownStatus } from './background-jobs.ts';
import type { Workflow } from './model.ts';

/** A workflow as the control routes show it. `dataId` is the id of what it works on. */
export function shownWorkflow(workflow: Workflow): JobView {
  return {
    vendor: 'sharely',
    id: workflow.id,
    status: shownStatus(workflow),
    isTerminal: workflow.endedAs !== null,
    createdAt: new Date(workflow.createdAtMs).toISOString(),
    endedAt: workflow.endedAtMs === null ? null : new Date(workflow.endedAtMs).toISOString(),
    dataId: workflow.targetId,
    source: workflow.source,
    lookups: workflow.lookups,
    faults: workflow.faults.map((fault) => fault.definition.name),
  };
}

/** For the control routes: the workflows that fit. */
export function selectedWorkflows(all: readonly Workflow[], filter: JobFilter): { total: number; jobs: JobView[] } {
  const { dataId, source, status, isTerminal } = filter;
  const fitting = all.filter(
    (workflow) =>
      (dataId === undefined || workflow.targetId === dataId) &&
      (source === undefined || workflow.source.includes(source)) &&
      (status === undefined || shownStatus(workflow) === status) &&
      (isTerminal === undefined || (workflow.endedAs !== null) === isTerminal),
  );
  const offset = filter.offset ?? 0;
  return { total: fitting.length, jobs: fitting.slice(offset, offset + (filter.limit ?? 100)).map(shownWorkflow) };
}
