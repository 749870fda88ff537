import { clip } from '../../core/json.ts';
import type { Logger } from '../../ports/logger.ts';
import type { RedisConnection } from '../../queues/connection.ts';
import type { Doubt } from '../../queues/stray-jobs.ts';
import { StrayWalk, type RestoredJobs } from '../../queues/stray-walk.ts';

/** Looks for jobs in no list when it is time, beside the rounds of its owner, which go on meanwhile. */
export class StraySearch {
  readonly #walk: StrayWalk;
  readonly #logger: Logger;
  readonly #onError: (error: unknown) => void;
  #running: Promise<void> | undefined;
  #isClosed = false;
  /** Something happened here that leaves jobs in no list, and no walk has begun since. */
  #isInDoubt = false;

  constructor(connection: RedisConnection, prefix: string, logger: Logger, onError: (error: unknown) => void) {
    this.#walk = new StrayWalk(connection, prefix);
    this.#logger = logger;
    this.#onError = onError;
  }

  /** Ends a walk that is under way early, and begins none any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  /** Something happened that leaves jobs in no list: the next walk gets its turn sooner. */
  raiseDoubt(): void {
    this.#isInDoubt = true;
  }

  /** Has a queue looked after, by whichever worker walks. */
  async tend(queue: string): Promise<void> {
    await this.#walk.tend(queue);
  }

  /** Begins a walk, where it is time for one. */
  async start(doubt: Doubt = 'none'): Promise<void> {
    if (this.#isClosed || this.#running !== undefined) return;
    if (!(await this.#walk.take(this.#isInDoubt ? 'sure' : doubt))) return;
    this.#isInDoubt = false;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Says which jobs are in line again. */
  tell({ queue, jobIds }: RestoredJobs): void {
    if (jobIds.length === 0) return;
    this.#logger.warn(
      { queue, restored: jobIds.length, jobIds: jobIds.slice(0, 20).map((id) => clip(id, 200)) },
      'jobs without a place in line were put back',
    );
  }

  async #run(): Promise<void> {
    try {
      await this.#walk.run({ isStopped: () => this.#isClosed, onRestored: (restored) => this.tell(restored) });
    } catch (error) {
      this.#isInDoubt = true;
      this.#onError(error);
    }
  }
}
