import { createRedisBackend, LockManager, type BackendFactory, type JobJson, type RedisQueueBackend } from 'bullmq';
import type { Clock } from '../ports/clock.ts';

/**
 * What BullMQ does not promise: where its scripts take the time, and how its workers compare it. All of it was read in
 * 6.7; test/unit/bullmq-internals.test.ts fails where an installed version differs.
 */

/** Where in the arguments of a script, keys included, the time of the caller stands. */
export const timePositions: Readonly<Record<string, number>> = {
  moveToActive: 12,
  moveToFinished: 15,
  moveToDelayed: 12,
  moveStalledJobsToWait: 11,
  retryJob: 12,
  moveToWaitingChildren: 9,
  changeDelay: 5,
};

/**
 * A backend for queues and workers that live on `clock`. BullMQ takes the time from each process's own clock: one that is
 * ahead would promote delayed jobs early for all workers, one that is behind would leave them lying.
 */
export function backendOnClock(clock: Clock): BackendFactory<RedisQueueBackend> {
  return (name, options, kind) => {
    const backend = createRedisBackend(name, options, kind);

    const execCommand = backend.execCommand.bind(backend);
    backend.execCommand = (client, command, args: unknown[]): unknown => {
      const position = timePositions[command];
      // In place: BullMQ reads the time of an end back from here.
      if (position !== undefined) args[position] = clock.now();
      return execCommand(client, command, args);
    };

    const addJob = backend.addJobToTransaction.bind(backend);
    backend.addJobToTransaction = async (client, job: JobJson, ...rest) =>
      addJob(client, { ...job, timestamp: clock.now() }, ...rest);

    // A worker compares the time of the next delayed job with its own clock, so that is what it is given.
    const moveToActive = backend.moveToActive.bind(backend);
    backend.moveToActive = async (token, workerName) => toOwnTime(await moveToActive(token, workerName), clock);
    const moveToFinished = backend.moveToFinished.bind(backend);
    backend.moveToFinished = async (jobId, args) => toOwnTime(await moveToFinished(jobId, args), clock);
    const waitForJob = backend.waitForJob.bind(backend);
    backend.waitForJob = async (blockTimeout) => {
      const marker = await waitForJob(blockTimeout);
      return marker === null ? null : { ...marker, score: ownTimeOf(marker.score, clock) };
    };
    return backend;
  };
}

/** `[job, id, rate limit, time of the next delayed job]`, the answer to a request for a job; others pass as they are. */
function toOwnTime(next: unknown[], clock: Clock): unknown[] {
  if (!Array.isArray(next) || next.length < 4) return next;
  return [...next.slice(0, 3), ownTimeOf(Number(next[3] ?? 0), clock)];
}

/** 0 means "at once" and no time. */
function ownTimeOf(at: number, clock: Clock): number {
  return at > 0 ? Math.max(1, Date.now() + at - clock.now()) : at;
}

/** Any time that is long past: to BullMQ's timer such a lock is due. */
const longAgo = 1;

/**
 * Renews locks by elapsed time. BullMQ's own compares the start of a job with the process's clock, and with a clock that is
 * behind, or was set back, it would renew none of them.
 */
export class SteadyLockManager extends LockManager {
  /** By job id: when the lock was taken or last renewed, by the monotonic clock. */
  readonly #renewedAt = new Map<string, number>();

  override trackJob(
    jobId: string,
    token: string,
    _startedAt: number,
    shouldCreateController?: boolean,
  ): ReturnType<LockManager['trackJob']> {
    this.#renewedAt.set(jobId, performance.now());
    return super.trackJob(jobId, token, longAgo, shouldCreateController);
  }

  override untrackJob(jobId: string): void {
    this.#renewedAt.delete(jobId);
    super.untrackJob(jobId);
  }

  protected override async extendLocks(jobIds: string[]): Promise<void> {
    const now = performance.now();
    const due = jobIds.filter((id) => now - (this.#renewedAt.get(id) ?? 0) >= this.opts.lockRenewTime / 2);
    for (const id of jobIds) {
      const tracked = this.trackedJobs.get(id);
      if (tracked !== undefined) tracked.ts = longAgo;
    }
    for (const id of due) this.#renewedAt.set(id, now);
    if (due.length > 0) await super.extendLocks(due);
  }
}
