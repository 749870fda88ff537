import { Job, type Queue } from 'bullmq';
import { eventIdOf } from '../core/completion-event.ts';
import { describeState } from '../core/describe.ts';
import { nameRun, readRun } from '../core/run-id.ts';
import { overallProgress, type Resolution, type SubmissionState } from '../core/submission.ts';
import { dueAtOf, jobFields, queueKeys } from './bullmq-internals/layout.ts';
import type { RedisConnection } from './connection.ts';
import { readEnqueuedAt } from './enqueued-at.ts';
import { cancelOf, parseJson, recordOf, requestTextOf, type JobHash } from './job-hash.ts';
import { placesOf, submissionIdOf } from './job-ids.ts';
import { stageQueue, type Stage } from './names.ts';
import { openQueueForReading } from './open-queue.ts';
import { RecordStore, type StoredRequest } from './record-store.ts';

/** How a submission stands, as `jobferry status` and the library tell it. Times are ISO 8601, UTC. */
export interface SubmissionStatus {
  submissionId: string;
  vendor: string;
  operation: string;
  /** The id of its completion event; null until a worker has taken it. */
  eventId: string | null;
  /** In words. */
  state: string;
  phase: SubmissionState['phase'];
  outcome: string | null;
  error: { code: string; message: string } | null;
  progress: { done: number; total: number } | null;
  polls: number;
  vendorJobs: { id: string; status: string; outcome: string | null }[];
  enqueuedAt: string;
  /** When the vendor last took a request that starts work. */
  submittedAt: string | null;
  /** When the vendor had accepted all of it; `deadlineAt` counts from then, and bounds the wait for it until then. */
  acceptedAt: string | null;
  settledAt: string | null;
  /** When it runs next, where it waits. */
  nextAt: string | null;
  deadlineAt: string | null;
  /** The last lines of its log, oldest first. */
  log: string[];
}

/** `decided`: another decision was made before, and it stands. */
export type ResolveResult = 'resolved' | 'decided' | 'not-waiting' | 'unknown';

export type RetryResult =
  | { kind: 'started'; submissionId: string }
  /** `submissionId` names the run that is still at work. */
  | { kind: 'not-over'; submissionId: string }
  /** It was retried before; `submissionId` names the latest run. */
  | { kind: 'retried'; submissionId: string }
  | { kind: 'succeeded' }
  | { kind: 'unknown' };

export interface EnqueuedRequest {
  poll: StoredRequest | undefined;
  submit: StoredRequest | undefined;
}

export type CancelResult = 'requested' | 'already-over' | 'unknown';

