import type { Queue } from 'bullmq';
import type { RedisConnection } from '../queues/connection.ts';
import type { QueueRole } from './describe-job.ts';
import { dueAtOf, queueKeys } from '../queues/bullmq-internals/layout.ts';

export interface WatchedQueue {
  queue: Queue;
  /** Undefined for a results queue, whose consumers are the user's services. */
  role: QueueRole | undefined;
}

/** The state of one queue, as `/readyz` and `/metrics` report it. */
export interface QueueFacts {
  name: string;
  /** `unknown` if Redis does not let us list its clients. */
  workers: number | 'unknown';
  waiting: number;
  delayed: number;
  active: number;
  /** How long the most overdue delayed job has been due, ms; 0 if none is. */
  oldestDueMs: number;
  counts: Readonly<Record<string, number>>;
}

/** How long the list of workers is reused, ms: reading it scans every client of the Redis server. */
const workersMaxAgeMs = 2_000;

/** Reads the state of queues. Concurrent callers share one read. */
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
      // If CLIENT LIST is not available, BullMQ answers with an entry that has no address.
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
