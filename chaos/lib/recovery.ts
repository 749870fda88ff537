import type { Redis } from 'ioredis';

export interface Held {
  queue: string;
  jobId: string;
  owners: readonly string[];
}

export interface Sample {
  queue: string;
  jobId: string;
  /** From the death of the process that held the job until another one held it, ms. */
  ms: number;
  /** Redis was away meanwhile, so the figure tells nothing of the engine. */
  isSpoilt: boolean;
}

const tickMs = 50;
const giveUpMs = 60_000;

/** Measures how long the jobs of a process that died lie idle. */
export class RecoveryWatch {
  readonly samples: Sample[] = [];
  /** Jobs that nobody took again in time. */
  readonly abandoned: Held[] = [];
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues: readonly string[];
  readonly #waiting = new Set<Held & { since: number; isSpoilt: boolean }>();
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;

  /** @param redis - a connection of its own, past the proxy, whose commands fail when Redis is away */
  constructor(redis: Redis, prefix: string, queues: readonly string[]) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#queues = queues;
    this.#timer = setInterval(() => void this.#look().catch(() => this.spoil()), tickMs);
  }

  /** The jobs that BullMQ workers of these ids hold; every active one where no ids are given. */
  async heldBy(owners?: readonly string[]): Promise<Held[]> {
    const held: Held[] = [];
    for (const queue of this.#queues) {
      const ids = await this.#redis.lrange(`${this.#prefix}:${queue}:active`, 0, -1);
      if (ids.length === 0) continue;
      const locks = await this.#redis.mget(ids.map((id) => `${this.#prefix}:${queue}:${id}:lock`));
      ids.forEach((jobId, at) => {
        const owner = locks[at]?.split(':')[0];
        if (owners === undefined || (owner !== undefined && owners.includes(owner))) {
          held.push({ queue, jobId, owners: owners ?? [] });
        }
      });
    }
    return held;
  }

  watch(held: readonly Held[], since: number): void {
    for (const one of held) this.#waiting.add({ ...one, since, isSpoilt: false });
  }

  /** Redis is away: what is being measured now would measure that. */
  spoil(): void {
    for (const one of this.#waiting) one.isSpoilt = true;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.abandoned.push(...this.#waiting);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#waiting.size === 0) return;
    this.#isLooking = true;
    try {
      for (const one of [...this.#waiting]) {
        const base = `${this.#prefix}:${one.queue}`;
        const [lock, inActive, inWait] = await Promise.all([
          this.#redis.get(`${base}:${one.jobId}:lock`),
          this.#redis.lpos(`${base}:active`, one.jobId),
          this.#redis.lpos(`${base}:wait`, one.jobId),
        ]);
        const owner = lock?.split(':')[0];
        const isOrphaned =
          (inActive !== null && (owner === undefined || one.owners.includes(owner))) || inWait !== null;
        if (isOrphaned && Date.now() - one.since < giveUpMs) continue;
        this.#waiting.delete(one);
        if (isOrphaned) this.abandoned.push(one);
        else {
          const { queue, jobId, isSpoilt } = one;
          this.samples.push({ queue, jobId, ms: Date.now() - one.since, isSpoilt });
        }
      }
    } finally {
      this.#isLooking = false;
    }
  }
}
