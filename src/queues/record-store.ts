import { nameIntent, progressOf, writeRecord } from '../core/record.ts';
import type { Intent, Resolution, SubmissionState } from '../core/submission.ts';
import type { RedisConnection } from './connection.ts';
import { parseJson, recordOf, type JobHash } from './job-hash.ts';
import { hashFields, openKey } from './keys.ts';
import { earlierUse, type OpenNote } from './open-submissions.ts';
import { maxJobDataBytes } from './submit-job.ts';

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

/** What a worker that lost its job leaves for the next one: the vendor's answer, or that nothing was sent. */
export interface LeftBehind {
  reply?: unknown;
  unsent?: true;
}

/** What keeps a write from happening, beside a lost lock. */
export interface Unless {
  /** That this poll job has a record: the submission was accepted, and goes on there. The job itself does not count. */
  handedOver: JobAddress;
  /** That somebody asked for a cancel: for the write before a vendor is called. */
  canceled?: true;
}

/** What a job was added with. */
export interface StoredRequest {
  operation: string;
  /** The job's data; undefined where it is not valid JSON. */
  data: unknown;
  /** Which call of a producer added it; undefined where another client did. */
  addedBy: unknown;
}

const requestFields = ['name', 'data', hashFields.request, 'opts'] as const;

function readRequest([name, data, request, opts]: readonly (string | null)[]): StoredRequest | undefined {
  if (typeof name !== 'string') return undefined;
  const options = parseJson(opts ?? undefined) as { addedBy?: unknown } | null | undefined;
  return { operation: name, data: parseJson(request ?? data ?? undefined), addedBy: options?.addedBy };
}

