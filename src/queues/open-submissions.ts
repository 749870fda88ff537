import type { JsonObject } from '../core/json.ts';
import type { RedisConnection } from './connection.ts';
import { placesOf, submissionIdOf } from './job-ids.ts';
import { stageQueue } from './names.ts';
import type { SalvagedJob } from './submit-job.ts';

/**
 * What is remembered of a submission beside its job: enough to tell its caller, when the job is removed behind our back.
 * Short, because one is kept for each submission under way; what is usual is left out.
 */
export interface OpenSubmission {
  /** The operation. */
  op: string;
  /** When it was enqueued, epoch ms. */
  at: number;
  /** When the last submit was about to be made or was accepted, epoch ms; without one nothing was sent. */
  sent?: number;
  /** Vendor jobs. */
  jobs?: string[];
  account?: string;
  replyTo?: string;
  metadata?: JsonObject;
  /** The submit job's id, where it does not follow from the submission id. */
  job?: string;
  /** Since when neither queue has a job for it, epoch ms. */
  gone?: number;
}

/** The note on a submission, as it is written along with its record. */
export interface OpenNote {
  vendor: string;
  submissionId: string;
  /** Null takes the submission off the list. */
  note: OpenSubmission | null;
}

export interface GoneSubmission {
  submissionId: string;
  note: OpenSubmission;
  /** The stored text, for taking exactly this one off the list. */
  text: string;
}

const usualReply = { account: 'default', replyTo: 'results' } as const;

/** Says where the event goes and what it echoes, as far as it is out of the ordinary. */
export function noteReply(reply: SalvagedJob): Pick<OpenSubmission, 'account' | 'replyTo' | 'metadata'> {
  return {
    ...(reply.account === usualReply.account ? {} : { account: reply.account }),
    ...(reply.replyTo === usualReply.replyTo ? {} : { replyTo: reply.replyTo }),
    ...(reply.metadata === null ? {} : { metadata: reply.metadata }),
  };
}

/** The other way round. */
export function replyOf(note: OpenSubmission): SalvagedJob {
  const { account = usualReply.account, replyTo = usualReply.replyTo, metadata = null } = note;
  return { account, replyTo, metadata };
}

/** True where the submit job's id is what everybody would look under. */
export function isUsualSubmitJob(vendor: string, submissionId: string, submitJobId: string): boolean {
  return submissionIdOf(vendor, submitJobId) === submissionId;
}

/** `<prefix>:jobferry:open:<vendor>`: a hash of submission id → note. */
export function openKey(prefix: string, vendor: string): string {
  return `${prefix}:jobferry:open:${vendor}`;
}

/**
 * The list of submissions under way. Each is put on it by the script that writes its record first, and taken off by the
 * one that writes its outcome; so whoever is on it and has no job was removed from outside.
 */
export class OpenSubmissions {
  readonly #redis: RedisConnection;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    redis.defineCommand('jobferryReplaceNote', replaceNote);
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * Looks at a part of the list.
   * @param cursor - '0' to begin with; what the last call returned after that.
   * @returns those without any job, and where to go on; '0' when the list is through.
   */
  async findGone(vendor: string, cursor: string): Promise<{ cursor: string; gone: GoneSubmission[] }> {
    const [next, pairs] = await this.#redis.hscan(openKey(this.#prefix, vendor), cursor, 'COUNT', 250);
    const notes: GoneSubmission[] = [];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const [submissionId = '', text = ''] = pairs.slice(at, at + 2);
      notes.push({ submissionId, text, note: JSON.parse(text) as OpenSubmission });
    }
    const exist = await Promise.all(notes.map(({ submissionId, note }) => this.#hasJob(vendor, submissionId, note)));
    return { cursor: next, gone: notes.filter((_, index) => exist[index] === false) };
  }

  /** Notes since when a submission has no job. */
  async markGone(vendor: string, { submissionId, text, note }: GoneSubmission, now: number): Promise<void> {
    await this.#replace(vendor, submissionId, text, JSON.stringify({ ...note, gone: now }));
  }

  /** Takes a submission off the list, unless its note has changed since. */
  async forget(vendor: string, { submissionId, text }: GoneSubmission): Promise<void> {
    await this.#replace(vendor, submissionId, text, '');
  }

  async #hasJob(vendor: string, submissionId: string, note: OpenSubmission): Promise<boolean> {
    const places = placesOf(vendor, submissionId).map(
      ({ stage, jobId }) =>
        `${this.#prefix}:${stageQueue(vendor, stage)}:${stage === 'submit' ? (note.job ?? jobId) : jobId}`,
    );
    // The submit job first: a hand-over adds the poll job before it removes the submit job.
    for (const key of places.reverse()) if ((await this.#redis.exists(key)) === 1) return true;
    return false;
  }

  async #replace(vendor: string, submissionId: string, from: string, to: string): Promise<void> {
    const redis = this.#redis as RedisConnection & NoteCommands;
    await redis.jobferryReplaceNote(openKey(this.#prefix, vendor), submissionId, from, to);
  }
}

const replaceNote = {
  numberOfKeys: 1,
  lua: `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1`,
};

interface NoteCommands {
  jobferryReplaceNote(key: string, submissionId: string, from: string, to: string): Promise<number>;
}
