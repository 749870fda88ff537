import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { RedisConnection } from './connection.ts';
import { sharedKey } from './keys.ts';
import { StrayJobs, type Doubt } from './stray-jobs.ts';

/** The part of its rest that must be over before the next walk: 2 % of the time are for walks, 5 % or 20 %. */
const restPart: Readonly<Record<Doubt, number>> = { none: 1, perhaps: 0.4, sure: 0.1 };
/** Its rest is so many times as long as a walk took. */
const restFactor = 50;
const minRestMs = 30_000;
/** A worker that dies in a walk delays the next one by this much, ms. */
const heldMs = 8_000;
const renewMs = 2_000;
/** How long a queue is looked after when no worker has asked for that any more, ms. */
const tendedForMs = 86_400_000;
/** What one walk keeps in memory at a time, in job ids, however many there are. */
const usualLimits = { candidates: 200_000, suspects: 10_000 };

export interface RestoredJobs {
  queue: string;
  jobIds: string[];
}

interface WalkOptions {
  /** Ends the walk early. */
  isStopped?: () => boolean;
  /** Told of jobs as soon as they are in line again. */
  onRestored?: (restored: RestoredJobs) => void;
}

/**
 * The walk over all keys of the database that finds jobs in no list. One walk is for all queues that any worker looks after,
 * and one worker of all makes it: its cost is that of all keys in the database.
 */
export class StrayWalk {
  readonly #redis: RedisConnection & WalkCommands;
  readonly #prefix: string;
  readonly #limits: typeof usualLimits;
  readonly #turnKey: string;
  /** The value of the turn's key while this walk is under way. */
  readonly #token = `under way ${randomUUID()}`;
  readonly #queuesKey: string;

  constructor(redis: RedisConnection, prefix: string, limits = usualLimits) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & WalkCommands;
    this.#prefix = prefix;
    this.#limits = limits;
    this.#turnKey = sharedKey(prefix, 'walk');
    this.#queuesKey = sharedKey(prefix, 'queues');
  }

  /** Has a queue looked after for a day, by whichever worker walks. */
  async tend(queue: string): Promise<void> {
    await this.#redis.jobferryTend(this.#queuesKey, queue, tendedForMs);
  }

  /** @returns whether it is time for a walk, and this caller's turn; then it must be made, with `run`. */
  async take(doubt: Doubt): Promise<boolean> {
    return (await this.#redis.jobferryTakeWalk(this.#turnKey, this.#token, heldMs, restPart[doubt])) === 1;
  }

  /** Walks, and puts back what was found, so that nothing depends on a later call. */
  async run(options: WalkOptions = {}): Promise<void> {
    const startedAt = performance.now();
    const { isStopped = () => false, onRestored = () => undefined } = options;
    const findings = new Findings(this.#limits, isStopped, onRestored);
    const renewal = setInterval(() => {
      this.#redis.jobferryRenewWalk(this.#turnKey, this.#token, heldMs).catch(() => undefined);
    }, renewMs).unref();
    try {
      const marks = new Map<StrayJobs, string>();
      for (const name of await this.#redis.zrange(this.#queuesKey, '0', '-1')) {
        const strays = new StrayJobs(this.#redis, this.#prefix, name);
        marks.set(strays, await strays.lastEvent());
      }
      await this.#walk([...marks.keys()], findings, isStopped);
      if (isStopped()) return;
      // Not before all is in line: until then a pause that was seen is a reason for another worker to walk.
      for (const [strays, mark] of marks) await strays.markHeard(mark);
    } finally {
      clearInterval(renewal);
      const tookMs = performance.now() - startedAt - findings.waitedMs;
      const restMs = Math.round(Math.max(minRestMs, tookMs * restFactor));
      await this.#redis.jobferryEndWalk(this.#turnKey, this.#token, restMs);
    }
  }

  async #walk(all: readonly StrayJobs[], findings: Findings, isStopped: () => boolean): Promise<void> {
    const redis = this.#redis;
    const queues = new Map(all.map((strays) => [strays.queue, strays]));
    // Of a cluster each node lists its own keys; those of one prefix are all on one of them.
    for (const node of redis instanceof Redis ? [redis] : redis.nodes('master')) {
      const keys: AsyncIterable<string[]> = node.scanStream({
        match: `${escapeGlob(this.#prefix)}:*`,
        count: 1_000,
        type: 'hash',
      });
      for await (const page of keys) {
        if (isStopped()) return;
        await Promise.all(
          [...this.#sort(page, queues)].map(async ([strays, ids]) => {
            findings.add(strays, await strays.findUnplaced(ids));
          }),
        );
        await findings.keepSmall();
      }
    }
    await findings.seeToAll();
  }

  /** Ids by their queue, without those of queues that are not looked after. */
  #sort(keys: readonly string[], queues: ReadonlyMap<string, StrayJobs>): Map<StrayJobs, string[]> {
    const sorted = new Map<StrayJobs, string[]>();
    for (const key of keys) {
      // No queue's name has a colon; ids can have some.
      const from = this.#prefix.length + 1;
      const colon = key.indexOf(':', from);
      const strays = colon < 0 ? undefined : queues.get(key.slice(from, colon));
      if (strays === undefined) continue;
      const ids = sorted.get(strays);
      if (ids === undefined) sorted.set(strays, [key.slice(colon + 1)]);
      else ids.push(key.slice(colon + 1));
    }
    return sorted;
  }
}

