import { redactText } from '../../core/redact.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { RedisConnection } from '../../queues/connection.ts';
import { defaultResultQueue } from '../../queues/names.ts';
import { openQueueForReading } from '../../queues/open-queue.ts';
import { QueueGuard } from '../../queues/queue-guard.ts';
import { StrayJobs, type Doubt } from '../../queues/stray-jobs.ts';
import { StraySearch } from './stray-search.ts';
import { UnreadEvents } from './unread-events.ts';

const intervalMs = 10_000;

interface ResultsUpkeepOptions {
  connection: RedisConnection;
  prefix: string;
  /** The queues that events were put on by this process. */
  names: () => readonly string[];
  /** How long events may wait for a consumer, seconds; undefined where they wait for ever. */
  unreadEventsSeconds?: number | undefined;
  clock: Clock;
  logger: Logger;
}

/**
 * Looks after the queues that completion events are put on. They are their consumers' own, but a pause and resume by an older
 * BullMQ client drops events from their lists as it does from ours, and no consumer could find them again.
 */
export class ResultsUpkeep {
  readonly #options: ResultsUpkeepOptions;
  readonly #queues = new Map<string, { guard: QueueGuard; strays: StrayJobs }>();
  readonly #search: StraySearch;
  readonly #unread: UnreadEvents | undefined;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: ResultsUpkeepOptions) {
    this.#options = options;
    const { connection, prefix, logger } = options;
    this.#search = new StraySearch(connection, prefix, logger, (error) =>
      logger.warn({ error: redactText(String(error)) }, 'a look for events in no list was broken off'),
    );
    const { unreadEventsSeconds, clock } = options;
    this.#unread = unreadEventsSeconds === undefined ? undefined : new UnreadEvents(unreadEventsSeconds, clock, logger);
    this.#timer = setInterval(() => void this.#run(), intervalMs).unref();
  }

  /** Begins no further round, and waits for the one that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    void this.#search.close();
    await this.#running;
    // That round may have begun a walk a moment before.
    await this.#search.close();
  }

  async #run(): Promise<void> {
    this.#running ??= this.#once().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #once(): Promise<void> {
    const names = this.#options.names();
    for (const name of this.#unread === undefined ? names : new Set([defaultResultQueue, ...names])) {
      if (this.#isClosed) return;
      try {
        await this.#search.start(await this.#look(name));
      } catch (error) {
        this.#options.logger.warn(
          { queue: name, error: redactText(String(error)) },
          'a results queue was not looked at',
        );
      }
    }
  }

  /** One worker of all looks at a queue. @returns whether events may stand in no list */
  async #look(name: string): Promise<Doubt> {
    const { guard, strays } = this.#open(name);
    if (!(await guard.takeSweep(intervalMs))) return 'none';
    await this.#search.tend(name);
    await strays.unpause();
    await this.#removeUnread(name);
    return strays.doubtOfPause();
  }

  async #removeUnread(name: string): Promise<void> {
    if (this.#unread === undefined) return;
    const { connection, prefix } = this.#options;
    const queue = openQueueForReading(name, connection, prefix);
    queue.on('error', () => undefined);
    try {
      await this.#unread.removeFrom(queue);
    } finally {
      await queue.close();
    }
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
