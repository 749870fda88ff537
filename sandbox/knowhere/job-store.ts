import { randomBytes } from 'node:crypto';
import type { KnowhereJob, Standing } from './job.ts';

/** Everything that differs from job to job when it is made. */
export type NewJob = Pick<
  KnowhereJob,
  | 'dialect'
  | 'user'
  | 'sourceType'
  | 'sourceUrl'
  | 'fileName'
  | 'extension'
  | 'dataId'
  | 'namespace'
  | 'documentId'
  | 'model'
  | 'ocrEnabled'
  | 'upload'
  | 'faults'
>;

/** All jobs, in order of creation. Holds tens of thousands: nothing here walks them on a look-up. */
export class JobStore {
  #jobs: KnowhereJob[] = [];
  readonly #byId = new Map<string, KnowhereJob>();
  /** Jobs not yet seen to have ended, by user; pruned when they are counted. */
  readonly #maybeActive = new Map<string, Set<KnowhereJob>>();
  /** How a job stands now. */
  readonly standing: (job: KnowhereJob) => Standing;

  constructor(standing: (job: KnowhereJob) => Standing) {
    this.standing = standing;
  }

  add(fields: NewJob): KnowhereJob {
    const job: KnowhereJob = {
      ...fields,
      id: `job_${randomBytes(6).toString('hex')}`,
      index: this.#jobs.length,
      createdAtMs: Date.now(),
      material: null,
      plan: null,
      ended: null,
      deletedAtMs: null,
      lookups: 0,
      workLookups: 0,
      doneLookups: 0,
      deadLinks: null,
      archive: null,
    };
    this.#jobs.push(job);
    this.#byId.set(job.id, job);
    const active = this.#maybeActive.get(job.user) ?? new Set();
    active.add(job);
    this.#maybeActive.set(job.user, active);
    return job;
  }

  get(id: string): KnowhereJob | undefined {
    return this.#byId.get(id);
  }

  /** Jobs newest first. */
  *newestFirst(): Generator<KnowhereJob> {
    for (let at = this.#jobs.length - 1; at >= 0; at -= 1) {
      const job = this.#jobs[at];
      if (job !== undefined) yield job;
    }
  }

  /** Jobs of a user that have not ended; counting stops at `enough`. */
  active(user: string, enough: number): KnowhereJob[] {
    const found: KnowhereJob[] = [];
    const candidates = this.#maybeActive.get(user) ?? new Set();
    for (const job of candidates) {
      const { status } = this.standing(job);
      if (status === 'done' || status === 'failed' || job.deletedAtMs !== null) candidates.delete(job);
      else found.push(job);
      if (found.length >= enough) break;
    }
    return found;
  }

  clear(): void {
    this.#jobs = [];
    this.#byId.clear();
    this.#maybeActive.clear();
  }
}
