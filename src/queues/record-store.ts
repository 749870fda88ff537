import type { Intent, Resolution, SubmissionState } from '../core/submission.ts';
import type { RedisConnection } from './connection.ts';
import { openKey, type OpenNote } from './open-submissions.ts';

/** How many lines of a submission's log are kept. */
export const keptLogLines = 24;

/** Names one BullMQ job. */
export interface JobAddress {
  queue: string;
  jobId: string;
}

export type SaveResult =
  | { kind: 'saved' }
  /** Another worker holds the job by now, or it was removed: whatever this worker knows is stale. */
  | { kind: 'fenced' }
  /** A caller asked for a cancel. Only where the write was not to happen then. */
  | { kind: 'canceled'; at: number }
  /** The submission's poll job has a record. Only where the write was not to happen then. */
  | { kind: 'handed-over' };

/** What keeps a write from happening, beside a lost lock. */
export interface Unless {
  /** That this poll job has a record: the submission was accepted, and goes on there. The job itself does not count. */
  handedOver: JobAddress;
  /** That somebody asked for a cancel: for the write before a vendor is called. */
  canceled?: true;
}

/**
 * Reads and writes submission records: the `progress` field of BullMQ jobs, and the job's log beside it.
 *
 * Each write is one Lua script, so it is whole or not at all, and each write of a worker is fenced: it happens only
 * while the worker's lock on the job is alive. BullMQ's own `updateProgress` and `updateData` ask for no lock, and
 * a worker that was frozen past its lock would overwrite newer state with them.
 *
 * A cancel that arrives while a worker holds the job can not touch the record; it is left in a field of its own
 * (`cancelField`), which every fenced write of the worker reads back.
 */
