import { LockManager } from 'bullmq';

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

/** True for errors by which BullMQ says that this worker does not hold the job: the lock ran out, or the job was removed. */
export function isLockLost(error: unknown): boolean {
  return (
    error instanceof Error &&
    /Missing lock|Lock mismatch|not in the active state|Missing key for job|is not locked/i.test(error.message)
  );
}
