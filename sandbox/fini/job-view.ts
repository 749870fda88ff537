import type { JobFilter, JobView } from '../vendor-double.ts';
import type { Library } from './library.ts';
import type { FiniJob } from './model.ts';
import { shownStatus } from './render.ts';

/** A job as the control routes show it. `dataId` is the id of its record. */
export function shownJob(job: FiniJob): JobView {
  return {
    vendor: 'fini',
    id: job.id,
    status: shownStatus(job) ?? 'none',
    isTerminal: job.phase === 'ended',
    createdAt: new Date(job.createdAtMs).toISOString(),
    endedAt: job.endedAtMs === null ? null : new Date(job.endedAtMs).toISOString(),
    dataId: job.documentId,
    source: job.source,
    lookups: job.lookups,
    faults: job.faults.map((fault) => fault.definition.name),
  };
}

/** For the control routes: jobs that fit, newest first. */
export function selectedJobs(library: Library, filter: JobFilter): { total: number; jobs: JobView[] } {
  const fitting = library.jobsNewestFirst().filter((job) => fits(job, filter));
  const offset = filter.offset ?? 0;
  return { total: fitting.length, jobs: fitting.slice(offset, offset + (filter.limit ?? 100)).map(shownJob) };
}

function fits(job: FiniJob, { dataId, source, status, isTerminal }: JobFilter): boolean {
  return (
    (dataId === undefined || job.documentId === dataId) &&
    (source === undefined || job.source.includes(source)) &&
    (status === undefined || shownStatus(job) === status) &&
    (isTerminal === undefined || (job.phase === 'ended') === isTerminal)
  );
}