export class RecordStore {
  readonly #redis: RedisConnection & RecordCommands;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & RecordCommands;
    this.#prefix = prefix;
  }

  /**
   * Saves the record and appends a line to the job's log, if `token` still holds the job.
   * @param open - what the list of submissions under way is to say from now on.
   */
  async save(
    address: JobAddress,
    token: string,
    state: SubmissionState,
    line: string | undefined,
    open: OpenNote,
    unless?: Unless,
  ): Promise<SaveResult> {
    const [code, cancel] = await this.#redis.jobferrySave(
      this.#jobKey(address),
      this.#key(address, ':lock'),
      this.#key(address, ':logs'),
      this.#jobKey(unless?.handedOver ?? address),
      openKey(this.#prefix, open.vendor),
      token,
      JSON.stringify(state),
      line ?? '',
      keptLogLines,
      unless?.canceled === true ? 1 : 0,
      open.submissionId,
      open.note === null ? '' : JSON.stringify(open.note),
    );
    if (code === 2) return { kind: 'handed-over' };
    if (code === 0) return { kind: 'canceled', at: Number(cancel) };
    return code === 1 ? { kind: 'saved' } : { kind: 'fenced' };
  }

  /**
   * Appends a line to a job's log.
   * @param open - what the list of submissions under way is to say; not when `poll`, its poll job, exists, or when another
   * worker has started the job since, which made it the one after `starts`.
   * @returns when a caller asked for a cancel while a worker held the job, epoch ms.
   */
  async note(
    address: JobAddress,
    line: string | undefined,
    open?: OpenNote & { poll: JobAddress; starts: number },
  ): Promise<number | undefined> {
    const note = open?.note ?? null;
    const cancel = await this.#redis.jobferryNote(
      this.#jobKey(address),
      this.#key(address, ':logs'),
      // Without a note these keys are never touched; they must lie on the node of the others all the same.
      open === undefined ? this.#jobKey(address) : openKey(this.#prefix, open.vendor),
      this.#jobKey(open?.poll ?? address),
      line ?? '',
      keptLogLines,
      open?.submissionId ?? '',
      note === null ? '' : JSON.stringify(note),
      open?.starts ?? 0,
    );
    return cancel === null ? undefined : Number(cancel);
  }

  /**
   * Gives a poll job its record, once: the hand-over from the submit stage. Takes the log and a cancel along that came
   * meanwhile, to either job. Whoever comes second changes nothing.
   * @returns `begun` or `begun-canceled` by this call, `present` when it had a record, `over` when the submission was
   * settled at the submit stage meanwhile, `missing` when there is no job.
   */
  async begin(
    poll: JobAddress,
    submit: JobAddress,
    state: SubmissionState,
    line: string,
    open: OpenNote,
  ): Promise<'begun' | 'begun-canceled' | 'present' | 'over' | 'missing'> {
    const code = await this.#redis.jobferryBegin(
      this.#jobKey(poll),
      this.#key(poll, ':logs'),
      this.#jobKey(submit),
      this.#key(submit, ':logs'),
      openKey(this.#prefix, open.vendor),
      JSON.stringify(state),
      line,
      keptLogLines,
      open.submissionId,
      open.note === null ? '' : JSON.stringify(open.note),
    );
    const results = { 3: 'over', 2: 'begun-canceled', 1: 'begun', 0: 'present' } as const;
    return results[code as 0 | 1 | 2 | 3] ?? 'missing';
  }

  /**
   * Leaves what the vendor answered to a submit with the submission, for whoever holds its job by now. Asks for no lock.
   * @param intent - the submit that was answered
   * @returns false when nobody will come for it: another submit was made since, the submission has ended, or its job is
   * gone.
   */
  async leaveAnswer(address: JobAddress, intent: Intent, reply: unknown): Promise<boolean> {
    const code = await this.#redis.jobferryAnswer(
      this.#jobKey(address),
      JSON.stringify(intent),
      JSON.stringify({ intent, reply }),
    );
    return code === 1;
  }

  /** What another worker heard to this submit and could not store, if there is such an answer. */
  async answerTo(address: JobAddress, intent: Intent): Promise<unknown> {
    const text = await this.#redis.hget(this.#jobKey(address), answerField);
    if (text === null) return undefined;
    const left = JSON.parse(text) as { intent: Intent; reply: unknown };
    return left.intent.at === intent.at && left.intent.attempt === intent.attempt ? left.reply : undefined;
  }

  /**
   * Leaves a cancel request with a job.
   * @returns `marked` when the record now says so and the job may be promoted, `active` when a worker holds the job
   * and will see it, `over` when it has ended, `missing` when there is no such job.
   */
  async requestCancel(address: JobAddress, at: number): Promise<'marked' | 'active' | 'over' | 'missing'> {
    const code = await this.#redis.jobferryCancel(this.#jobKey(address), this.#key(address, ':lock'), at);
    return ({ 0: 'marked', 1: 'active', 2: 'over' } as const)[code as 0 | 1 | 2] ?? 'missing';
  }

  /**
   * Leaves a person's decision with a submission that waits for one.
   * @returns `marked` when the job may be promoted, `active` when a worker holds it at the moment, `not-waiting` when it
   * waits for no decision, `missing` when there is no such job.
   */
  async resolve(address: JobAddress, resolution: Resolution): Promise<'marked' | 'active' | 'not-waiting' | 'missing'> {
    const code = await this.#redis.jobferryResolve(
      this.#jobKey(address),
      this.#key(address, ':lock'),
      JSON.stringify(resolution),
    );
    return ({ 0: 'marked', 1: 'active', 2: 'not-waiting' } as const)[code as 0 | 1 | 2] ?? 'missing';
  }

  /** The stored record of a job as text, or null when there is none. */
  async read(address: JobAddress): Promise<string | null> {
    return this.#redis.hget(this.#jobKey(address), 'progress');
  }

  /** True when the job exists, whatever its state. */
  async exists(address: JobAddress): Promise<boolean> {
    return (await this.#redis.exists(this.#jobKey(address))) === 1;
  }

  #jobKey(address: JobAddress): string {
    return this.#key(address, '');
  }

  #key(address: JobAddress, suffix: string): string {
    return `${this.#prefix}:${address.queue}:${address.jobId}${suffix}`;
  }
}

const cancelField = 'jobferry.cancel';
/** Gone with the next record without an intent: what it holds for the vendor can be an upload link. */
const answerField = 'jobferry.answer';

const helpers = `
local function append(key, line, keep)
  if line ~= '' then
    redis.call('RPUSH', key, line)
    redis.call('LTRIM', key, -tonumber(keep), -1)
  end
end

local function list(key, id, note)
  if note == '' then redis.call('HDEL', key, id) else redis.call('HSET', key, id, note) end
end
`;

