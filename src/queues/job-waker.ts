import type { Queue } from 'bullmq';
import type { Clock } from '../ports/clock.ts';
import type { RedisConnection } from './connection.ts';
import { openQueue } from './open-queue.ts';
import type { JobAddress } from './record-store.ts';

/** A worker that holds the job now may be about to delay it by what it read before. */
const againAfterMs = 1_000;

/** Lets delayed jobs run at once. One queue object per name, opened when first needed. */
export class JobWaker {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #queues = new Map<string, Queue>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(connection: RedisConnection, prefix: string, clock: Clock) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  /** Promotes a job, now and a second later. A job that is not delayed stays as it is. Never rejects. */
  async wake(address: JobAddress): Promise<void> {
    await this.#promote(address);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#promote(address);
    }, againAfterMs).unref();
    this.#timers.add(timer);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  async #promote({ queue: name, jobId }: JobAddress): Promise<void> {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = openQueue(name, this.#connection, this.#prefix, { clock: this.#clock });
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    try {
      await (await queue.getJob(jobId))?.promote();
    } catch {
      // It is in line or in a worker's hands, or Redis is away: it runs by itself.
    }
  }
}
