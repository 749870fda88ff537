import { traitOf } from '../faults/traits.ts';
import type { WorkClock } from '../work-clock.ts';
import type { KnowhereJob } from './job.ts';
import { plannedWork } from './work-plan.ts';

/** Starts the work of a job whose material is there, now. */
export function begin(job: KnowhereJob, clock: WorkClock): void {
  const document = { name: job.sourceUrl ?? job.fileName, extension: job.extension, pages: job.material?.pages ?? 1 };
  const fixed = traitOf(job.faults, 'duration');
  job.plan = plannedWork(clock.workAt(Date.now()), document, job, fixed === undefined ? undefined : Number(fixed));
}
