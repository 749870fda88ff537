import type { Queue } from 'bullmq';
import type { RedisConnection } from '../queues/connection.ts';
import type { QueueRole } from './describe-job.ts';
import { dueAtOf, queueKeys } from '../queues/bullmq-internals/layout.ts';

export interface WatchedQueue {
  queue: Queue;
  /** undefined for a queue of completion events, which the user's own services take from. */
  role: QueueRole | undefined;
}

/** How one queue stands, as `/readyz` and `/metrics` tell it. */
export interface QueueFacts {
  name: string;
  /** `unknown` where Redis does not let us list its clients. */
  workers: number | 'unknown';
  waiting: number;
  delayed: number;
  active: number;
  /** For how long the most overdue delayed job is due, ms; 0 when none is. */
  oldestDueMs: number;
  counts: Readonly<Record<string, number>>;
}

/** How long the list of workers is reused, ms: asking goes through every client of the Redis server. */
const workersMaxAgeMs = 2_000;

/** Reads how queues stand. Many may ask at once; Redis is asked once. */
export class QueueFactsReader {
  readonly #connection: RedisConnection;
  readonly #queues: readonly WatchedQueue[];
  readonly #workers = new Map<string, { at: number; count: Promise<number | 'unknown'> }>();
  #pending: Promise<QueueFacts[]> | undefined;

  constructor(connection: RedisConnection, queues: readonly WatchedQueue[]) {
    this.#connection = connection;
    this.#queues = queues;
  }

  async readAll(): Promise<QueueFacts[]> {
    this.#pending ??= Promise.all(this.#queues.map(({ queue }) => this.#read(queue))).finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #read(queue: Queue): Promise<QueueFacts> {
    const [counts, dueAt, workers] = await Promise.all([
      queue.getJobCounts(),
      this.#readFirstDueAt(queue),
      this.#countWorkers(queue),
    ]);
    return {
      name: queue.name,
      workers,
      waiting: (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0),
      delayed: counts['delayed'] ?? 0,
      active: counts['active'] ?? 0,
      oldestDueMs: dueAt !== undefined ? Math.max(0, Date.now() - dueAt) : 0,
      counts,
    };
  }

  async #readFirstDueAt(queue: Queue): Promise<number | undefined> {
    const [id] = await queue.getRanges(['delayed'], 0, 0, true);
    return id === undefined ? undefined : dueAtOf(await this.#connection.zscore(queue.toKey(queueKeys.delayed), id));
  }

  async #countWorkers(queue: Queue): Promise<number | 'unknown'> {
    const known = this.#workers.get(queue.name);
    if (known !== undefined && Date.now() - known.at < workersMaxAgeMs) return known.count;
    const count = queue.getWorkers().then(
      // Where CLIENT LIST is not offered, BullMQ answers with an entry that has no address.
      (clients) => {
        const connected = clients.filter((client) => client['addr'] !== undefined && client['addr'] !== '');
        return clients.length > 0 && connected.length === 0 ? ('unknown' as const) : connected.length;
      },
      () => 'unknown' as const,
    );
    this.#workers.set(queue.name, { at: Date.now(), count });
    return count;
  }
}
