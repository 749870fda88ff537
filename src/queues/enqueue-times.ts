import { queueKeys, streamEvents } from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { readEnqueuedAt } from './enqueued-at.ts';

/** Jobs that say they are younger are believed: so little decides nothing. */
const believedMs = 5_000;
/** A clock that is further back is no clock. */
const deadClockMs = 7 * 86_400_000;
const pageSize = 1_000;
/** As many as the stream of a submit queue holds, and some more: BullMQ trims it roughly. */
const maxKnown = 20_000;

/**
 * When jobs were really added to a queue. A job's own timestamp is whatever the clock of its producer said; Redis stamped
 * the event of its addition with the time of its own. That is read only for jobs that seem to have waited.
 */
export class EnqueueTimes {
  readonly #redis: RedisConnection;
  readonly #key: string;
  /** By job id, epoch ms. */
  readonly #known = new Map<string, number>();
  #readTo = '-';
  #reading: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(redis: RedisConnection, prefix: string, queue: string) {
    this.#redis = redis;
    this.#key = `${prefix}:${queue}:${queueKeys.events}`;
  }

  /**
   * @param claimed - the job's timestamp, as it is stored
   * @returns epoch ms, never after `now`
   */
  async enqueuedAt(jobId: string, claimed: string | number | undefined, now: number): Promise<number> {
    const plausible = readEnqueuedAt(claimed, now);
    if (now - plausible < believedMs) return plausible;
    // Also where the id is known: it may have been added again since.
    await this.#readOn();
    const added = this.#known.get(jobId);
    if (added !== undefined) return Math.min(Math.max(added, plausible), now);
    return now - plausible > deadClockMs ? now : plausible;
  }

  /** A reading that is under way can have missed the job: all who ask meanwhile share the one after it. */
  async #readOn(): Promise<void> {
    this.#next ??= (async () => {
      await this.#reading?.catch(() => undefined);
      this.#next = undefined;
      this.#reading = this.#readPages();
      await this.#reading;
    })();
    await this.#next;
  }

  async #readPages(): Promise<void> {
    for (;;) {
      const page = await this.#redis.xrange(this.#key, this.#readTo, '+', 'COUNT', pageSize);
      for (const [entryId, fields] of page) {
        this.#readTo = afterEntry(entryId);
        const entry = toObject(fields);
        const event = entry[streamEvents.eventField];
        const jobId = entry[streamEvents.jobIdField];
        // A job that waits again was added long before; only where the addition is not told, this is the best there is.
        if (
          jobId !== undefined &&
          (event === streamEvents.added || (event === streamEvents.waiting && !this.#known.has(jobId)))
        )
          this.#keep(jobId, Number.parseInt(entryId, 10));
      }
      if (page.length < pageSize) return;
    }
  }

  #keep(jobId: string, at: number): void {
    this.#known.delete(jobId);
    this.#known.set(jobId, at);
    if (this.#known.size <= maxKnown) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}

/** The least id behind this one: Redis before 6.2 has no other way to leave an entry out. */
function afterEntry(entryId: string): string {
  const [ms, sequence] = entryId.split('-');
  return `${ms}-${Number(sequence) + 1}`;
}

function toObject(fields: readonly string[]): Record<string, string | undefined> {
  const named: Record<string, string> = {};
  for (let at = 0; at + 1 < fields.length; at += 2) named[fields[at] ?? ''] = fields[at + 1] ?? '';
  return named;
}
