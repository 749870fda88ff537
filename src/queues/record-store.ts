import { nameIntent, progressOf, writeRecord } from '../core/record.ts';
import type { Intent, Resolution, SubmissionState } from '../core/submission.ts';
import type { RedisConnection } from './connection.ts';
import { parseJson, recordOf, type JobHash } from './job-hash.ts';
import { hashFields, openKey } from './keys.ts';
import { earlierUse, type OpenNote } from './open-submissions.ts';
import { defineScripts, script, type Commands } from './script.ts';
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
  readonly #redis: RedisConnection;
  readonly #run: Commands<typeof scripts>;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    this.#redis = redis;
    this.#run = defineScripts(redis, scripts);
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
    const [kind, canceledAt] = await this.#run.jobferrySave(
      {
        job: this.#jobKey(address),
        lock: this.#key(address, ':lock'),
        logs: this.#key(address, ':logs'),
        pollJob: this.#jobKey(unless?.handedOver ?? address),
        underWay: openKey(this.#prefix, open.vendor),
      },
      {
        token,
        record: writeRecord(state),
        progress: progressOf(state),
        line: line ?? '',
        unlessCanceled: unless?.canceled === true ? 1 : 0,
        ...noteArgs(open),
      },
    );
    return kind === 'canceled' ? { kind, at: Number(canceledAt) } : { kind };
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
    const [reply] = await this.#run.jobferryNote(
      {
        job: this.#jobKey(address),
        logs: this.#key(address, ':logs'),
        // Without a note these keys are never touched; they must lie on the node of the others all the same.
        underWay: open === undefined ? this.#jobKey(address) : openKey(this.#prefix, open.vendor),
        pollJob: this.#jobKey(open?.poll ?? address),
      },
      { line: line ?? '', starts: open?.starts ?? 0, ...noteArgs(open) },
    );
    return reply === 'asked';
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
    const [reply] = await this.#run.jobferryBegin(
      {
        pollJob: this.#jobKey(poll),
        pollLogs: this.#key(poll, ':logs'),
        submitJob: this.#jobKey(submit),
        submitLogs: this.#key(submit, ':logs'),
        underWay: openKey(this.#prefix, open.vendor),
      },
      { record: writeRecord(state), progress: progressOf(state), request, line, ...noteArgs(open) },
    );
    return reply;
  }

  /**
   * Asks right before a submit whether `token` still holds the job, and keeps it held for `lockMs` from then on. A machine
   * that was suspended cannot tell by its clock.
   */
  async holdToSend(address: JobAddress, token: string, lockMs: number): Promise<boolean> {
    const [reply] = await this.#run.jobferryHold({ lock: this.#key(address, ':lock') }, { token, lockMs });
    return reply === 'held';
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
    const answer = JSON.stringify({ intent, ...left });
    const [reply] = await this.#run.jobferryAnswer(
      { job: this.#jobKey(address) },
      { submit: nameIntent(intent), answer },
    );
    return reply === 'left';
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
    const [reply] = await this.#run.jobferryCancel(
      { job: this.#jobKey(address), lock: this.#key(address, ':lock') },
      { at },
    );
    return reply;
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
    const [reply] = await this.#run.jobferryResolve(
      { job: this.#jobKey(address), lock: this.#key(address, ':lock') },
      { decision: JSON.stringify(resolution) },
    );
    return reply;
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
    await this.#run.jobferryMark({ job: this.#jobKey(address) }, { field: hashFields.ended, value: '1' });
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

/** What scripts need to keep the list of submissions under way. */
function noteArgs(open: OpenNote | undefined): { submissionId: string; note: string; use: string } {
  const note = open?.note ?? null;
  return {
    submissionId: open?.submissionId ?? '',
    note: note === null ? '' : JSON.stringify(note),
    use: open?.use ?? '',
  };
}

const fields = hashFields;
const noteArgNames = ['submissionId', 'note', 'use'] as const;

/** What several scripts do. `head` reads the head of a record (core/record.ts) and nothing of the JSON behind it. */
const helpers = `
local function append(logs, line)
  if line ~= '' then
    redis.call('RPUSH', logs, line)
    redis.call('LTRIM', logs, -${keptLogLines}, -1)
  end
end

-- What is noted of another use of the id, whose job was removed, stays beside: that use is told yet.
local function list(underWay, id, use, note)
  local before = redis.call('HGET', underWay, id)
  local earlier = before and string.match(before, '^{"op":"[^"]*","at":%d+,"use":"([^"]*)"')
  if earlier and use ~= '' and earlier ~= use then
    redis.call('HSET', underWay, id .. '${earlierUse}' .. earlier, before)
  end
  if note == '' then redis.call('HDEL', underWay, id) else redis.call('HSET', underWay, id, note) end
end

-- Phase, submit under way, whether a person has to decide, and when a cancel was asked for.
local function head(job)
  return string.match(redis.call('HGET', job, '${fields.record}') or '', '^(%a+) (%S+) (%S+) (%S+) ')
end

-- The version before kept the record in progress.
local function hasRecord(job)
  if redis.call('HEXISTS', job, '${fields.record}') == 1 then return true end
  return string.sub(redis.call('HGET', job, 'progress') or '', 1, 4) == '{"v"'
end
`;

/** The scripts of the record store, by the names that Redis' own logs show. */
export const scripts = {
  jobferrySave: script({
    keys: ['job', 'lock', 'logs', 'pollJob', 'underWay'],
    args: ['token', 'record', 'progress', 'line', 'unlessCanceled', ...noteArgNames],
    replies: ['saved', 'fenced', 'canceled', 'handed-over'],
    lua: `${helpers}
if redis.call('EXISTS', job) == 0 then return {'fenced'} end
if redis.call('GET', lock) ~= token then return {'fenced'} end
local canceledAt = redis.call('HGET', job, '${fields.cancel}')
if unlessCanceled == '1' and canceledAt then return {'canceled', canceledAt} end
if pollJob ~= job and hasRecord(pollJob) then return {'handed-over'} end
if redis.call('HEXISTS', job, '${fields.request}') == 0 and redis.call('HSTRLEN', job, 'data') <= ${maxJobDataBytes} then
  redis.call('HSET', job, '${fields.request}', redis.call('HGET', job, 'data') or '')
end
redis.call('HSET', job, '${fields.record}', record, 'progress', progress)
local _, submit, waits = head(job)
if submit == '-' then redis.call('HDEL', job, '${fields.answer}') end
if waits == '-' then redis.call('HDEL', job, '${fields.decision}') end
append(logs, line)
list(underWay, submissionId, use, note)
return {'saved'}`,
  }),
  jobferryNote: script({
    keys: ['job', 'logs', 'underWay', 'pollJob'],
    args: ['line', 'starts', ...noteArgNames],
    replies: ['nothing', 'asked'],
    lua: `${helpers}
if redis.call('EXISTS', job) == 0 then return {'nothing'} end
append(logs, line)
if note ~= '' and redis.call('HGET', job, 'ats') == starts and redis.call('EXISTS', pollJob) == 0 then
  list(underWay, submissionId, use, note)
end
local asked = redis.call('HMGET', job, '${fields.cancel}', '${fields.decision}')
local _, _, waits = head(job)
if asked[1] or (asked[2] and waits == '?') then return {'asked'} end
return {'nothing'}`,
  }),
  jobferryBegin: script({
    keys: ['pollJob', 'pollLogs', 'submitJob', 'submitLogs', 'underWay'],
    args: ['record', 'progress', 'request', 'line', ...noteArgNames],
    replies: ['begun', 'begun-canceled', 'present', 'over', 'missing'],
    lua: `${helpers}
if redis.call('EXISTS', pollJob) == 0 then return {'missing'} end
local isLeft = redis.call('EXISTS', submitJob) == 1
if hasRecord(pollJob) then
  if isLeft then redis.call('HSET', submitJob, '${fields.handedOver}', 1) end
  return {'present'}
end
local phase, _, _, canceled = head(submitJob)
if phase == 'settled' then return {'over'} end
redis.call('HSET', pollJob, '${fields.record}', record, 'progress', progress, '${fields.request}', request)
if isLeft then redis.call('HSET', submitJob, '${fields.handedOver}', 1) end
for _, earlier in ipairs(redis.call('LRANGE', submitLogs, 0, -1)) do append(pollLogs, earlier) end
append(pollLogs, line)
list(underWay, submissionId, use, note)
local asked = redis.call('HGET', submitJob, '${fields.cancel}') or redis.call('HGET', pollJob, '${fields.cancel}')
local canceledAt = asked or canceled
if canceledAt and canceledAt ~= '-' then
  redis.call('HSET', pollJob, '${fields.cancel}', canceledAt)
  return {'begun-canceled'}
end
return {'begun'}`,
  }),
  jobferryAnswer: script({
    keys: ['job'],
    args: ['submit', 'answer'],
    replies: ['left', 'too-late'],
    lua: `${helpers}
local phase, waiting = head(job)
if not phase or phase == 'settled' or waiting ~= submit then return {'too-late'} end
redis.call('HSET', job, '${fields.answer}', answer)
return {'left'}`,
  }),
  jobferryHold: script({
    keys: ['lock'],
    args: ['token', 'lockMs'],
    replies: ['held', 'lost'],
    lua: `
if redis.call('GET', lock) ~= token then return {'lost'} end
if redis.call('PEXPIRE', lock, lockMs) == 1 then return {'held'} end
return {'lost'}`,
  }),
  jobferryMark: script({
    keys: ['job'],
    args: ['field', 'value'],
    replies: ['marked', 'missing'],
    // Without its other fields the hash would be no job, and keep the id from ever being one.
    lua: `
if redis.call('EXISTS', job) == 0 then return {'missing'} end
redis.call('HSET', job, field, value)
return {'marked'}`,
  }),
  jobferryResolve: script({
    keys: ['job', 'lock'],
    args: ['decision'],
    replies: ['marked', 'active', 'decided', 'not-waiting', 'missing'],
    lua: `${helpers}
if not hasRecord(job) then return {'missing'} end
local _, _, waits = head(job)
if waits ~= '?' then return {'not-waiting'} end
local kept = redis.call('HGET', job, '${fields.decision}')
if kept and kept ~= decision then return {'decided'} end
redis.call('HSET', job, '${fields.decision}', decision)
if redis.call('EXISTS', lock) == 1 then return {'active'} end
return {'marked'}`,
  }),
  jobferryCancel: script({
    keys: ['job', 'lock'],
    args: ['at'],
    replies: ['marked', 'active', 'over', 'missing'],
    lua: `
if redis.call('EXISTS', job) == 0 then return {'missing'} end
if redis.call('HEXISTS', job, 'finishedOn') == 1 then return {'over'} end
redis.call('HSETNX', job, '${fields.cancel}', at)
if redis.call('EXISTS', lock) == 1 then return {'active'} end
return {'marked'}`,
  }),
};
