import type { JobFilter, JobView } from '../vendor-double.ts';
import type { KnowhereJob } from './job.ts';
import type { JobStore } from './job-store.ts';

/** A job as the control routes show it. */
export function jobView(jobs: JobStore, job: KnowhereJob): JobView {
  const now = jobs.standing(job);
  return {
    vendor: 'knowhere',
    id: job.id,
    status: now.status,
    isTerminal: 'end' in now,
    createdAt: new Date(job.createdAtMs).toISOString(),
    endedAt: 'end' in now ? new Date(now.end.atMs).toISOString() : null,
    dataId: job.dataId,
    source: sourceOf(job),
    lookups: job.lookups,
    faults: job.faults.map((fault) => fault.definition.name),
  };
}

/** For the control routes: jobs that fit, newest first. */
export function selectedJobs(jobs: JobStore, filter: JobFilter): { total: number; jobs: JobView[] } {
  const fitting: KnowhereJob[] = [];
  for (const job of jobs.newestFirst()) if (fits(jobs, job, filter)) fitting.push(job);
  const offset = filter.offset ?? 0;
  const page = fitting.slice(offset, offset + (filter.limit ?? 100));
  return { total: fitting.length, jobs: page.map((job) => jobView(jobs, job)) };
}

function fits(jobs: JobStore, job: KnowhereJob, { dataId, source, status, isTerminal }: JobFilter): boolean {
  if (dataId !== undefined && job.dataId !== dataId) return false;
  if (source !== undefined && !sourceOf(job).includes(source)) return false;
  // Asked last: there are tens of thousands of jobs, and how one stands has to be computed.
  if (status === undefined && isTerminal === undefined) return true;
  const now = jobs.standing(job);
  return (status === undefined || now.status === status) && (isTerminal === undefined || 'end' in now === isTerminal);
}

function sourceOf(job: KnowhereJob): string {
  return job.sourceUrl ?? job.fileName;
}
