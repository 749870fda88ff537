import { DelayedError, UnrecoverableError, WaitingChildrenError, type Job, type Queue } from 'bullmq';
import { buildCompletionEvent, type CompletionEvent } from '../core/completion-event.ts';
import { describeDuration } from '../core/describe.ts';
import { clip } from '../core/json.ts';
import { clamp, maxTimerMs, nextPollAt } from '../core/poll-schedule.ts';
import { progressOf, writeRecord } from '../core/record.ts';
import { redactText } from '../core/redact.ts';
import type { SubmissionState } from '../core/submission.ts';
import { jobFields } from '../queues/bullmq-internals/layout.ts';
import { delayHeldJob } from '../queues/bullmq-internals/scripts.ts';
import { isHeld, requestTextOf } from '../queues/job-hash.ts';
import { hashFields } from '../queues/keys.ts';
import type { JobAddress } from '../queues/record-store.ts';
import type { SalvagedJob } from '../queues/submit-job.ts';
import type { Engine } from './engine.ts';
import type { TolerantWorker } from './tolerant-worker.ts';
import type { Move, Turn } from './turn.ts';

/**
 * The one place that says what became of a turn in BullMQ's terms: completed, or delayed anew. Only a submit job that
 * another job or a deduplication waits for (`isHeld`) knows two more: it waits for its poll job as a child, and it fails
 * where its submission did not succeed.
 */

/** A job, and the lock by which a worker holds it. */
export interface LockedJob {
  worker: TolerantWorker;
  job: Job;
  token: string;
  address: JobAddress;
}

export interface Delay {
  /** Until when, epoch ms. */
  at: number;
  /** The record, where there is one. */
  state: SubmissionState | undefined;
  /** For the job's log. */
  line?: string | undefined;
  /** The turn that was taken with the job, if there was one. */
  turn?: Turn | undefined;
  /** Not cut short by a cancel or a decision: a turn at once could not carry it out either. */
  isFirm?: true;
}

/** Gives a job back for a while, with its record, in one write that happens only while the lock is held. */
export async function delayAgain(
  engine: Engine,
  { worker, job, token, address }: LockedJob,
  { at, state, line, turn, isFirm }: Delay,
): Promise<never> {
  const now = engine.clock.now();
  const delay = clamp(at - now, 0, maxTimerMs);
  const fields =
    state === undefined
      ? undefined
      : {
          [hashFields.record]: writeRecord(state),
          [jobFields.progress]: progressOf(state),
          ...firstRequest(worker, job),
        };
  await delayHeldJob(worker.getBackend(), address.jobId, token, { now, delayMs: Math.round(delay), fields });
  // A poll job is on the list since its hand-over.
  const open =
    turn?.stage === 'submit' ? { ...turn.openNote(), poll: turn.pollAddress, starts: job.attemptsStarted } : undefined;
  // A cancel or a decision came while this worker held the job. If it was promoted already, its next turn sees it.
  const isAskedFor = await engine.store.note(address, line, open);
  if (isAskedFor && delay > 0 && isFirm !== true) await job.promote().catch(() => undefined);
  throw new DelayedError();
}

/** The request as it was taken, for the first write of a record. */
function firstRequest(worker: TolerantWorker, job: Job): Record<string, string> {
  const hash = worker.hashOf(job);
  const text = requestTextOf(hash);
  return text === undefined || hash[hashFields.request] !== undefined ? {} : { [hashFields.request]: text };
}

/** Hands a submission from the submit queue to the poll queue. Repeatable: the first acceptance wins. */
export async function handOver(
  turn: Turn,
  move: Move & { kind: 'hand-over' },
  job: Job,
  pollQueue: Queue,
): Promise<string> {
  const { engine, state, request } = turn;
  const now = turn.now();
  const isWaiting = state.jobs.some((vendorJob) => vendorJob.outcome === undefined);
  const firstLookAt = isWaiting
    ? nextPollAt({ options: request.poll, polls: 0, now, deadlineAt: state.deadlineAt, random: turn.random() })
    : now;
  const pollJob = await pollQueue.add(
    job.name,
    // It says nothing: the request lies in a field that no call of a BullMQ client rewrites.
    {},
    {
      jobId: turn.pollAddress.jobId,
      delay: Math.max(0, Math.round(firstLookAt - now)),
      ...(isHeld(turn.hash) ? { parent: parentOf(job) } : {}),
    },
  );
  await engine.checkpoint('poll-job-added');
  const line = `${move.line}; first look-up in ${describeDuration(firstLookAt - now)}`;
  const text = requestTextOf(turn.hash) ?? '{}';
  const begun = await engine.store.begin(turn.pollAddress, turn.address, state, text, line, turn.openNote());
  switch (begun) {
    case 'begun':
      break;
    case 'begun-canceled':
      await pollJob.promote().catch(() => undefined);
      break;
    case 'present':
      turn.logger.warn(
        { vendorJobIds: state.jobs.map((one) => one.id) },
        'the submission was handed over before; the first acceptance stands',
      );
      break;
    case 'over':
      // This worker stood still for longer than others waited. One outcome was told, and it stands.
      turn.logger.warn(
        { vendorJobIds: state.jobs.map((one) => one.id) },
        'the submission ended before its acceptance came; the vendor works on what nobody waits for',
      );
      await pollJob.remove().catch(() => undefined);
      return 'over';
    case 'missing':
      throw new Error(`poll job ${turn.pollAddress.jobId} vanished while it was handed over`);
  }
  await engine.checkpoint('poll-job-begun');
  if (isHeld(turn.hash)) return 'held';
  removeWhenDone(job);
  return 'handed over';
}

/** Makes a poll job that exists the child of a held submit job; one that is its child already stays so. */
export async function linkPollJob(job: Job, pollJobId: string, pollQueue: Queue): Promise<void> {
  await pollQueue.add(job.name, {}, { jobId: pollJobId, parent: parentOf(job) });
}

function parentOf(job: Job): { id: string; queue: string } {
  return { id: job.id ?? '', queue: job.queueQualifiedName };
}

/**
 * Lets a held submit job wait for its poll job.
 * @throws WaitingChildrenError once it waits
 * @returns when there is no child to wait for (any more)
 */
export async function waitForPollJob(job: Job, token: string): Promise<void> {
  if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
}

/**
 * How a held submit job ends: with the event's data as its value, or as failed, so that flows, `failParentOnFailure` and
 * its kin, and `waitUntilFinished` mean what their users expect.
 * @throws UnrecoverableError for every outcome but `succeeded`
 */
export function endHeld(data: CompletionEvent['data']): CompletionEvent['data'] {
  const { outcome, error } = data;
  if (outcome === 'succeeded') return data;
  const because = error === null ? '' : `: ${error.code}: ${error.message}`;
  throw new UnrecoverableError(redactText(clip(`${outcome}${because}`, 1_000)));
}

/** Delivers the event of a settled submission: the same content, however often. */
export async function deliverEvent(
  engine: Engine,
  vendor: string,
  operation: string,
  state: SubmissionState,
  reply: SalvagedJob,
): Promise<CompletionEvent> {
  const event = buildCompletionEvent(state, { vendor, operation, account: reply.account, metadata: reply.metadata });
  await engine.checkpoint('outcome-saved');
  await engine.deliver(reply.replyTo, event);
  await engine.checkpoint('event-delivered');
  return event;
}

/**
 * The poll job carries the submission from here on, and with its id the idempotency of the submission: keeping the
 * submit job too would double what Redis holds. A caller that asked for it to be kept gets that.
 */
export function removeWhenDone(job: Job): void {
  job.opts.removeOnComplete ??= true;
}
