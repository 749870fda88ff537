import type { JsonObject } from '../core/json.ts';
import type { RedisConnection } from './connection.ts';
import { placesOf } from './job-ids.ts';
import { openKey, sharedKey } from './keys.ts';
import { stageQueue, type Stage } from './names.ts';
import { whyReplyIsRefused, type ReplyRules } from './reply-queues.ts';
import { place, placeOf } from './stray-jobs.ts';
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
  /** Of the submission id. */
  use: string | undefined;
  /** Null takes the submission off the list. */
  note: OpenSubmission | null;
}

/** A submission that is under way, and that no job will carry on. */
export interface StrandedSubmission {
  submissionId: string;
  /** Where its note is in the list. */
  field: string;
  note: OpenSubmission;
  /** Its job, which was completed while the submission was not over; undefined when there is none any more. */
  completed: { stage: Stage; jobId: string } | undefined;
  /** The stored text, for taking exactly this one off the list. */
  text: string;
}

/** What a look at a part of the list found. */
interface OpenPart {
  /** Where to go on; '0' when the list is through. */
  cursor: string;
  stranded: StrandedSubmission[];
  /** Jobs of submissions that stand in no sorted set, by stage; the lists may have them. */
  unplaced: Record<Stage, string[]>;
  /** Submit jobs that wait for a poll job which does not exist or is over. */
  childless: { jobId: string; pollJobId: string }[];
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

/** The other way round. A queue that is no longer allowed gives way to the default one, as with a job that is still there. */
export function replyOf(note: OpenSubmission, rules: ReplyRules): SalvagedJob {
  const { account = usualReply.account, replyTo = usualReply.replyTo, metadata = null } = note;
  const isAllowed = whyReplyIsRefused(replyTo, rules) === undefined;
  return { account, replyTo: isAllowed ? replyTo : usualReply.replyTo, metadata };
}

/** True where the submit job's id is what everybody would look under. */
export function isUsualSubmitJob(vendor: string, submissionId: string, submitJobId: string): boolean {
  return placesOf(vendor, submissionId).some(({ stage, jobId }) => stage === 'submit' && jobId === submitJobId);
}

/** Between a submission id and the use of it, where another use of the same id is on the list as well. */
export const earlierUse = '\x1f';

/**
 * The list of submissions under way, a hash of submission id → note (`openKey`). Where the job of a submission was removed, and
 * its id is used again before that was seen, the note of the first use is moved to `<submission id>\x1f<use>`.
 *
 * Each is put on it when its record is first written, by the same script or, where the
 * job is delayed along with it, by the next; and taken off by the script that writes its outcome. So a submission on it
 * whose job is gone, or completed, was removed from outside or lost by Redis.
 */
export class OpenSubmissions {
  readonly #redis: RedisConnection & OpenCommands;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
    this.#redis = redis as RedisConnection & OpenCommands;
    this.#prefix = prefix;
  }

