import type { Redis } from 'ioredis';

export interface Held {
  queue: string;
  jobId: string;
  owners: readonly string[];
}

/** How long one job of a process that died lay idle. */
export interface Sample {
  queue: string;
  jobId: string;
  /** The death of the process that held it, epoch ms. */
  since: number;
  /** Until the dead process's lock was gone, ms. */
  unlockedMs: number;
  /** Until it was back in line, or taken at once, ms. */
  freedMs: number;
  /** Until another process held it, or put it back to its next time, ms. */
  ms: number;
  /** Workers at work when it was taken. */
  able: number;
}

interface Waiting extends Held {
  since: number;
  unlockedMs: number | undefined;
  freedMs: number | undefined;
}

/** Where one job is at the moment. */
interface Standing {
  owner: string | undefined;
  isActive: boolean;
  isWaiting: boolean;
}

const tickMs = 100;
const giveUpMs = 60_000;

/** Measures how long the jobs of a process that died lie idle. */
export class RecoveryWatch {
  readonly samples: Sample[] = [];
  /** Jobs that nobody took again in time. */
  readonly abandoned: Held[] = [];
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues: readonly string[];
  readonly #countAble: () => number;
  readonly #waiting = new Set<Waiting>();
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;

  /**
   * @param redis - a connection of its own, past the proxy, whose commands fail when Redis is away
   * @param countAble - how many workers are at work
   */
  constructor(redis: Redis, prefix: string, queues: readonly string[], countAble: () => number) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#queues = queues;
    this.#countAble = countAble;
    this.#timer = setInterval(() => void this.#look().catch(() => undefined), tickMs);
  }

  /** The jobs that BullMQ workers of these ids hold; every active one where no ids are given. */
  async heldBy(owners?: readonly string[]): Promise<Held[]> {
    const held: Held[] = [];
    for (const queue of this.#queues) {
      const ids = await this.#redis.lrange(`${this.#prefix}:${queue}:active`, 0, -1);
      if (ids.length === 0) continue;
      const locks = await this.#redis.mget(ids.map((id) => `${this.#prefix}:${queue}:${id}:lock`));
      ids.forEach((jobId, at) => {
        const owner = ownerOf(locks[at]);
        if (owners === undefined || (owner !== undefined && owners.includes(owner))) {
          held.push({ queue, jobId, owners: owners ?? [] });
        }
      });
    }
    return held;
  }

  watch(held: readonly Held[], since: number): void {
    for (const one of held) this.#waiting.add({ ...one, since, unlockedMs: undefined, freedMs: undefined });
  }

  stop(): void {
    clearInterval(this.#timer);
    this.abandoned.push(...this.#waiting);
    this.#waiting.clear();
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#waiting.size === 0) return;
    this.#isLooking = true;
    try {
      const waiting = [...this.#waiting];
      const standings = await Promise.all(waiting.map((one) => this.#standingOf(one)));
      const now = Date.now();
      standings.forEach((standing, at) => {
        const one = waiting[at];
        if (one !== undefined) this.#note(one, standing, now);
      });
    } finally {
      this.#isLooking = false;
    }
  }

  async #standingOf({ queue, jobId }: Held): Promise<Standing> {
    const base = `${this.#prefix}:${queue}`;
    const [lock, active, wait] = await Promise.all([
      this.#redis.get(`${base}:${jobId}:lock`),
      this.#redis.lpos(`${base}:active`, jobId),
      this.#redis.lpos(`${base}:wait`, jobId),
    ]);
    return { owner: ownerOf(lock), isActive: active !== null, isWaiting: wait !== null };
  }

  #note(one: Waiting, { owner, isActive, isWaiting }: Standing, now: number): void {
    const ms = now - one.since;
    const isUnlocked = owner === undefined || !one.owners.includes(owner);
    if (isUnlocked) one.unlockedMs ??= ms;
    const isOrphaned = isActive && (owner === undefined || !isUnlocked);
    if (!isOrphaned) one.freedMs ??= ms;
    if ((isOrphaned || isWaiting) && ms < giveUpMs) return;
    this.#waiting.delete(one);
    if (isOrphaned || isWaiting) {
      this.abandoned.push(one);
      return;
    }
    const { queue, jobId, since } = one;
    const able = this.#countAble();
    this.samples.push({ queue, jobId, since, ms, able, unlockedMs: one.unlockedMs ?? ms, freedMs: one.freedMs ?? ms });
  }
}

/** Locks are named `<worker>:<number>`. */
function ownerOf(lock: string | null | undefined): string | undefined {
  return lock?.split(':')[0];
}
