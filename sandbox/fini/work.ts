import { createHash, randomUUID } from 'node:crypto';
import { DueQueue } from '../due-queue.ts';
import type { BoundFault } from '../faults/definition.ts';
import { traitOf } from '../faults/traits.ts';
import type { WorkClock } from '../work-clock.ts';
import type { Library } from './library.ts';
import type { FiniJob, FiniRecord, Generation } from './model.ts';
import type { FiniSettings } from './settings.ts';
import { ingestionOutcome, generationOutcome } from './outcome.ts';

interface Step {
  readonly job: FiniJob;
  readonly to: 'shown' | 'running' | 'ended';
}

export interface NewJob {
  readonly kind: FiniJob['kind'];
  readonly workspace: string;
  readonly source: string;
  readonly faults: readonly BoundFault[];
  readonly record: FiniRecord | null;
  readonly generation: Omit<Generation, 'articleId'> | null;
}

/**
 * Queues jobs and moves them on. Steps are laid out in work time when a job is queued and carried out by the first
 * request that comes after their instant; nothing here sets a timer.
 */
export class Work {
  readonly #clock: WorkClock;
  readonly #library: Library;
  readonly #settings: () => FiniSettings;
  readonly #steps = new DueQueue<Step>();

  constructor(clock: WorkClock, library: Library, settings: () => FiniSettings) {
    this.#clock = clock;
    this.#library = library;
    this.#settings = settings;
  }

  /** Queues a job now. An ingestion becomes the run that its record shows, at once or after the stale time. */
  queue({ kind, workspace, source, faults, record, generation }: NewJob): FiniJob {
    const job: FiniJob = {
      id: randomUUID(),
      kind,
      workspace,
      documentId: record?.id ?? null,
      source: source.slice(0, 300),
      createdAtMs: Date.now(),
      phase: 'pending',
      endedAs: null,
      startedAtMs: null,
      endedAtMs: null,
      faults,
      lookups: 0,
      generation: generation === null ? null : { ...generation, articleId: null },
    };
    this.#library.addJob(job);
    const { ingestionMs, generationMs, staleAfterRefreshMs } = this.#settings();
    let at = this.#clock.workAt(Date.now());
    if (kind === 'ingestion' && record !== null) {
      const stale = traitOf(faults, 'stale-completed');
      const staleMs = record.run === null ? 0 : Number(stale ?? staleAfterRefreshMs);
      if (staleMs > 0) {
        job.phase = 'hidden';
        record.next = job;
        at += staleMs;
        this.#steps.add(at, { job, to: 'shown' });
      } else {
        this.#show(job, record, Date.now());
      }
    }
    // Counted by look-ups: the clock has no say.
    if (traitOf(faults, 'done-after') !== undefined) return job;
    const { pending, running } = lengths(job, kind === 'ingestion' ? ingestionMs : generationMs);
    this.#steps.add(at + pending, { job, to: 'running' });
    this.#steps.add(at + pending + running, { job, to: 'ended' });
    return job;
  }

  /** Carries out every step whose instant has come. Called before anything is read. */
  settle(): void {
    const nowMs = Date.now();
    const workMs = this.#clock.workAt(nowMs);
    for (let step = this.#steps.next(workMs); step !== undefined; step = this.#steps.next(workMs)) {
      const atMs = Math.min(nowMs, this.#clock.wallAt(step.at));
      const { job, to } = step.item;
      if (job.phase === 'ended') continue;
      if (to === 'shown') this.#showHidden(job, atMs);
      else if (traitOf(job.faults, 'pending-forever') !== undefined) continue;
      else if (to === 'running') this.#start(job, atMs);
      else if (traitOf(job.faults, 'in-progress-forever') === undefined) this.end(job, atMs);
    }
  }

  /** Counts one look-up of a job, which may be the one that ends it. */
  look(job: FiniJob): void {
    job.lookups += 1;
    const wanted = traitOf(job.faults, 'done-after');
    if (wanted === undefined || job.phase === 'ended') return;
    if (job.phase === 'hidden') this.#showHidden(job, Date.now());
    if (traitOf(job.faults, 'pending-forever') !== undefined) return;
    if (job.lookups * 2 >= Number(wanted) && job.phase === 'pending') this.#start(job, Date.now());
    if (job.lookups < Number(wanted) || traitOf(job.faults, 'in-progress-forever') !== undefined) return;
    this.end(job, Date.now());
  }

  /** Ends a job and applies what it changes. `forced` comes from the control routes and wins over faults. */
  end(job: FiniJob, atMs: number, forced?: { readonly isDone: boolean; readonly text?: string | undefined }): void {
    const record = job.documentId === null ? undefined : this.#library.record(job.documentId);
    if (job.phase === 'hidden') this.#showHidden(job, atMs);
    job.startedAtMs ??= atMs;
    job.endedAtMs = atMs;
    job.phase = 'ended';
    if (job.kind === 'generation') job.endedAs = generationOutcome(job, record, this.#library, atMs, forced);
    else job.endedAs = record?.run === job ? ingestionOutcome(job, record, forced) : 'SUPERSEDED';
    if (record !== undefined && (job.kind === 'generation' || record.run === job)) this.#library.touch(record, atMs);
  }

  clear(): void {
    this.#steps.clear();
  }

  #start(job: FiniJob, atMs: number): void {
    job.phase = 'running';
    job.startedAtMs = atMs;
    const record = job.documentId === null ? undefined : this.#library.record(job.documentId);
    if (record?.run === job) this.#library.touch(record, atMs);
  }

  #showHidden(job: FiniJob, atMs: number): void {
    const record = job.documentId === null ? undefined : this.#library.record(job.documentId);
    if (record?.next === job) this.#show(job, record, atMs);
    else job.phase = 'pending';
  }

  #show(job: FiniJob, record: FiniRecord, atMs: number): void {
    const former = record.run;
    if (former !== null && former.phase !== 'ended') {
      former.phase = 'ended';
      former.endedAs = 'SUPERSEDED';
      former.endedAtMs = atMs;
    }
    job.phase = 'pending';
    record.shownJobId = former !== null && this.#settings().refreshKeepsJobId ? (record.shownJobId ?? former.id) : null;
    record.run = job;
    record.next = null;
    record.error = '';
    this.#library.touch(record, atMs);
  }
}

function lengths(job: FiniJob, usual: { pending: number; running: number }): { pending: number; running: number } {
  const fixed = traitOf(job.faults, 'duration');
  const long = traitOf(job.faults, 'pending-long');
  const spread = 0.75 + fraction(job.source) * 0.5;
  let pending = usual.pending * spread;
  let running = usual.running * spread;
  if (fixed !== undefined) {
    const part = pending + running === 0 ? 0 : pending / (pending + running);
    pending = Number(fixed) * part;
    running = Number(fixed) - pending;
  }
  return { pending: long === undefined ? pending : Number(long), running };
}

/** A number from 0 to 1 that belongs to a text: each source takes its own time, the same on every run. */
function fraction(text: string): number {
  return createHash('sha1').update(text).digest().readUInt32BE(0) / 4_294_967_296;
}