const scripts = {
  jobferrySave: {
    numberOfKeys: 5,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1} end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {-2} end
local cancel = redis.call('HGET', KEYS[1], '${cancelField}')
if ARGV[5] == '1' and cancel then return {0, cancel} end
if KEYS[4] ~= KEYS[1] and string.sub(redis.call('HGET', KEYS[4], 'progress') or '', 1, 4) == '{"v"' then return {2} end
redis.call('HSET', KEYS[1], 'progress', ARGV[2])
if not string.find(ARGV[2], '"intent":', 1, true) then redis.call('HDEL', KEYS[1], '${answerField}') end
append(KEYS[3], ARGV[3], ARGV[4])
list(KEYS[5], ARGV[6], ARGV[7])
return {1}`,
  },
  jobferryNote: {
    numberOfKeys: 4,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
append(KEYS[2], ARGV[1], ARGV[2])
if ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'ats') == ARGV[5] and redis.call('EXISTS', KEYS[4]) == 0 then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
end
return redis.call('HGET', KEYS[1], '${cancelField}')`,
  },
  jobferryBegin: {
    numberOfKeys: 5,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local progress = redis.call('HGET', KEYS[1], 'progress')
if progress and string.sub(progress, 1, 4) == '{"v"' then return 0 end
local before = redis.call('HGET', KEYS[3], 'progress')
if before and string.find(before, '"settled":', 1, true) then return 3 end
redis.call('HSET', KEYS[1], 'progress', ARGV[1])
for _, line in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do append(KEYS[2], line, ARGV[3]) end
append(KEYS[2], ARGV[2], ARGV[3])
list(KEYS[5], ARGV[4], ARGV[5])
local asked = '"cancelRequestedAt":(%d+)'
local cancel = redis.call('HGET', KEYS[3], '${cancelField}') or string.match(before or '', asked) or string.match(progress or '', asked)
if cancel then
  redis.call('HSET', KEYS[1], '${cancelField}', cancel)
  return 2
end
return 1`,
  },
  jobferryAnswer: {
    numberOfKeys: 1,
    lua: `
local progress = redis.call('HGET', KEYS[1], 'progress')
if not progress or string.find(progress, '"settled":', 1, true) then return 0 end
if not string.find(progress, '"intent":' .. ARGV[1], 1, true) then return 0 end
redis.call('HSET', KEYS[1], '${answerField}', ARGV[2])
return 1`,
  },
  jobferryResolve: {
    numberOfKeys: 2,
    lua: `
local progress = redis.call('HGET', KEYS[1], 'progress')
if not progress then return -1 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
if not string.find(progress, '"awaitsDecision":', 1, true) or string.find(progress, '"settled":', 1, true) then return 2 end
redis.call('HSET', KEYS[1], 'progress', string.sub(progress, 1, -2) .. ',"resolution":' .. ARGV[1] .. '}')
return 0`,
  },
  jobferryCancel: {
    numberOfKeys: 2,
    lua: `
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finishedOn') == 1 then return 2 end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[1], '${cancelField}', ARGV[1])
  return 1
end
local progress = redis.call('HGET', KEYS[1], 'progress') or ''
if string.sub(progress, 1, 4) == '{"v"' then
  if not string.find(progress, '"cancelRequestedAt":', 1, true) then
    progress = string.sub(progress, 1, -2) .. ',"cancelRequestedAt":' .. ARGV[1] .. '}'
  end
else
  progress = '{"cancelRequestedAt":' .. ARGV[1] .. '}'
end
redis.call('HSET', KEYS[1], 'progress', progress)
redis.call('HDEL', KEYS[1], '${cancelField}')
return 0`,
  },
};

interface RecordCommands {
  jobferrySave(
    job: string,
    lock: string,
    logs: string,
    poll: string,
    open: string,
    token: string,
    state: string,
    line: string,
    keep: number,
    unlessCanceled: 0 | 1,
    submissionId: string,
    note: string,
  ): Promise<[code: number, cancel?: string]>;
  jobferryNote(
    job: string,
    logs: string,
    open: string,
    poll: string,
    line: string,
    keep: number,
    submissionId: string,
    note: string,
    starts: number,
  ): Promise<string | null>;
  jobferryBegin(
    poll: string,
    pollLogs: string,
    submit: string,
    submitLogs: string,
    open: string,
    state: string,
    line: string,
    keep: number,
    submissionId: string,
    note: string,
  ): Promise<number>;
  jobferryAnswer(job: string, intent: string, answer: string): Promise<number>;
  jobferryCancel(job: string, lock: string, at: number): Promise<number>;
  jobferryResolve(job: string, lock: string, resolution: string): Promise<number>;
}
