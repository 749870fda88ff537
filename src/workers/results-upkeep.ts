import { redactText } from '../core/redact.ts';
import type { Logger } from '../ports/logger.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { QueueGuard } from '../queues/queue-guard.ts';
import { StrayJobs } from '../queues/stray-jobs.ts';

const intervalMs = 10_000;

export interface ResultsUpkeepOptions {
  connection: RedisConnection;
  prefix: string;
  /** The queues that events were put on by this process. */
  names: () => readonly string[];
  logger: Logger;
}

/**
 * Looks after the queues that completion events are put on. They are their consumers' own, but a pause and resume by an older
 * BullMQ client drops events from their lists as it does from ours, and no consumer could find them again.
 */
export class ResultsUpkeep {
  readonly #options: ResultsUpkeepOptions;
  readonly #queues = new Map<string, { guard: QueueGuard; strays: StrayJobs }>();
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: ResultsUpkeepOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#run(), intervalMs).unref();
  }

  /** Begins no further round, and waits for the one that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#running ??= this.#once().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #once(): Promise<void> {
    for (const name of this.#options.names()) {
      if (this.#isClosed) return;
      try {
        await this.#look(name);
      } catch (error) {
        this.#options.logger.warn(
          { queue: name, error: redactText(String(error)) },
          'a results queue was not looked at',
        );
      }
    }
  }

  async #look(name: string): Promise<void> {
    const { guard, strays } = this.#open(name);
    const restored = await strays.putBack();
    if (restored.length > 0)
      this.#options.logger.warn(
        { queue: name, events: restored.slice(0, 20), count: restored.length },
        'events that stood in no list are in line again',
      );
    // One worker of all does the rest.
    if (!(await guard.takeSweep(intervalMs))) return;
    await strays.unpause();
    if (!(await strays.sawPause()) || !(await strays.takeWalk(true))) return;
    const startedAt = performance.now();
    await strays.walk(() => this.#isClosed);
    await strays.endWalk(performance.now() - startedAt);
  }

  #open(name: string): { guard: QueueGuard; strays: StrayJobs } {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const { connection, prefix } = this.#options;
      queue = { guard: new QueueGuard(connection, prefix, name), strays: new StrayJobs(connection, prefix, name) };
      this.#queues.set(name, queue);
    }
    return queue;
  }
}
