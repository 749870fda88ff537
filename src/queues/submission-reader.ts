import { Job, type Queue } from 'bullmq';
import { describeState } from '../core/describe.ts';
import { nameRun, readRun } from '../core/run-id.ts';
import {
  overallProgress,
  readCancelRequest,
  readState,
  type Resolution,
  type SubmissionState,
} from '../core/submission.ts';
import type { RedisConnection } from './connection.ts';
import { placesOf } from './job-ids.ts';
import { stageQueue, type Stage } from './names.ts';
import { openQueueForReading } from './open-queue.ts';
import { RecordStore } from './record-store.ts';

/** How a submission stands, as `jobferry status` and the library tell it. Times are ISO 8601, UTC. */
export interface SubmissionStatus {
  submissionId: string;
  vendor: string;
  operation: string;
  /** In words. */
  state: string;
  phase: SubmissionState['phase'];
  outcome: string | null;
  error: { code: string; message: string } | null;
  progress: { done: number; total: number } | null;
  polls: number;
  vendorJobs: { id: string; status: string; outcome: string | null }[];
  enqueuedAt: string;
  submittedAt: string | null;
  settledAt: string | null;
  /** When it runs next, where it waits. */
  nextAt: string | null;
  deadlineAt: string | null;
  /** The last lines of its log, oldest first. */
  log: string[];
}

export type ResolveResult = 'resolved' | 'busy' | 'not-waiting' | 'unknown';

export type RetryResult = { kind: 'started'; submissionId: string } | { kind: 'not-over' } | { kind: 'unknown' };

export type CancelResult = 'requested' | 'already-over' | 'unknown';

/** Looks submissions up and leaves cancel requests, from any process. */
export class SubmissionReader {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #store: RecordStore;
  readonly #queues = new Map<string, Queue>();

  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#store = new RecordStore(connection, prefix);
  }

  /** @returns undefined when neither queue knows the submission (any more). */
  async status(vendor: string, submissionId: string): Promise<SubmissionStatus | undefined> {
    for (const { stage, jobId } of placesOf(vendor, submissionId)) {
      const queue = this.#queue(vendor, stage);
      const job = await Job.fromId(queue, jobId);
      if (job === undefined) continue;
      const state = readState(job.progress);
      // A poll job without its record: the submit job still has it.
      if (state === undefined && stage === 'poll') continue;
      const { logs } = await queue.getJobLogs(jobId);
      return toStatus(vendor, submissionId, job, state, logs);
    }
    return undefined;
  }

  /**
   * Asks for a submission to be canceled. It ends as `canceled` within moments, unless it ends in another way first.
   */
  async cancel(vendor: string, submissionId: string, now: number): Promise<CancelResult> {
    let isOver = false;
    let isRequested = false;
    // Twice, because a hand-over between the two looks moves the submission behind our back.
    for (const { stage, jobId } of [...placesOf(vendor, submissionId), ...placesOf(vendor, submissionId)]) {
      const result = await this.#store.requestCancel({ queue: stageQueue(vendor, stage), jobId }, now);
      if (result === 'active') {
        if (stage === 'poll') return 'requested';
        // The hand-over takes a cancel along that it finds. This one can have come just after it: then the poll job gets it.
        isRequested = true;
      }
      if (result === 'over') isOver = true;
      if (result === 'marked') {
        const job = await Job.fromId(this.#queue(vendor, stage), jobId);
        // Only a delayed job can be promoted; one that waits runs soon anyway.
        await job?.promote().catch(() => undefined);
        return 'requested';
      }
    }
    if (isRequested) return 'requested';
    return isOver ? 'already-over' : 'unknown';
  }

  /**
   * Carries a person's decision to a submission whose submit nobody could settle, where the configuration lets it wait.
   */
  async resolve(vendor: string, submissionId: string, resolution: Resolution): Promise<ResolveResult> {
    for (const { stage, jobId } of placesOf(vendor, submissionId)) {
      const result = await this.#store.resolve({ queue: stageQueue(vendor, stage), jobId }, resolution);
      if (result === 'missing') continue;
      if (result === 'active') return 'busy';
      if (result === 'not-waiting') return 'not-waiting';
      const job = await Job.fromId(this.#queue(vendor, stage), jobId);
      await job?.promote().catch(() => undefined);
      return 'resolved';
    }
    return 'unknown';
  }

  /**
   * Starts a settled submission anew, as a submission of its own: `invoice-7` becomes `invoice-7#2`, whose event names
   * the first.
   * @param writer - opens the submit queue for writing.
   */
  async retry(vendor: string, submissionId: string, writer: (queue: string) => Queue): Promise<RetryResult> {
    for (const { stage, jobId } of placesOf(vendor, submissionId)) {
      const job = await Job.fromId(this.#queue(vendor, stage), jobId);
      const state = job === undefined ? undefined : readState(job.progress);
      if (job === undefined || state === undefined) continue;
      if (state.settled === undefined) return { kind: 'not-over' };
      const { first, run } = readRun(submissionId);
      for (let next = run + 1; next < run + 1_000; next += 1) {
        const anew = nameRun(first, next);
        if ((await Promise.all(placesOf(vendor, anew).map((place) => this.#exists(vendor, place)))).some(Boolean))
          continue;
        await writer(stageQueue(vendor, 'submit')).add(job.name, job.data, { jobId: anew });
        return { kind: 'started', submissionId: anew };
      }
    }
    return { kind: 'unknown' };
  }

  async #exists(vendor: string, place: { stage: Stage; jobId: string }): Promise<boolean> {
    return this.#store.exists({ queue: stageQueue(vendor, place.stage), jobId: place.jobId });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #queue(vendor: string, stage: Stage): Queue {
    const name = stageQueue(vendor, stage);
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = openQueueForReading(name, this.#connection, this.#prefix);
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }
}

function toStatus(
  vendor: string,
  submissionId: string,
  job: Job,
  state: SubmissionState | undefined,
  log: string[],
): SubmissionStatus {
  const isWaiting = job.delay > 0 && job.finishedOn === undefined;
  const nextAt = isWaiting ? new Date((job.processedOn ?? job.timestamp) + job.delay).toISOString() : null;
  const iso = (at: number | undefined): string | null => (at === undefined ? null : new Date(at).toISOString());
  const isCanceling = readCancelRequest(job.progress) !== undefined;
  return {
    submissionId,
    vendor,
    operation: job.name,
    state:
      state === undefined
        ? isCanceling
          ? 'waiting to be sent, cancel requested'
          : 'waiting to be sent'
        : describeState(state),
    phase: state?.phase ?? 'received',
    outcome: state?.settled?.outcome ?? null,
    error: state?.settled?.error ?? state?.lastError ?? null,
    progress: (state === undefined ? undefined : overallProgress(state)) ?? null,
    polls: state?.polls ?? 0,
    vendorJobs: (state?.jobs ?? []).map((one) => ({
      id: one.id,
      status: one.vendorStatus ?? one.status,
      outcome: one.outcome ?? null,
    })),
    enqueuedAt: new Date(state?.enqueuedAt ?? job.timestamp).toISOString(),
    submittedAt: iso(state?.submittedAt),
    settledAt: iso(state?.settled?.at),
    nextAt,
    deadlineAt: iso(state?.deadlineAt),
    log,
  };
}