/** Looks submissions up and leaves cancel requests, from any process. */
export class SubmissionReader {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #store: RecordStore;
  readonly #queues = new Map<string, Queue>();

  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#store = new RecordStore(connection, prefix);
  }

  /** @returns undefined when neither queue knows the submission (any more). */
  async status(vendor: string, submissionId: string): Promise<SubmissionStatus | undefined> {
    const found = await this.#find(vendor, submissionId);
    if (found === undefined) return undefined;
    const queue = this.#queue(vendor, found.stage);
    const [{ logs }, score] = await Promise.all([
      queue.getJobLogs(found.jobId),
      this.#connection.zscore(queue.toKey(queueKeys.delayed), found.jobId),
    ]);
    return toStatus(vendor, submissionId, found, dueAtOf(score), logs);
  }

  /**
   * Asks for a submission to be canceled. It ends as `canceled` within moments, unless it ends in another way first.
   */
  async cancel(vendor: string, submissionId: string, now: number): Promise<CancelResult> {
    let isOver = false;
    let isRequested = false;
    // Twice, because a hand-over between the two looks moves the submission behind our back.
    for (const { stage, jobId } of [...placesOf(vendor, submissionId), ...placesOf(vendor, submissionId)]) {
      const result = await this.#store.requestCancel({ queue: stageQueue(vendor, stage), jobId }, now);
      if (result === 'active') {
        if (stage === 'poll') return 'requested';
        // The hand-over takes a cancel along that it finds. This one can have come just after it: then the poll job gets it.
        isRequested = true;
      }
      if (result === 'over') isOver = true;
      if (result === 'marked') {
        const job = await Job.fromId(this.#queue(vendor, stage), jobId);
        // Only a delayed job can be promoted; one that waits runs soon anyway.
        await job?.promote().catch(() => undefined);
        return 'requested';
      }
    }
    if (isRequested) return 'requested';
    return isOver ? 'already-over' : 'unknown';
  }

  /**
   * Carries a person's decision to a submission whose fate is unknown, where the configuration lets it wait for one.
   * Repeatable: the first decision stands.
   */
  async resolve(vendor: string, submissionId: string, resolution: Resolution): Promise<ResolveResult> {
    for (const { stage, jobId } of whereverItIs(vendor, submissionId)) {
      const result = await this.#store.resolve({ queue: stageQueue(vendor, stage), jobId }, resolution);
      if (result === 'missing') continue;
      if (result === 'not-waiting' || result === 'decided') return result;
      // A worker that holds the job sees the decision when it gives it back.
      const job = result === 'active' ? undefined : await Job.fromId(this.#queue(vendor, stage), jobId);
      await job?.promote().catch(() => undefined);
      return 'resolved';
    }
    return (await this.#find(vendor, submissionId)) === undefined ? 'unknown' : 'not-waiting';
  }

  /**
   * Starts a settled submission anew, as a submission of its own: `invoice-7` becomes `invoice-7#2`, whose event names
   * the first. Repeatable: while that run is at work, no other is started.
   * @param writer - opens the submit queue for writing.
   * @param force - also where it succeeded, or was retried before.
   */
  async retry(
    vendor: string,
    submissionId: string,
    writer: (queue: string) => Queue,
    force = false,
  ): Promise<RetryResult> {
    const asked = await this.#find(vendor, submissionId);
    if (asked === undefined) return { kind: 'unknown' };
    const { first, run } = readRun(submissionId);
    let latest = { id: submissionId, found: asked };
    let next = run + 1;
    for (; next < run + 1_000; next += 1) {
      const id = nameRun(first, next);
      const found = await this.#find(vendor, id);
      if (found === undefined) break;
      latest = { id, found };
    }
    if (latest.found.record?.settled === undefined) return { kind: 'not-over', submissionId: latest.id };
    if (!force && latest.found !== asked) return { kind: 'retried', submissionId: latest.id };
    if (!force && latest.found.record.settled.outcome === 'succeeded') return { kind: 'succeeded' };
    const anew = nameRun(first, next);
    // Under its id: of callers that ask at the same time, one starts it.
    const { hash } = asked;
    const data = parseJson(requestTextOf(hash));
    await writer(stageQueue(vendor, 'submit')).add(hash[jobFields.name] ?? '', data, { jobId: anew });
    return { kind: 'started', submissionId: anew };
  }

  /**
   * What submissions were enqueued with, in the order of `submissionIds`: in their poll job, once they have one, and in
   * their submit job, while it is there.
   */
  async requests(vendor: string, submissionIds: readonly string[]): Promise<EnqueuedRequest[]> {
    const addresses = submissionIds.flatMap((id) =>
      placesOf(vendor, id).map(({ stage, jobId }) => ({ queue: stageQueue(vendor, stage), jobId })),
    );
    const found = await this.#store.readRequests(addresses);
    return submissionIds.map((_id, index) => ({ poll: found[2 * index], submit: found[2 * index + 1] }));
  }

  /** Where a submission is at the moment, with its record if a worker has taken it. */
  async #find(vendor: string, submissionId: string): Promise<FoundSubmission | undefined> {
    for (const { stage, jobId } of whereverItIs(vendor, submissionId)) {
      const hash = await this.#store.readHash({ queue: stageQueue(vendor, stage), jobId });
      if (hash === undefined) continue;
      const record = recordOf(hash);
      // A poll job without its record: the submit job still has it.
      if (record === undefined && stage === 'poll') continue;
      const opts = parseJson(hash[jobFields.opts]) as { jobId?: unknown } | undefined;
      if ((record?.id ?? submissionIdOf(vendor, jobId, opts ?? {})) !== submissionId) continue;
      return { stage, jobId, hash, record };
    }
    return undefined;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #queue(vendor: string, stage: Stage): Queue {
    const name = stageQueue(vendor, stage);
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = openQueueForReading(name, this.#connection, this.#prefix);
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }
}

interface FoundSubmission {
  stage: Stage;
  jobId: string;
  hash: JobHash;
  record: SubmissionState | undefined;
}

/** The poll queue again after the submit queue: a hand-over between two looks moves the submission behind our back. */
function whereverItIs(vendor: string, submissionId: string): { stage: Stage; jobId: string }[] {
  const places = placesOf(vendor, submissionId);
  return [...places, ...places.filter(({ stage }) => stage === 'poll')];
}

function toStatus(
  vendor: string,
  submissionId: string,
  { hash, record }: FoundSubmission,
  dueAt: number | undefined,
  log: string[],
): SubmissionStatus {
  const iso = (at: number | undefined): string | null => (at === undefined ? null : new Date(at).toISOString());
  const canceled = cancelOf(hash);
  const state = record === undefined || record.settled !== undefined ? record : withCancel(record, canceled);
  return {
    submissionId,
    vendor,
    operation: hash[jobFields.name] ?? '',
    eventId: state === undefined ? null : eventIdOf(vendor, state),
    state:
      state === undefined
        ? `waiting to be sent${canceled === undefined ? '' : ', cancel requested'}`
        : describeState(state),
    phase: state?.phase ?? 'received',
    outcome: state?.settled?.outcome ?? null,
    error: state?.settled?.error ?? state?.lastError ?? null,
    progress: (state === undefined ? undefined : overallProgress(state)) ?? null,
    polls: state?.polls ?? 0,
    vendorJobs: (state?.jobs ?? []).map((one) => ({
      id: one.id,
      status: one.vendorStatus ?? one.status,
      outcome: one.outcome ?? null,
    })),
    enqueuedAt: new Date(state?.enqueuedAt ?? readEnqueuedAt(hash[jobFields.timestamp], Date.now())).toISOString(),
    submittedAt: iso(state?.submittedAt),
    acceptedAt: iso(state?.acceptedAt ?? undefined),
    settledAt: iso(state?.settled?.at),
    nextAt: iso(dueAt),
    deadlineAt: iso(state?.deadlineAt),
    log,
  };
}

function withCancel(record: SubmissionState, at: number | undefined): SubmissionState {
  return at === undefined ? record : { ...record, cancelRequestedAt: record.cancelRequestedAt ?? at };
}