  /**
   * Looks at a part of the list. One script looks at most submissions where they are, so that only those come here that
   * are in motion or in trouble.
   * @param cursor - '0' to begin with; what the last call returned after that.
   */
  async findStranded(vendor: string, cursor: string): Promise<OpenPart> {
    const [submitBase, pollBase] = [this.#base(vendor, 'submit'), this.#base(vendor, 'poll')];
    const key = openKey(this.#prefix, vendor);
    const [next, found] = await this.#redis.jobferryUnderWay(key, cursor, partSize, pollBase, submitBase, `${vendor}-`);
    const part: OpenPart = { cursor: next, stranded: [], unplaced: { submit: [], poll: [] }, childless: [] };
    const looks = [];
    for (const [field, text, places] of found) {
      const note = parseNote(text);
      const [submissionId = '', use] = field.split(earlierUse);
      // The jobs of its id are those of the use that came after it.
      if (use !== undefined && use === note.use)
        part.stranded.push({ field, submissionId, note, text, completed: undefined });
      else looks.push({ field, submissionId: field, text, places, jobs: jobsOf(vendor, field, text) });
    }
    const unusual = looks.filter((look) => look.places.length === 0);
    if (unusual.length > 0) {
      const ids = unusual.flatMap(({ jobs }) => [jobs.poll, jobs.submit]);
      const places = await this.#redis.jobferryPlacesOf(pollBase, submitBase, ...ids);
      for (const [index, look] of unusual.entries()) look.places = places.slice(2 * index, 2 * index + 2);
    }
    for (const { field, submissionId, text, places, jobs } of looks) {
      const [poll = place.absent, submit = place.absent] = places;
      if (poll === place.listedOrStray) part.unplaced.poll.push(jobs.poll);
      if (submit === place.listedOrStray) part.unplaced.submit.push(jobs.submit);
      if (poll > place.finished) continue;
      if (submit === place.waitingForChildren) part.childless.push({ jobId: jobs.submit, pollJobId: jobs.poll });
      if (submit > place.finished) continue;
      const stage: Stage | undefined =
        poll === place.finished ? 'poll' : submit === place.finished ? 'submit' : undefined;
      const completed = stage === undefined ? undefined : { stage, jobId: jobs[stage] };
      part.stranded.push({ field, submissionId, note: parseNote(text), text, completed });
    }
    return part;
  }

  /** Where the last look at a part of the list ended, whoever made it. */
  async readCursor(vendor: string): Promise<string> {
    return (await this.#redis.get(this.#cursorKey(vendor))) ?? '0';
  }

  async saveCursor(vendor: string, cursor: string): Promise<void> {
    await this.#redis.set(this.#cursorKey(vendor), cursor, 'EX', 3_600);
  }

  /** Notes since when a submission is stranded, or that it is no more. */
  async mark(vendor: string, { field, text, note }: StrandedSubmission, since: number | undefined): Promise<void> {
    await this.#replace(vendor, field, text, JSON.stringify({ ...note, gone: since }));
  }

  /** Takes a submission off the list, unless its note has changed since. */
  async forget(vendor: string, { field, text }: StrandedSubmission): Promise<void> {
    await this.#replace(vendor, field, text, '');
  }

  async #replace(vendor: string, field: string, from: string, to: string): Promise<void> {
    await this.#redis.jobferryReplaceNote(openKey(this.#prefix, vendor), field, from, to);
  }

  #base(vendor: string, stage: Stage): string {
    return `${this.#prefix}:${stageQueue(vendor, stage)}:`;
  }

  #cursorKey(vendor: string): string {
    return sharedKey(this.#prefix, 'open-cursor', vendor);
  }
}

/** Submissions that one script call looks at. */
const partSize = 250;

/** The ids of a submission's jobs, whichever of them there are. */
function jobsOf(vendor: string, submissionId: string, text: string): Record<Stage, string> {
  const jobs = { submit: '', poll: '' };
  for (const { stage, jobId } of placesOf(vendor, submissionId)) jobs[stage] = jobId;
  const { job } = parseNote(text);
  return { ...jobs, submit: job ?? jobs.submit };
}

function parseNote(text: string): OpenSubmission {
  return JSON.parse(text) as OpenSubmission;
}

const scripts = {
  jobferryReplaceNote: {
    numberOfKeys: 1,
    lua: `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1`,
  },
  /** Leaves out what is surely carried on. Where jobs have unusual ids it names no places, as it cannot make those ids. */
  jobferryUnderWay: {
    numberOfKeys: 1,
    lua: `${placeOf}
local numbered = ARGV[5]
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {}
for i = 1, #page[2], 2 do
  local id, text = page[2][i], page[2][i + 1]
  local number = string.sub(id, 1, #numbered) == numbered and string.match(id, '^%d+$', #numbered + 1)
  local poll, submit = placeOf(ARGV[3], id), placeOf(ARGV[4], number or id)
  if poll ~= ${place.held} or submit == ${place.listedOrStray} then
    local isUsual = not (string.find(text, '"job":', 1, true) or string.find(id, '[:%c]') or string.find(id, '^[+-]?%d+$') or #id > 512)
    if not isUsual then
      found[#found + 1] = { id, text, {} }
    elseif poll == ${place.listedOrStray} or submit ~= ${place.held} then
      found[#found + 1] = { id, text, { poll, submit } }
    end
  end
end
return { page[1], found }`,
  },
  jobferryPlacesOf: {
    numberOfKeys: 2,
    lua: `${placeOf}
local places = {}
for i, id in ipairs(ARGV) do places[i] = placeOf(KEYS[2 - i % 2], id) end
return places`,
  },
};

interface OpenCommands {
  jobferryReplaceNote(key: string, field: string, from: string, to: string): Promise<number>;
  jobferryUnderWay(
    key: string,
    cursor: string,
    count: number,
    pollBase: string,
    submitBase: string,
    numbered: string,
  ): Promise<[cursor: string, found: [field: string, text: string, places: number[]][]]>;
  jobferryPlacesOf(pollBase: string, submitBase: string, ...ids: string[]): Promise<number[]>;
}
