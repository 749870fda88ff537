import { delayedScorePerMs, jobSuffixes, queueKeys, wakeWorker } from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { ownQueueKeys, sharedKey } from './keys.ts';

/** Less than this is no step: clocks are slewed, and one Redis takes over from another. */
const toleranceMs = 2_000;
/** From the step to the repair: by then every worker has measured the time anew, and none takes all that is delayed. */
const repairAfterMs = 5_000;
/** What was overdue by more than this when the clock was set back may be left where it is, ms. */
const overdueMs = 60_000;
/** Jobs that one script call moves. */
const portionSize = 1_000;
/** No lock and no probe of ours is given for longer, ms. */
const longestTtlMs = 150_000;

/**
 * Notices that Redis' clock was set back, and moves what waits for a time along with it. Otherwise delayed jobs, holds and
 * throttles would stand still for as long as the step was, and so would keys that Redis is to forget.
 */
export class ClockSteps {
  readonly #redis: RedisConnection & StepCommands;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & StepCommands;
    this.#prefix = prefix;
  }

  /**
   * Moves what was delayed by the time before the step; what was delayed since keeps its time, unless that lies beyond the step.
   * @returns by how much the queue's delayed jobs were just moved, ms, to the worker that moved the last of them; 0 as a rule.
   */
  async repairQueue(queue: string): Promise<number> {
    const base = `${this.#prefix}:${queue}:`;
    for (;;) {
      const [movedBy, isThrough] = await this.#redis.jobferryStepQueue(
        `${base}${ownQueueKeys.clock}`,
        base,
        toleranceMs,
        repairAfterMs,
        longestTtlMs,
        overdueMs,
        portionSize,
      );
      if (movedBy === 0 || isThrough === 1) return movedBy;
    }
  }

  /** The same for the holds and throttles of all accounts, at once: jobs that are taken meanwhile wait for those. */
  async repairAccounts(): Promise<number> {
    return this.#redis.jobferryStepAccounts(
      sharedKey(this.#prefix, 'clock'),
      sharedKey(this.#prefix, 'accounts'),
      sharedKey(this.#prefix, 'walk'),
      sharedKey(this.#prefix, 'probe'),
      toleranceMs,
      0,
      longestTtlMs,
    );
  }
}

// All keys of one prefix are on one node, so those that are built here from a base are as well.
const notice = `
local base, tolerance, wait, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'last', 'owed', 'seen')
local last, owed, seen = tonumber(known[1]) or now, tonumber(known[2]) or 0, tonumber(known[3]) or now
if now < last - tolerance then
  owed = owed + last - now
  seen = now
  redis.call('HSET', KEYS[1], 'owed', owed, 'seen', seen)
end
redis.call('HSET', KEYS[1], 'last', now)
local isDue = owed > 0 and now >= seen + wait
local function shorten(key, ms)
  if redis.call('PTTL', key) > longest then redis.call('PEXPIRE', key, ms) end
end`;

const scripts = {
  /**
   * Portions go from the earliest to the latest, and what is moved lands before all that is left: each job is moved once,
   * whichever worker goes on, and whenever.
   */
  jobferryStepQueue: {
    numberOfKeys: 1,
    lua: `${notice}
local moving = redis.call('HMGET', KEYS[1], 'moving', 'from')
local by, from = tonumber(moving[1]), moving[2]
if not by then
  if not isDue then return { 0, 1 } end
  by = owed
  from = string.format('%.0f', (seen + owed - math.min(owed / 2, tonumber(ARGV[5]))) * ${delayedScorePerMs})
  redis.call('HDEL', KEYS[1], 'owed', 'seen')
  redis.call('HSET', KEYS[1], 'moving', by, 'from', from)
  for _, id in ipairs(redis.call('LRANGE', base .. '${queueKeys.active}', 0, -1)) do
    shorten(base .. id .. '${jobSuffixes.lock}', 5000)
  end
  shorten(base .. '${queueKeys.stalledCheck}', 1)
  shorten(base .. '${ownQueueKeys.sweep}', 1)
end
local delayed = base .. '${queueKeys.delayed}'
local jobs = redis.call('ZRANGEBYSCORE', delayed, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[6])
local isThrough = #jobs < 2 * ARGV[6]
local to = jobs[#jobs]
-- All jobs of one score are in one portion, as the next begins behind it.
if not isThrough then jobs = redis.call('ZRANGEBYSCORE', delayed, '(' .. from, to, 'WITHSCORES') end
for i = 1, #jobs, 2 do
  redis.call('ZADD', delayed, string.format('%.0f', tonumber(jobs[i + 1]) - by * ${delayedScorePerMs}), jobs[i])
end
if isThrough then redis.call('HDEL', KEYS[1], 'moving', 'from') else redis.call('HSET', KEYS[1], 'from', to) end
${wakeWorker(`base .. '${queueKeys.marker}'`)}
return { by, isThrough and 1 or 0 }`,
  },
  jobferryStepAccounts: {
    numberOfKeys: 3,
    lua: `${notice}
if not isDue then return 0 end
redis.call('HDEL', KEYS[1], 'owed', 'seen')
local function back(at) return string.format('%.0f', tonumber(at) - owed) end
local epochMs = '1%d%d%d%d%d%d%d%d%d%d%d%d'
local facts = redis.call('HGETALL', KEYS[2])
for i = 1, #facts, 2 do
  local value = string.gsub(facts[i + 1], '^' .. epochMs, back)
  value = string.gsub(value, '("%a+":)(' .. epochMs .. ')', function(key, at) return key .. back(at) end)
  redis.call('HSET', KEYS[2], facts[i], value)
  local probe = base .. ':' .. string.match(facts[i], '^[^|]*')
  for _, part in ipairs({ '', ':submit', ':status' }) do shorten(probe .. part, 1) end
end
shorten(KEYS[3], 1)
return owed`,
  },
};

interface StepCommands {
  jobferryStepQueue(
    clock: string,
    base: string,
    toleranceMs: number,
    waitMs: number,
    longest: number,
    overdueMs: number,
    portionSize: number,
  ): Promise<[movedBy: number, isThrough: 0 | 1]>;
  jobferryStepAccounts(
    clock: string,
    accounts: string,
    walk: string,
    probeBase: string,
    toleranceMs: number,
    waitMs: number,
    longest: number,
  ): Promise<number>;
}
