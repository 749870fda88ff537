import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import type { Job, JobType, Queue } from 'bullmq';
import { eventIdOf } from '../core/completion-event.ts';
import { redactText } from '../core/redact.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { isNumberedId, pollJobId, resultJobId } from '../queues/job-ids.ts';
import { defaultResultQueue, stageQueue } from '../queues/names.ts';
import { boardLimits, clipJson, clipText } from './clip-json.ts';
import {
  summarizeEvent,
  summarizeSubmission,
  withReadableTimes,
  type JobSummary,
  type QueueRole,
} from './describe-job.ts';
import { readStoredJobs, type StoredJob } from './stored-job.ts';

/** How many log lines are shown, from the end. Our jobs keep fewer; a foreign job may have a million. */
const maxLogLines = 200;

/** The lines of Redis' INFO that the board shows. */
const shownOfRedis: ReadonlySet<string> = new Set([
  'uptime_in_seconds',
  'maxmemory',
  'total_system_memory',
  'used_memory',
  'used_memory_peak',
  'mem_fragmentation_ratio',
  'connected_clients',
  'blocked_clients',
]);

type JobJson = ReturnType<Job['toJSON']>;
type Statuses = Parameters<BullMQAdapter['getJobs']>[0];
type ExternalUrl = { href: string; displayText: string };

/**
 * One queue as Bull Board shows it. In addition to the package's adapter:
 * - jobs are read in bounded pieces, so a broken or huge one does not break the page;
 * - a submission's state precedes its data in words, and its percentage draws the ring;
 * - the board shows a clipped copy.
 */
export class BoardQueue extends BullMQAdapter {
  override readonly allowCompletedRetries: boolean;
  readonly #queue: Queue;
  readonly #connection: RedisConnection;
  readonly #role: QueueRole | undefined;

  /**
   * @param role - undefined for a results queue.
   * @param resultQueues - the results queues on the board, so that links work.
   * @param isReadOnly - true for pages without change buttons.
   */
  constructor(
    queue: Queue,
    connection: RedisConnection,
    role: QueueRole | undefined,
    resultQueues: readonly string[],
    isReadOnly: boolean,
  ) {
    super(queue, {
      description: describeQueue(role),
      delimiter: '.',
      readOnlyMode: isReadOnly,
      // Undefined means no link, although the package's types do not allow it.
      externalJobUrl: (shown) => linkOnward(shown, role, resultQueues) as ExternalUrl,
    });
    // Running the job of a settled submission again sends nothing, so the board must not offer it.
    this.allowCompletedRetries = this.allowRetries && role === undefined;
    this.#queue = queue;
    this.#connection = connection;
    this.#role = role;
  }

