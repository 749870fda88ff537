import {
  delayedScorePerMs,
  jobFields,
  jobSuffixes,
  lists,
  luaList,
  pausedSetting,
  queueKeys,
  reservedIds,
  wakeWorker,
} from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { knownField, ownQueueKeys } from './keys.ts';

/** A job whose id is one of BullMQ's own keys. */
export interface MisplacedJob {
  jobId: string;
  name: string;
  /** The job's data as JSON text. */
  data: string;
  timestamp: number;
}

/**
 * Repairs a queue that a job has damaged by its id, and wakes one that fell asleep.
 *
 * BullMQ stores a job under `<prefix>:<queue>:<jobId>`, beside its own keys. A foreign producer that picks an id such
 * as `wait` or `active` replaces the queue's list by a hash, and from then on every command of every worker fails.
 * Producers of ours refuse such ids; nothing stops others. So workers look now and then, lift such a job out of the
 * way, and refuse it like any other bad input.
 */
export class QueueGuard {
  readonly #redis: RedisConnection & GuardCommands;
  readonly #base: string;

  constructor(redis: RedisConnection, prefix: string, queue: string) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & GuardCommands;
    this.#base = `${prefix}:${queue}:`;
  }

  /** Lifts misplaced jobs out of the queue into a place of their own, where they stay until `forget`. */
  async lift(): Promise<MisplacedJob[]> {
    await this.#redis.jobferryLift(`${this.#base}${ownQueueKeys.misplaced}`, this.#base, ...hashedIds);
    const lifted = await this.#redis.hgetall(`${this.#base}${ownQueueKeys.misplaced}`);
    return Object.entries(lifted).map(([jobId, text]) => {
      const { name, data, timestamp } = JSON.parse(text) as { name?: string; data?: string; timestamp?: string };
      return { jobId, name: name ?? '', data: data ?? 'null', timestamp: Number(timestamp) };
    });
  }

  /** True for one caller at a time, for `holdMs`: what all workers would do needs to be done once. */
  async takeSweep(holdMs: number): Promise<boolean> {
    return (await this.#redis.set(`${this.#base}${ownQueueKeys.sweep}`, '1', 'PX', holdMs, 'NX')) === 'OK';
  }

  /** @returns `isKnown` is false when the queue was emptied from outside since workers opened it. */
  async readSettings(): Promise<{ isKnown: boolean; isPaused: boolean }> {
    const [known = null, paused = null] = await this.#redis.hmget(
      `${this.#base}${queueKeys.meta}`,
      knownField,
      pausedSetting,
    );
    return { isKnown: known !== null, isPaused: paused !== null };
  }

  /** A lifted job has been answered. */
  async forget(jobId: string): Promise<void> {
    await this.#redis.hdel(`${this.#base}${ownQueueKeys.misplaced}`, jobId);
  }

  /**
   * Wakes the queue's workers when jobs wait or are overdue. One marker wakes one worker: it is gone in a failover, or with
   * a worker that dies or hangs while it has it, and the others sleep on for up to 10 s.
   * @returns by how much the oldest delayed job is overdue, ms; 0 when none is.
   */
  async wake(now: number, toleranceMs: number): Promise<number> {
    const key = (name: keyof typeof queueKeys): string => `${this.#base}${queueKeys[name]}`;
    return this.#redis.jobferryWake(key('delayed'), key('marker'), key('wait'), key('prioritized'), now, toleranceMs);
  }
}

/**
 * The keys that are looked at. `meta` is a hash itself, told from a job by the job's fields; an empty id is none, and
 * `de` is only ever the beginning of a key.
 */
const hashedIds = [...reservedIds].filter((id) => id !== '' && id !== queueKeys.deduplication);

/** Fields by which a hash is a job, whatever else it holds. */
const { name, data, timestamp, opts } = jobFields;
/** What a job that was stored over `meta` left in it. */
const leftInMeta = [
  ...[name, data, timestamp, opts, jobFields.delay, jobFields.priority, jobFields.processedOn],
  ...[jobFields.attemptsStarted, jobFields.processedBy, jobFields.progress],
];

const scripts = {
  // All keys of a queue share the prefix, and in a cluster the prefix carries the hash tag, so they are on one node.
  jobferryLift: {
    numberOfKeys: 1,
    lua: `
local lifted = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = ARGV[1] .. id
  if redis.call('TYPE', key).ok == 'hash' then
    local job = redis.call('HMGET', key, ${luaList([name, data, timestamp, opts])})
    if job[2] and job[3] and job[4] then
      redis.call('HSET', KEYS[1], id, cjson.encode({ name = job[1] or '', data = job[2], timestamp = job[3] }))
      if id == '${queueKeys.meta}' then
        redis.call('HDEL', key, ${luaList(leftInMeta)})
      else
        redis.call('DEL', key)
      end
      for _, list in ipairs({ ${luaList(lists)} }) do
        if redis.call('TYPE', ARGV[1] .. list).ok == 'list' then redis.call('LREM', ARGV[1] .. list, 0, id) end
      end
      for _, set in ipairs({ ${luaList([queueKeys.delayed, queueKeys.prioritized])} }) do
        if redis.call('TYPE', ARGV[1] .. set).ok == 'zset' then redis.call('ZREM', ARGV[1] .. set, id) end
      end
      redis.call('DEL', key .. '${jobSuffixes.lock}', key .. '${jobSuffixes.logs}')
      lifted = lifted + 1
    end
  end
end
return lifted`,
  },
  jobferryWake: {
    numberOfKeys: 4,
    lua: `
if redis.call('LLEN', KEYS[3]) > 0 or redis.call('ZCARD', KEYS[4]) > 0 then ${wakeWorker('KEYS[2]')} end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first == 0 then return 0 end
local overdue = tonumber(ARGV[1]) - tonumber(first[2]) / ${delayedScorePerMs}
if overdue <= tonumber(ARGV[2]) then return 0 end
${wakeWorker('KEYS[2]')}
return math.floor(overdue)`,
  },
};

interface GuardCommands {
  jobferryLift(place: string, base: string, ...ids: string[]): Promise<number>;
  jobferryWake(
    delayed: string,
    marker: string,
    wait: string,
    prioritized: string,
    now: number,
    toleranceMs: number,
  ): Promise<number>;
}
