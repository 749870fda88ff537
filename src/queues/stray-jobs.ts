import { Redis } from 'ioredis';
import type { RedisConnection } from './connection.ts';
import { reservedIds } from './job-ids.ts';

/** How long a job must have been seen in no list before it is put back, ms: a job written by hand gets its place after its hash. */
const confirmAfterMs = 2_000;
/** Jobs that one script call looks at. */
const lookSize = 500;
/** Jobs that one script call puts back, which keeps the call short where no list is long: each call reads the lists. */
const putBackSize = 300;
/** Entries of a list that one command reads. */
const pageSize = 5_000;

/**
 * Puts jobs back into line that exist and stand in none of BullMQ's lists.
 *
 * BullMQ 5 and older rename `wait` to `paused` at a pause and back over `wait` at the resume, which drops what BullMQ 6
 * has put into `wait` meanwhile; and a script that Redis stops half-way has taken a job out of one list and not put it
 * into the next. Adding such a job again changes nothing, because its hash exists.
 *
 * A job is put back when two looks some seconds apart found it nowhere. The second look and the push are one script, so
 * a job that moves between lists meanwhile is never in line twice.
 */
export class StrayJobs {
  readonly queue: string;
  readonly #redis: RedisConnection & StrayCommands;
  readonly #base: string;
  /** Job ids, and when each was first seen in no list, by the monotonic clock. */
  readonly #suspects = new Map<string, number>();