/** What a walk has found and not seen to yet: little, however much it finds in all. */
class Findings {
  /** For how long it only waited, ms. */
  waitedMs = 0;
  readonly #limits: typeof usualLimits;
  readonly #isStopped: () => boolean;
  readonly #onRestored: (restored: RestoredJobs) => void;
  /** Jobs that are in none of the sorted sets, by queue; the lists may have them. */
  readonly #candidates = new Map<StrayJobs, string[]>();
  #candidateCount = 0;
  /** Queues of which jobs were in no list either, at a first look. */
  readonly #suspicious = new Set<StrayJobs>();
  #suspectCount = 0;

  constructor(limits: typeof usualLimits, isStopped: () => boolean, onRestored: (restored: RestoredJobs) => void) {
    this.#limits = limits;
    this.#isStopped = isStopped;
    this.#onRestored = onRestored;
  }

  add(strays: StrayJobs, ids: readonly string[]): void {
    const known = this.#candidates.get(strays);
    if (known === undefined) this.#candidates.set(strays, [...ids]);
    else known.push(...ids);
    this.#candidateCount += ids.length;
  }

  async keepSmall(): Promise<void> {
    if (this.#candidateCount >= this.#limits.candidates) await this.#suspect();
    if (this.#suspectCount >= this.#limits.suspects) await this.#putBack();
  }

  async seeToAll(): Promise<void> {
    await this.#suspect();
    await this.#putBack();
  }

  async #suspect(): Promise<void> {
    for (const [strays, ids] of this.#candidates) {
      const added = await strays.suspect(ids);
      if (added > 0) this.#suspicious.add(strays);
      this.#suspectCount += added;
    }
    this.#candidates.clear();
    this.#candidateCount = 0;
  }

  async #putBack(): Promise<void> {
    while (this.#suspicious.size > 0 && !this.#isStopped()) {
      for (const strays of this.#suspicious) {
        const jobIds = await strays.putBack();
        if (jobIds.length > 0) this.#onRestored({ queue: strays.queue, jobIds });
        if (!strays.isSuspicious) this.#suspicious.delete(strays);
      }
      if (this.#suspicious.size === 0) break;
      // The second look must not follow the first at once.
      const waitsFrom = performance.now();
      await sleep(200);
      this.waitedMs += performance.now() - waitsFrom;
    }
    this.#suspectCount = 0;
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]^]/g, '\\$&');
}

const scripts = {
  jobferryTend: {
    numberOfKeys: 1,
    lua: `
local now = tonumber(redis.call('TIME')[1]) * 1000
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return 1`,
  },
  /** The key holds how long the rest is, or no number while a walk is under way. */
  jobferryTakeWalk: {
    numberOfKeys: 1,
    lua: `
local held = redis.call('GET', KEYS[1])
if held then
  local rest = tonumber(held)
  if not rest or rest - redis.call('PTTL', KEYS[1]) < rest * ARGV[3] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`,
  },
  jobferryRenewWalk: {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1`,
  },
  /** A worker that stood still in its walk may have been replaced. */
  jobferryEndWalk: {
    numberOfKeys: 1,
    lua: `
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and not tonumber(held) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[2])
return 1`,
  },
};

interface WalkCommands {
  jobferryTend(queues: string, queue: string, tendedForMs: number): Promise<number>;
  jobferryTakeWalk(turn: string, token: string, heldMs: number, restPart: number): Promise<number>;
  jobferryRenewWalk(turn: string, token: string, heldMs: number): Promise<number>;
  jobferryEndWalk(turn: string, token: string, restMs: number): Promise<number>;
}
