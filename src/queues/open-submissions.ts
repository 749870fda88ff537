import type { JsonObject } from '../core/json.ts';
import type { RedisConnection } from './connection.ts';
import { placesOf } from './job-ids.ts';
import { stageQueue, type Stage } from './names.ts';
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
  /** Which use of the submission id it is; part of the event id. */
  use?: string;
  /** When the last submit was about to be made or was accepted, epoch ms; without one nothing was sent. */
  sent?: number;
  /** Vendor jobs. */
  jobs?: string[];
  account?: string;
  replyTo?: string;
  metadata?: JsonObject;
  /** The submit job's id, where it does not follow from the submission id. */
  job?: string;
  /** Since when no job will carry it on, epoch ms. */
  gone?: number;
}

/** The note on a submission, as it is written along with its record. */
export interface OpenNote {
  vendor: string;
  submissionId: string;
  /** Null takes the submission off the list. */
  note: OpenSubmission | null;
}

/** A submission that is under way, and that no job will carry on. */
export interface StrandedSubmission {
  submissionId: string;
  note: OpenSubmission;
  /** Its job, which was completed while the submission was not over; undefined when there is none any more. */
  completed: { stage: Stage; jobId: string } | undefined;
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
  return placesOf(vendor, submissionId).some(({ stage, jobId }) => stage === 'submit' && jobId === submitJobId);
}

/** `<prefix>:jobferry:open:<vendor>`: a hash of submission id → note. */
export function openKey(prefix: string, vendor: string): string {
  return `${prefix}:jobferry:open:${vendor}`;
}

/**
 * The list of submissions under way. Each is put on it by the script that writes its record first, and taken off by the
 * one that writes its outcome; so whoever is on it and has no job, or a completed one, was removed from outside or lost by Redis.
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
   * @returns those that no job will carry on, and where to go on; '0' when the list is through.
   */
  async findStranded(vendor: string, cursor: string): Promise<{ cursor: string; stranded: StrandedSubmission[] }> {
    const [next, pairs] = await this.#redis.hscan(openKey(this.#prefix, vendor), cursor, 'COUNT', 250);
    const looks: Promise<StrandedSubmission[]>[] = [];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const [submissionId = '', text = ''] = pairs.slice(at, at + 2);
      looks.push(this.#look(vendor, submissionId, text));
    }
    return { cursor: next, stranded: (await Promise.all(looks)).flat() };
  }

  /** Notes since when a submission is stranded, or that it is no more. */
  async mark(
    vendor: string,
    { submissionId, text, note }: StrandedSubmission,
    since: number | undefined,
  ): Promise<void> {
    await this.#replace(vendor, submissionId, text, JSON.stringify({ ...note, gone: since }));
  }

  /** Takes a submission off the list, unless its note has changed since. */
  async forget(vendor: string, { submissionId, text }: StrandedSubmission): Promise<void> {
    await this.#replace(vendor, submissionId, text, '');
  }

  /** @returns the submission if it is stranded, else nothing. */
  async #look(vendor: string, submissionId: string, text: string): Promise<StrandedSubmission[]> {
    const note = JSON.parse(text) as OpenSubmission;
    let completed: StrandedSubmission['completed'];
    // The submit job first: a hand-over adds the poll job before it removes the submit job.
    for (const { stage, jobId: usualId } of placesOf(vendor, submissionId).reverse()) {
      const jobId = stage === 'submit' ? (note.job ?? usualId) : usualId;
      const key = `${this.#prefix}:${stageQueue(vendor, stage)}:${jobId}`;
      const [timestamp = null, finishedOn = null] = await this.#redis.hmget(key, 'timestamp', 'finishedOn');
      if (timestamp === null) continue;
      if (finishedOn === null) return [];
      completed = { stage, jobId };
    }
    return [{ submissionId, note, text, completed }];
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