  override async getJob(id: string): Promise<Job | undefined> {
    const [stored] = await readStoredJobs(this.#connection, this.#queue, [id]);
    return stored === undefined ? undefined : this.#present(stored);
  }

  override async getJobs(statuses: Statuses, start?: number, end?: number): Promise<Job[]> {
    const ids = await this.#queue.getRanges(statuses as JobType[], start, end);
    const stored = await readStoredJobs(this.#connection, this.#queue, ids);
    // One status comes in the queue's order; several would come one after the other.
    if (statuses.length > 1) stored.sort((one, other) => other.job.timestamp - one.job.timestamp);
    return stored.map((job) => this.#present(job));
  }

  override async getJobLogs(id: string): Promise<string[]> {
    const { logs, count } = await this.#queue.getJobLogs(id, 0, maxLogLines - 1, false);
    const lines = logs.reverse().map((line) => clipText(line, boardLimits.maxText));
    return count > lines.length ? [`… ${count - lines.length} earlier lines are not shown`, ...lines] : lines;
  }

  /** INFO may be forbidden, and the board works without it. Lines about the server's software and system are not shown. */
  override async getRedisInfo(): Promise<string | null> {
    const info = await super.getRedisInfo().catch(() => null);
    if (info === null) return null;
    const shown = info.split(/\r?\n/).filter((line) => shownOfRedis.has(line.slice(0, Math.max(0, line.indexOf(':')))));
    return ['redis_version:not shown', ...shown].join('\r\n');
  }

  /** Without the addresses that workers connect from. */
  override async getWorkers(): ReturnType<BullMQAdapter['getWorkers']> {
    const workers = await super.getWorkers();
    return workers?.map((worker) => ({ ...worker, addr: `connection ${worker.id}` })) ?? null;
  }

  /** The board shows no flows: reading one would fetch whole jobs. */
  override async getFlowProducer(): Promise<null> {
    return null;
  }

  /** The job itself stays a BullMQ job, so that retrying and promoting work; only its displayed form is ours. */
  #present(stored: StoredJob): Job {
    stored.job.toJSON = () => this.#picture(stored);
    return stored.job;
  }

  #picture(stored: StoredJob): JobJson {
    const { job } = stored;
    const summary =
      this.#role === undefined ? summarizeEvent(stored.data) : summarizeSubmission(stored, this.#role, Date.now());
    const data = clipJson(stored.data);
    const delay = stored.dueAt === undefined ? undefined : Math.max(0, stored.dueAt - job.timestamp);
    const picture = {
      id: job.id,
      name: clipText(nameOf(job, summary, this.#role), 200),
      timestamp: job.timestamp,
      // The timeline would show the next due time after the start of the last look-up, which looks contradictory.
      processedOn: stored.dueAt === undefined ? job.processedOn : undefined,
      processedBy: job.processedBy,
      finishedOn: job.finishedOn,
      delay: delay ?? job.delay,
      attemptsMade: job.attemptsMade,
      // Every look-up starts the job again; `polls` already counts that.
      attemptsStarted: this.#role === undefined ? job.attemptsStarted : 0,
      stalledCounter: job.stalledCounter,
      priority: job.priority,
      repeatJobKey: job.repeatJobKey,
      deduplicationId: job.deduplicationId,
      // A retry sets it to null, although its type does not allow that.
      failedReason: clipText(job.failedReason ?? '', boardLimits.maxText),
      deferredFailure: job.deferredFailure,
      stacktrace: (job.stacktrace ?? []).slice(-5).map((trace) => clipText(trace, 4_000)),
      // Bull Board adds the delay in the options to the creation time, and shows a doubt if the two delays differ.
      opts: clipJson(delay === undefined ? job.opts : { ...job.opts, delay }),
      progress: pictureOfProgress(stored, summary),
      data: summary === undefined ? data : { state: redactText(summary.state), ...redactFacts(summary), data },
      returnvalue: clipJson(stored.returnValue),
    };
    return picture as unknown as JobJson;
  }
}

function nameOf(job: Job, summary: JobSummary | undefined, role: QueueRole | undefined): string {
  if (summary === undefined) return job.name;
  // The name of an event's job is its type, and the summary begins with it.
  return role === undefined ? summary.state : `${job.name} · ${summary.state}`;
}

/** `progress.progress` draws the board's ring; the rest fills its Progress tab. */
function pictureOfProgress({ record, progress }: StoredJob, summary: JobSummary | undefined): unknown {
  if (record === undefined)
    return typeof progress === 'number' || typeof progress === 'boolean' ? progress : clipJson(progress);
  const ring = summary?.percent === undefined ? {} : { progress: summary.percent };
  const state = summary === undefined ? {} : { state: summary.state };
  return { ...ring, ...state, record: clipJson(withReadableTimes(record)) };
}

function redactFacts(summary: JobSummary): Record<string, unknown> {
  return clipJson(summary.facts) as Record<string, unknown>;
}

function describeQueue(role: QueueRole | undefined): string {
  if (role === undefined) return 'Completion events: how each submission ended';
  return role.stage === 'submit'
    ? `Submissions on their way to ${role.vendor}; finished ones are kept so that none is sent twice`
    : `Submissions that ${role.vendor} works on, looked up until they end`;
}

/** Links to the other jobs of a submission: from submit to poll job, from there to its event, and back. */
function linkOnward(
  shown: { id?: unknown; data: unknown; progress: unknown; finishedOn?: unknown },
  role: QueueRole | undefined,
  resultQueues: readonly string[],
): ExternalUrl | undefined {
  const { data } = (shown.data ?? {}) as { data?: Record<string, unknown> };
  if (role === undefined) return linkToSubmission(data);
  if (typeof shown.id !== 'string' || typeof shown.finishedOn !== 'number') return undefined;
  const { record } = (shown.progress ?? {}) as { record?: { id: string; use?: string; settled?: unknown } };
  if (record?.settled === undefined) {
    if (role.stage === 'poll' || record === undefined) return undefined;
    return link(stageQueue(role.vendor, 'poll'), pollJobId(record.id), 'to its poll job');
  }
  const replyTo = typeof data?.['replyTo'] === 'string' ? data['replyTo'] : defaultResultQueue;
  if (!resultQueues.includes(replyTo)) return undefined;
  return link(replyTo, resultJobId(eventIdOf(role.vendor, record)), 'to its event');
}

/** From an event to the job in which its submission ended: the submit job if the vendor never accepted it. */
function linkToSubmission(event: Record<string, unknown> | undefined): ExternalUrl | undefined {
  const { vendor, submissionId, timings } = (event?.['data'] ?? {}) as Record<string, unknown>;
  if (typeof vendor !== 'string' || typeof submissionId !== 'string') return undefined;
  const { submittedAt } = (timings ?? {}) as { submittedAt?: unknown };
  if (typeof submittedAt === 'string')
    return link(stageQueue(vendor, 'poll'), pollJobId(submissionId), 'to its poll job');
  const jobId = isNumberedId(submissionId, vendor) ? submissionId.slice(vendor.length + 1) : submissionId;
  return link(stageQueue(vendor, 'submit'), jobId, 'to its submit job');
}

function link(queue: string, jobId: string, displayText: string): ExternalUrl {
  return { href: `/queue/${encodeURIComponent(queue)}/${encodeURIComponent(jobId)}`, displayText };
}