  constructor(redis: RedisConnection, prefix: string, queue: string) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & StrayCommands;
    this.queue = queue;
    this.#base = `${prefix}:${queue}:`;
  }

  /**
   * Remembers jobs that are in none of the sorted sets, unless a list has them.
   * @param candidates - ids of unfinished jobs without a lock
   */
  async suspect(candidates: readonly string[]): Promise<void> {
    const missing = new Set(candidates.filter((id) => !this.#suspects.has(id)));
    // From the head, where pushes shift entries into the next page: what is there is seen. What was taken in between is
    // suspected for nothing, and the script that puts back sees it.
    for (const list of missing.size === 0 ? [] : ['wait', 'active', 'paused']) {
      for (let from = 0; missing.size > 0; from += pageSize) {
        const page = await this.#redis.lrange(`${this.#base}${list}`, from, from + pageSize - 1);
        for (const id of page) missing.delete(id);
        if (page.length < pageSize) break;
      }
    }
    const now = performance.now();
    for (const id of missing) this.#suspects.set(id, now);
  }

  /** How many are suspected at the moment. */
  get count(): number {
    return this.#suspects.size;
  }

  /** @returns the ids of the suspects that were in no list at this second look, and are in line again. */
  async putBack(): Promise<string[]> {
    const seenBefore = performance.now() - confirmAfterMs;
    const due = [...this.#suspects].filter(([, seenAt]) => seenAt <= seenBefore).map(([id]) => id);
    const restored: string[] = [];
    for (let at = 0; at < due.length; at += putBackSize) {
      const batch = due.slice(at, at + putBackSize);
      restored.push(...(await this.#redis.jobferryPutBack(this.#base, ...batch)));
      for (const id of batch) this.#suspects.delete(id);
    }
    return restored;
  }

  /**
   * Looks for strays among all jobs of the queue, and suspects them. Walks all keys of the database.
   * @param isStopped - ends the walk early
   */
  async walk(isStopped: () => boolean = () => false): Promise<void> {
    const redis = this.#redis;
    const candidates: string[] = [];
    // Of a cluster each node lists its own keys; a queue's are all on one of them.
    for (const node of redis instanceof Redis ? [redis] : redis.nodes('master')) {
      const keys: AsyncIterable<string[]> = node.scanStream({
        match: `${escapeGlob(this.#base)}*`,
        count: 1_000,
        type: 'hash',
      });
      for await (const page of keys) {
        if (isStopped()) return;
        const ids = page.map((key) => key.slice(this.#base.length)).filter(isJobId);
        for (let at = 0; at < ids.length; at += lookSize) {
          candidates.push(...(await redis.jobferryFindUnplaced(this.#base, ...ids.slice(at, at + lookSize))));
        }
      }
    }
    await this.suspect(candidates);
  }

  /**
   * A walk costs the same whatever it finds, so it gets a share of the time: 2 % without a reason, ten times that with
   * one, for all workers together.
   */
  async takeWalk(hasReason: boolean): Promise<boolean> {
    return (
      (await this.#redis.jobferryTakeWalk(`${this.#base}jobferry.walked`, provisionalRestMs, hasReason ? 1 : 0)) === 1
    );
  }

  /** @param tookMs - how long the walk took, from which its rest follows */
  async endWalk(tookMs: number): Promise<void> {
    const restMs = Math.round(Math.max(minRestMs, tookMs * 50));
    await this.#redis.set(`${this.#base}jobferry.walked`, restMs, 'PX', restMs);
  }

  /** Moves back to `wait` what was left in `paused` although the queue is not paused, as mixed versions leave it. */
  async unpause(): Promise<void> {
    while ((await this.#redis.jobferryUnpause(this.#base)) > 0);
  }

  /** @returns whether the queue was paused or resumed since the last call by any worker, as far as its events tell. */
  async sawPause(): Promise<boolean> {
    return (await this.#redis.jobferrySawPause(`${this.#base}events`, `${this.#base}jobferry.heard`)) === 1;
  }

  /**
   * Takes a job out of waiting for a child that does not exist any more, or is over.
   * @returns whether it is in line again
   */
  async release(jobId: string, children: StrayJobs, childId: string): Promise<boolean> {
    return (await this.#redis.jobferryRelease(this.#base, jobId, children.#base, childId)) === 1;
  }
}

const minRestMs = 30_000;
/** Longer than a walk should take: a worker that dies in one holds up the next no longer than this. */
const provisionalRestMs = 120_000;

/** Hashes of BullMQ and of ours stand among those of the jobs. */
function isJobId(id: string): boolean {
  return !reservedIds.has(id) && !id.startsWith('jobferry.');
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]^]/g, '\\$&');
}

/** How a job stands, as `placeOf` of the scripts says it. */
export const place = {
  /** No such job. */
  absent: 0,
  finished: 1,
  /** A worker has it, or a sorted set. */
  held: 2,
  /** In `wait`, `active` or `paused`, or nowhere. */
  listedOrStray: 3,
  waitingForChildren: 4,
} as const;

/**
 * The most usual answers come first. A job's data is not read, because it can be large; a hash that has none of these
 * fields is what a worker leaves behind that takes an id without a job.
 */
export const placeOf = `
local function placeOf(base, id)
  local key = base .. id
  if redis.call('EXISTS', key) == 0 then return ${place.absent} end
  if redis.call('ZSCORE', base .. 'delayed', id) then return ${place.held} end
  local job = redis.pcall('HMGET', key, 'name', 'timestamp', 'finishedOn')
  if job.err then return ${place.absent} end
  if not job[1] and not job[2] and redis.call('HEXISTS', key, 'data') == 0 then return ${place.absent} end
  if job[3] then return ${place.finished} end
  if redis.call('EXISTS', key .. ':lock') == 1 then return ${place.held} end
  for _, set in ipairs({ 'prioritized', 'completed', 'failed' }) do
    if redis.call('ZSCORE', base .. set, id) then return ${place.held} end
  end
  if redis.call('ZSCORE', base .. 'waiting-children', id) then return ${place.waitingForChildren} end
  return ${place.listedOrStray}
end
`;

/**
 * While BullMQ 5 and older pause, waiting jobs are in `paused`, and what is in `wait` at their resume is lost: a paused
 * queue that has such a list gets its jobs there.
 */
const putInLine = `
local function lineOf(base)
  local isPaused = redis.call('HEXISTS', base .. 'meta', 'paused') == 1
  local time = redis.call('TIME')
  return {
    now = time[1] * 1000 + math.floor(time[2] / 1000),
    isPaused = isPaused,
    list = isPaused and redis.call('EXISTS', base .. 'paused') == 1 and 'paused' or 'wait'
  }
end

local function putInLine(base, id, line)
  local job = redis.call('HMGET', base .. id, 'delay', 'priority', 'processedOn', 'timestamp')
  local delay, priority = tonumber(job[1]) or 0, tonumber(job[2]) or 0
  local due = math.min(tonumber(job[3]) or tonumber(job[4]) or line.now, line.now) + delay
  if redis.call('SCARD', base .. id .. ':dependencies') > 0 then
    redis.call('ZADD', base .. 'waiting-children', line.now, id)
  elseif delay > 0 and due > line.now then
    redis.call('ZADD', base .. 'delayed', due * 4096, id)
  elseif priority > 0 then
    local count = redis.call('INCR', base .. 'pc')
    redis.call('ZADD', base .. 'prioritized', priority * 4294967296 + count % 4294967296, id)
  else
    redis.call('LPUSH', base .. line.list, id)
  end
end

local function wakeOne(base, line)
  if not line.isPaused then redis.call('ZADD', base .. 'marker', 0, '0') end
end
`;

// All keys of a queue share the prefix, and in a cluster the prefix carries the hash tag, so they are on one node.
const scripts = {
  jobferryFindUnplaced: {
    numberOfKeys: 1,
    lua: `${placeOf}
local base, found = KEYS[1], {}
for _, id in ipairs(ARGV) do
  -- With a colon it may be a key beside a job; only jobs have the time they were added.
  local isJob = not string.find(id, ':', 1, true) or redis.call('HEXISTS', base .. id, 'timestamp') == 1
  if isJob and placeOf(base, id) == ${place.listedOrStray} then found[#found + 1] = id end
end
return found`,
  },
  jobferryPutBack: {
    numberOfKeys: 1,
    lua: `${placeOf}${putInLine}
local base, left, count = KEYS[1], {}, 0
for _, id in ipairs(ARGV) do
  if not left[id] and placeOf(base, id) == ${place.listedOrStray} then
    left[id] = true
    count = count + 1
  end
end
for _, list in ipairs({ 'wait', 'active', 'paused' }) do
  local from = 0
  while count > 0 do
    local ids = redis.call('LRANGE', base .. list, from, from + 999)
    for _, id in ipairs(ids) do
      if left[id] then
        left[id] = nil
        count = count - 1
      end
    end
    if #ids < 1000 then break end
    from = from + 1000
  end
end
local restored = {}
if count == 0 then return restored end
local line = lineOf(base)
for _, id in ipairs(ARGV) do
  if left[id] then
    left[id] = nil
    putInLine(base, id, line)
    restored[#restored + 1] = id
  end
end
wakeOne(base, line)
return restored`,
  },
  jobferryRelease: {
    numberOfKeys: 1,
    lua: `${placeOf}${putInLine}
local base, id = KEYS[1], ARGV[1]
if placeOf(base, id) ~= ${place.waitingForChildren} or placeOf(ARGV[2], ARGV[3]) > ${place.finished} then return 0 end
local children = base .. id .. ':dependencies'
-- It may be a parent of other jobs, and never have had this child.
if redis.call('SCARD', children) > 0 and redis.call('SISMEMBER', children, ARGV[2] .. ARGV[3]) == 0 then return 0 end
redis.call('DEL', children)
redis.call('ZREM', base .. 'waiting-children', id)
local line = lineOf(base)
putInLine(base, id, line)
wakeOne(base, line)
return 1`,
  },
  jobferryUnpause: {
    numberOfKeys: 1,
    lua: `
local base = KEYS[1]
if redis.call('EXISTS', base .. 'paused') == 0 or redis.call('HEXISTS', base .. 'meta', 'paused') == 1 then return 0 end
local jobs = {}
local ids = redis.call('LRANGE', base .. 'paused', 0, 999)
for _, id in ipairs(ids) do
  -- BullMQ 4 and older keep markers among the jobs.
  if string.sub(id, 1, 2) ~= '0:' then jobs[#jobs + 1] = id end
end
if #jobs > 0 then redis.call('RPUSH', base .. 'wait', unpack(jobs)) end
redis.call('LTRIM', base .. 'paused', #ids, -1)
redis.call('ZADD', base .. 'marker', 0, '0')
return redis.call('LLEN', base .. 'paused')`,
  },
  jobferrySawPause: {
    numberOfKeys: 2,
    lua: `
local from = redis.call('GET', KEYS[2]) or '-'
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return 0 end
redis.call('SET', KEYS[2], '(' .. last[1], 'PX', 86400000)
if from == '-' then return 0 end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+')) do
  if entry[2][1] == 'event' and (entry[2][2] == 'paused' or entry[2][2] == 'resumed') then return 1 end
end
return 0`,
  },
  jobferryTakeWalk: {
    numberOfKeys: 1,
    lua: `
local rest = tonumber(redis.call('GET', KEYS[1]))
if rest and (ARGV[2] == '0' or rest - redis.call('PTTL', KEYS[1]) < rest / 10) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[1])
return 1`,
  },
};

interface StrayCommands {
  jobferryFindUnplaced(base: string, ...ids: string[]): Promise<string[]>;
  jobferryPutBack(base: string, ...ids: string[]): Promise<string[]>;
  jobferryRelease(base: string, id: string, childBase: string, childId: string): Promise<number>;
  jobferryUnpause(base: string): Promise<number>;
  jobferrySawPause(events: string, heard: string): Promise<number>;
  jobferryTakeWalk(walked: string, restMs: number, hasReason: 0 | 1): Promise<number>;
}