/**
 * Reads and writes submission records: fields of ours in the hashes of BullMQ jobs (`hashFields`), and the jobs' logs.
 *
 * Each write is one Lua script, so it is whole or not at all, and each write of a worker is fenced: it happens only
 * while the worker's lock on the job is alive. Scripts read the head of a record and never its JSON, which holds what
 * vendors and their modules wrote.
 *
 * What people ask for (a cancel, a decision) never touches the record: it has fields for that, which the worker reads
 * when it takes the job and when it gives it back.
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
      writeRecord(state),
      progressOf(state),
      line ?? '',
      keptLogLines,
      unless?.canceled === true ? 1 : 0,
      open.submissionId,
      open.note === null ? '' : JSON.stringify(open.note),
      open.use ?? '',
    );
    if (code === 2) return { kind: 'handed-over' };
    if (code === 0) return { kind: 'canceled', at: Number(cancel) };
    return code === 1 ? { kind: 'saved' } : { kind: 'fenced' };
  }

  /**
   * Appends a line to a job's log, after the job was given back.
   * @param open - what the list of submissions under way is to say; not when `poll`, its poll job, exists, or when another
   * worker has started the job since, which made it the one after `starts`.
   * @returns true when a caller asked for something while a worker held the job, so that it should run at once.
   */
  async note(
    address: JobAddress,
    line: string | undefined,
    open?: OpenNote & { poll: JobAddress; starts: number },
  ): Promise<boolean> {
    const note = open?.note ?? null;
    const asked = await this.#redis.jobferryNote(
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
      open?.use ?? '',
    );
    return asked === 1;
  }

  /**
   * Gives a poll job its record, once: the hand-over from the submit stage. Takes the log and a cancel along that came
   * meanwhile, to either job. A second call changes nothing.
   * @param request - the submission's request as JSON text
   * @returns `begun` or `begun-canceled` by this call, `present` when it had a record, `over` when the submission was
   * settled at the submit stage meanwhile, `missing` when there is no job.
   */
  async begin(
    poll: JobAddress,
    submit: JobAddress,
    state: SubmissionState,
    request: string,
    line: string,
    open: OpenNote,
  ): Promise<'begun' | 'begun-canceled' | 'present' | 'over' | 'missing'> {
    const code = await this.#redis.jobferryBegin(
      this.#jobKey(poll),
      this.#key(poll, ':logs'),
      this.#jobKey(submit),
      this.#key(submit, ':logs'),
      openKey(this.#prefix, open.vendor),
      writeRecord(state),
      progressOf(state),
      request,
      line,
      keptLogLines,
      open.submissionId,
      open.note === null ? '' : JSON.stringify(open.note),
      open.use ?? '',
    );
    const results = { 3: 'over', 2: 'begun-canceled', 1: 'begun', 0: 'present' } as const;
    return results[code as 0 | 1 | 2 | 3] ?? 'missing';
  }

  /**
   * Asks right before a submit whether `token` still holds the job, and keeps it held for `lockMs` from then on. A machine
   * that was suspended cannot tell by its clock.
   */
  async holdToSend(address: JobAddress, token: string, lockMs: number): Promise<boolean> {
    return (await this.#redis.jobferryHold(this.#key(address, ':lock'), token, lockMs)) === 1;
  }

  /**
   * Stores the vendor's answer to a submit for the worker that has the job by now. Deliberately not fenced.
   * @param intent - the submit that was answered
   * @returns false when no worker will come for it: another submit was made since, the submission has ended, or its job
   * is gone.
   */
  async leaveAnswer(address: JobAddress, intent: Intent, reply: unknown): Promise<boolean> {
    return this.#leave(address, intent, { reply });
  }

  /** Leaves with the submission that this submit was not made and never will be. As `leaveAnswer` otherwise. */
  async leaveUnsent(address: JobAddress, intent: Intent): Promise<boolean> {
    return this.#leave(address, intent, { unsent: true });
  }

  async #leave(address: JobAddress, intent: Intent, left: LeftBehind): Promise<boolean> {
    const text = JSON.stringify({ intent, ...left });
    return (await this.#redis.jobferryAnswer(this.#jobKey(address), nameIntent(intent), text)) === 1;
  }

  /** What another worker knew of this submit and could not store. */
  async leftFor(address: JobAddress, intent: Intent): Promise<LeftBehind | undefined> {
    const text = await this.#redis.hget(this.#jobKey(address), hashFields.answer);
    if (text === null) return undefined;
    const left = JSON.parse(text) as { intent: Intent } & LeftBehind;
    return left.intent.at === intent.at && left.intent.attempt === intent.attempt ? left : undefined;
  }

  /**
   * Leaves a cancel request with a job.
   * @returns `marked` when the job may be promoted, `active` when a worker holds it and will see the request, `over` when
   * it has ended, `missing` when there is no such job.
   */
  async requestCancel(address: JobAddress, at: number): Promise<'marked' | 'active' | 'over' | 'missing'> {
    const code = await this.#redis.jobferryCancel(this.#jobKey(address), this.#key(address, ':lock'), at);
    return ({ 0: 'marked', 1: 'active', 2: 'over' } as const)[code as 0 | 1 | 2] ?? 'missing';
  }

  /** When a caller asked for a cancel, epoch ms. For a worker that has held the job for long. */
  async cancelRequestedAt(address: JobAddress): Promise<number | undefined> {
    const text = await this.#redis.hget(this.#jobKey(address), hashFields.cancel);
    const at = Number(text);
    return text === null || !Number.isFinite(at) ? undefined : at;
  }

  /**
   * Leaves a person's decision with a submission that waits for one. The first decision stands until it is carried out.
   * @returns `marked` when the job may be promoted, `active` when a worker holds it and will see the decision,
   * `decided` when there is another one, `not-waiting` when it waits for none, `missing` when there is no record.
   */
  async resolve(
    address: JobAddress,
    resolution: Resolution,
  ): Promise<'marked' | 'active' | 'decided' | 'not-waiting' | 'missing'> {
    const code = await this.#redis.jobferryResolve(
      this.#jobKey(address),
      this.#key(address, ':lock'),
      JSON.stringify(resolution),
    );
    const results = { 0: 'marked', 1: 'active', 2: 'not-waiting', 3: 'decided' } as const;
    return results[code as 0 | 1 | 2 | 3] ?? 'missing';
  }

  /** The stored record of a job; undefined when there is none. */
  async read(address: JobAddress): Promise<SubmissionState | undefined> {
    const [record, progress] = await this.#redis.hmget(this.#jobKey(address), hashFields.record, 'progress');
    return recordOf({ [hashFields.record]: record ?? undefined, progress: progress ?? undefined });
  }

  /** All fields of a job's hash; undefined when there is no such job. */
  async readHash(address: JobAddress): Promise<JobHash | undefined> {
    const hash = await this.#redis.hgetall(this.#jobKey(address));
    return Object.keys(hash).length === 0 ? undefined : hash;
  }

  /** What jobs were added with, in one round trip; undefined for each that is not there. */
  async readRequests(addresses: readonly JobAddress[]): Promise<(StoredRequest | undefined)[]> {
    const pipeline = this.#redis.pipeline();
    for (const address of addresses) pipeline.hmget(this.#jobKey(address), ...requestFields);
    const replies = (await pipeline.exec()) ?? [];
    return addresses.map((_address, index) => {
      const [error, values] = replies[index] ?? [new Error('Redis gave no answer')];
      if (error !== null) throw error;
      return readRequest(values as (string | null)[]);
    });
  }

  /** Notes that a submit job fails because its submission did not succeed: it must not be taken up again. */
  async markEnded(address: JobAddress): Promise<void> {
    await this.#redis.jobferryMark(this.#jobKey(address), hashFields.ended, '1');
  }

  async hasEnded(address: JobAddress): Promise<boolean> {
    return (await this.#redis.hexists(this.#jobKey(address), hashFields.ended)) === 1;
  }

  /** True when the job exists, whatever its state. */
  async exists(address: JobAddress): Promise<boolean> {
    return (await this.#redis.exists(this.#jobKey(address))) === 1;
  }

  /** True until the submission's outcome is stored. */
  async isUnderWay(vendor: string, submissionId: string): Promise<boolean> {
    return (await this.#redis.hexists(openKey(this.#prefix, vendor), submissionId)) === 1;
  }

  /** True when BullMQ has done with the job and keeps it. */
  async isFinished(address: JobAddress): Promise<boolean> {
    return (await this.#redis.hexists(this.#jobKey(address), 'finishedOn')) === 1;
  }

  #jobKey(address: JobAddress): string {
    return this.#key(address, '');
  }

  #key(address: JobAddress, suffix: string): string {
    return `${this.#prefix}:${address.queue}:${address.jobId}${suffix}`;
  }
}

const { record, request, cancel, decision, answer, handedOver } = hashFields;

const helpers = `
local function append(key, line, keep)
  if line ~= '' then
    redis.call('RPUSH', key, line)
    redis.call('LTRIM', key, -tonumber(keep), -1)
  end
end

-- What is noted of another use of the id, whose job was removed, stays beside: that use is told yet.
local function list(key, id, use, note)
  local before = redis.call('HGET', key, id)
  local earlier = before and string.match(before, '^{"op":"[^"]*","at":%d+,"use":"([^"]*)"')
  if earlier and use ~= '' and earlier ~= use then redis.call('HSET', key, id .. '${earlierUse}' .. earlier, before) end
  if note == '' then redis.call('HDEL', key, id) else redis.call('HSET', key, id, note) end
end

-- Phase, submit under way, whether a person has to decide, and when a cancel was asked for.
local function head(key)
  return string.match(redis.call('HGET', key, '${record}') or '', '^(%a+) (%S+) (%S+) (%S+) ')
end

-- The version before kept the record in progress.
local function hasRecord(key)
  if redis.call('HEXISTS', key, '${record}') == 1 then return true end
  return string.sub(redis.call('HGET', key, 'progress') or '', 1, 4) == '{"v"'
end
`;

const scripts = {
  jobferrySave: {
    numberOfKeys: 5,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1} end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {-2} end
local cancel = redis.call('HGET', KEYS[1], '${cancel}')
if ARGV[6] == '1' and cancel then return {0, cancel} end
if KEYS[4] ~= KEYS[1] and hasRecord(KEYS[4]) then return {2} end
if redis.call('HEXISTS', KEYS[1], '${request}') == 0 and redis.call('HSTRLEN', KEYS[1], 'data') <= ${maxJobDataBytes} then
  redis.call('HSET', KEYS[1], '${request}', redis.call('HGET', KEYS[1], 'data') or '')
end
redis.call('HSET', KEYS[1], '${record}', ARGV[2], 'progress', ARGV[3])
local _, submit, waits = head(KEYS[1])
if submit == '-' then redis.call('HDEL', KEYS[1], '${answer}') end
if waits == '-' then redis.call('HDEL', KEYS[1], '${decision}') end
append(KEYS[3], ARGV[4], ARGV[5])
list(KEYS[5], ARGV[7], ARGV[9], ARGV[8])
return {1}`,
  },
  jobferryNote: {
    numberOfKeys: 4,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
append(KEYS[2], ARGV[1], ARGV[2])
if ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'ats') == ARGV[5] and redis.call('EXISTS', KEYS[4]) == 0 then
  list(KEYS[3], ARGV[3], ARGV[6], ARGV[4])
end
local asked = redis.call('HMGET', KEYS[1], '${cancel}', '${decision}')
local _, _, waits = head(KEYS[1])
return (asked[1] or (asked[2] and waits == '?')) and 1 or 0`,
  },
  jobferryBegin: {
    numberOfKeys: 5,
    lua: `${helpers}
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local isLeft = redis.call('EXISTS', KEYS[3]) == 1
if hasRecord(KEYS[1]) then
  if isLeft then redis.call('HSET', KEYS[3], '${handedOver}', 1) end
  return 0
end
local phase, _, _, canceled = head(KEYS[3])
if phase == 'settled' then return 3 end
redis.call('HSET', KEYS[1], '${record}', ARGV[1], 'progress', ARGV[2], '${request}', ARGV[3])
if isLeft then redis.call('HSET', KEYS[3], '${handedOver}', 1) end
for _, line in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do append(KEYS[2], line, ARGV[5]) end
append(KEYS[2], ARGV[4], ARGV[5])
list(KEYS[5], ARGV[6], ARGV[8], ARGV[7])
local cancel = redis.call('HGET', KEYS[3], '${cancel}') or redis.call('HGET', KEYS[1], '${cancel}') or canceled
if cancel and cancel ~= '-' then
  redis.call('HSET', KEYS[1], '${cancel}', cancel)
  return 2
end
return 1`,
  },
  jobferryAnswer: {
    numberOfKeys: 1,
    lua: `${helpers}
local phase, submit = head(KEYS[1])
if not phase or phase == 'settled' or submit ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], '${answer}', ARGV[2])
return 1`,
  },
  jobferryHold: {
    numberOfKeys: 1,
    lua: `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  },
  jobferryMark: {
    numberOfKeys: 1,
    // Without its other fields the hash would be no job, and keep the id from ever being one.
    lua: `
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1`,
  },
  jobferryResolve: {
    numberOfKeys: 2,
    lua: `${helpers}
if not hasRecord(KEYS[1]) then return -1 end
local _, _, waits = head(KEYS[1])
if waits ~= '?' then return 2 end
local kept = redis.call('HGET', KEYS[1], '${decision}')
if kept and kept ~= ARGV[1] then return 3 end
redis.call('HSET', KEYS[1], '${decision}', ARGV[1])
return redis.call('EXISTS', KEYS[2])`,
  },
  jobferryCancel: {
    numberOfKeys: 2,
    lua: `
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finishedOn') == 1 then return 2 end
redis.call('HSETNX', KEYS[1], '${cancel}', ARGV[1])
return redis.call('EXISTS', KEYS[2])`,
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
    record: string,
    progress: string,
    line: string,
    keep: number,
    unlessCanceled: 0 | 1,
    submissionId: string,
    note: string,
    use: string,
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
    use: string,
  ): Promise<number>;
  jobferryBegin(
    poll: string,
    pollLogs: string,
    submit: string,
    submitLogs: string,
    open: string,
    record: string,
    progress: string,
    request: string,
    line: string,
    keep: number,
    submissionId: string,
    note: string,
    use: string,
  ): Promise<number>;
  jobferryAnswer(job: string, intent: string, answer: string): Promise<number>;
  jobferryHold(lock: string, token: string, lockMs: number): Promise<number>;
  jobferryCancel(job: string, lock: string, at: number): Promise<number>;
  jobferryMark(job: string, field: string, value: string): Promise<number>;
  jobferryResolve(job: string, lock: string, resolution: string): Promise<number>;
}
