import {
  delayedScorePerMs,
  jobFields,
  jobSuffixes,
  lists,
  luaList,
  oldMarkerPrefix,
  pausedSetting,
  prioritizedScorePerPriority,
  queueKeys,
  reservedIds,
  streamEvents,
  wakeWorker,
} from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { isOwnQueueKey, ownQueueKeys } from './keys.ts';

/** How long a job must have been seen in no list before it is put back, ms: a job written by hand gets its place after its hash. */
const confirmAfterMs = 2_000;
/** Jobs that one script call looks at. */
const lookSize = 500;
/** Jobs that one script call puts back, which keeps the call short where no list is long: each call reads the lists. */
const putBackSize = 300;
/** Entries of a list that one command reads. */
const pageSize = 5_000;

/** How likely it is that jobs stand in no list. */
export type Doubt = 'none' | 'perhaps' | 'sure';

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
   * @returns how many are suspected in addition
   */
  async suspect(candidates: readonly string[]): Promise<number> {
    const missing = new Set(candidates.filter((id) => !this.#suspects.has(id)));
    // From the head, where pushes shift entries into the next page: what is there is seen. What was taken in between is
    // suspected for nothing, and the script that puts back sees it.
    for (const list of missing.size === 0 ? [] : lists) {
      for (let from = 0; missing.size > 0; from += pageSize) {
        const page = await this.#redis.lrange(`${this.#base}${list}`, from, from + pageSize - 1);
        for (const id of page) missing.delete(id);
        if (page.length < pageSize) break;
      }
    }
    const now = performance.now();
    for (const id of missing) this.#suspects.set(id, now);
    return missing.size;
  }

  /** Whether some jobs are suspected, and await their second look. */
  get isSuspicious(): boolean {
    return this.#suspects.size > 0;
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

  /** @returns those of the ids that belong to an unfinished job without a lock which is in none of the sorted sets. */
  async findUnplaced(ids: readonly string[]): Promise<string[]> {
    const jobIds = ids.filter(isJobId);
    const unplaced: string[] = [];
    for (let at = 0; at < jobIds.length; at += lookSize)
      unplaced.push(...(await this.#redis.jobferryFindUnplaced(this.#base, ...jobIds.slice(at, at + lookSize))));
    return unplaced;
  }

  /** Moves back to `wait` what was left in `paused` although the queue is not paused, as mixed versions leave it. */
  async unpause(): Promise<void> {
    while ((await this.#redis.jobferryUnpause(this.#base)) > 0);
  }

  /**
   * Whether the queue was paused or resumed since the last walk, as far as its events tell: they are trimmed, on a busy queue
   * sooner than anybody looks.
   */
  async doubtOfPause(): Promise<Doubt> {
    const answer = await this.#redis.jobferrySawPause(`${this.#base}${queueKeys.events}`, this.#heardKey);
    return (['none', 'perhaps', 'sure'] as const)[answer] ?? 'none';
  }

  /** The queue's last event, to be marked as heard when a walk that begins now is through. */
  async lastEvent(): Promise<string> {
    const [last] = await this.#redis.xrevrange(`${this.#base}${queueKeys.events}`, '+', '-', 'COUNT', 1);
    return last?.[0] ?? '0-0';
  }

  /** Pauses up to this event have been seen to. */
  async markHeard(eventId: string): Promise<void> {
    await this.#redis.set(this.#heardKey, eventId, 'PX', 86_400_000);
  }

  get #heardKey(): string {
    return `${this.#base}${ownQueueKeys.heard}`;
  }

  /**
   * Takes a job out of waiting for a child that does not exist any more, or is over.
   * @returns whether it is in line again
   */
  async release(jobId: string, children: StrayJobs, childId: string): Promise<boolean> {
    return (await this.#redis.jobferryRelease(this.#base, jobId, children.#base, childId)) === 1;
  }
}

/** Hashes of BullMQ and of ours stand among those of the jobs. */
function isJobId(id: string): boolean {
  return !reservedIds.has(id) && !isOwnQueueKey(id);
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

const { wait, paused, delayed, prioritized, waitingChildren, completed, failed, marker, meta, priorityCounter } =
  queueKeys;
const { name, data, timestamp, delay, priority, processedOn, finishedOn } = jobFields;

/**
 * The most usual answers come first. A job's data is not read, because it can be large; a hash that has none of these
 * fields is what a worker leaves behind that takes an id without a job.
 */
export const placeOf = `
local function placeOf(base, id)
  local key = base .. id
  if redis.call('EXISTS', key) == 0 then return ${place.absent} end
  if redis.call('ZSCORE', base .. '${delayed}', id) then return ${place.held} end
  local job = redis.pcall('HMGET', key, ${luaList([name, timestamp, finishedOn])})
  if job.err then return ${place.absent} end
  if not job[1] and not job[2] and redis.call('HEXISTS', key, '${data}') == 0 then return ${place.absent} end
  if job[3] then return ${place.finished} end
  if redis.call('EXISTS', key .. '${jobSuffixes.lock}') == 1 then return ${place.held} end
  for _, set in ipairs({ ${luaList([prioritized, completed, failed])} }) do
    if redis.call('ZSCORE', base .. set, id) then return ${place.held} end
  end
  if redis.call('ZSCORE', base .. '${waitingChildren}', id) then return ${place.waitingForChildren} end
  return ${place.listedOrStray}
end
`;

/**
 * While BullMQ 5 and older pause, waiting jobs are in `paused`, and what is in `wait` at their resume is lost: a paused
 * queue that has such a list gets its jobs there.
 */
const putInLine = `
local function lineOf(base)
  local isPaused = redis.call('HEXISTS', base .. '${meta}', '${pausedSetting}') == 1
  local time = redis.call('TIME')
  return {
    now = time[1] * 1000 + math.floor(time[2] / 1000),
    isPaused = isPaused,
    list = isPaused and redis.call('EXISTS', base .. '${paused}') == 1 and '${paused}' or '${wait}'
  }
end

local function putInLine(base, id, line)
  local job = redis.call('HMGET', base .. id, ${luaList([delay, priority, processedOn, timestamp])})
  local delay, priority = tonumber(job[1]) or 0, tonumber(job[2]) or 0
  local due = math.min(tonumber(job[3]) or tonumber(job[4]) or line.now, line.now) + delay
  if redis.call('SCARD', base .. id .. '${jobSuffixes.dependencies}') > 0 then
    redis.call('ZADD', base .. '${waitingChildren}', line.now, id)
  elseif delay > 0 and due > line.now then
    redis.call('ZADD', base .. '${delayed}', due * ${delayedScorePerMs}, id)
  elseif priority > 0 then
    local count = redis.call('INCR', base .. '${priorityCounter}')
    local score = priority * ${prioritizedScorePerPriority} + count % ${prioritizedScorePerPriority}
    redis.call('ZADD', base .. '${prioritized}', score, id)
  else
    redis.call('LPUSH', base .. line.list, id)
  end
end

local function wakeOne(base, line)
  if not line.isPaused then ${wakeWorker(`base .. '${marker}'`)} end
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
  local isJob = not string.find(id, ':', 1, true) or redis.call('HEXISTS', base .. id, '${timestamp}') == 1
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
for _, list in ipairs({ ${luaList(lists)} }) do
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
local children = base .. id .. '${jobSuffixes.dependencies}'
-- It may be a parent of other jobs, and never have had this child.
if redis.call('SCARD', children) > 0 and redis.call('SISMEMBER', children, ARGV[2] .. ARGV[3]) == 0 then return 0 end
redis.call('DEL', children)
redis.call('ZREM', base .. '${waitingChildren}', id)
local line = lineOf(base)
putInLine(base, id, line)
wakeOne(base, line)
return 1`,
  },
  jobferryUnpause: {
    numberOfKeys: 1,
    lua: `
local base = KEYS[1]
if redis.call('EXISTS', base .. '${paused}') == 0 or redis.call('HEXISTS', base .. '${meta}', '${pausedSetting}') == 1 then return 0 end
local jobs = {}
local ids = redis.call('LRANGE', base .. '${paused}', 0, 999)
for _, id in ipairs(ids) do
  -- BullMQ 4 and older keep markers among the jobs.
  if string.sub(id, 1, ${oldMarkerPrefix.length}) ~= '${oldMarkerPrefix}' then jobs[#jobs + 1] = id end
end
if #jobs > 0 then redis.call('RPUSH', base .. '${wait}', unpack(jobs)) end
redis.call('LTRIM', base .. '${paused}', #ids, -1)
${wakeWorker(`base .. '${marker}'`)}
return redis.call('LLEN', base .. '${paused}')`,
  },
  /** 0: no pause since; 1: what would tell is gone from the stream; 2: a pause or a resume. */
  jobferrySawPause: {
    numberOfKeys: 2,
    lua: `
local heard = redis.call('GET', KEYS[2])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then return heard and heard ~= '0-0' and 1 or 0 end
-- The version before kept it with a bracket, and marked what no walk had seen to.
local isKnown = heard and string.sub(heard, 1, 1) ~= '('
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], isKnown and heard or '-', '+')) do
  local isNew = entry[1] ~= heard and entry[2][1] == '${streamEvents.eventField}'
  if isNew and (entry[2][2] == '${streamEvents.paused}' or entry[2][2] == '${streamEvents.resumed}') then return 2 end
end
if not isKnown then return 1 end
-- Entries are trimmed from the oldest on: while one is left that was heard, none is gone that was not.
return #redis.call('XRANGE', KEYS[1], '-', heard, 'COUNT', 1) == 0 and 1 or 0`,
  },
};

interface StrayCommands {
  jobferryFindUnplaced(base: string, ...ids: string[]): Promise<string[]>;
  jobferryPutBack(base: string, ...ids: string[]): Promise<string[]>;
  jobferryRelease(base: string, id: string, childBase: string, childId: string): Promise<number>;
  jobferryUnpause(base: string): Promise<number>;
  jobferrySawPause(events: string, heard: string): Promise<number>;
}
