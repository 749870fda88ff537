import { DelayedError, type Job, type Queue, type Worker } from 'bullmq';
import { buildCompletionEvent } from '../core/completion-event.ts';
import { describeDuration } from '../core/describe.ts';
import { clamp, maxTimerMs, nextPollAt } from '../core/poll-schedule.ts';
import type { SubmissionState } from '../core/submission.ts';
import type { JobAddress } from '../queues/record-store.ts';
import type { SalvagedJob } from '../queues/submit-job.ts';
import type { Engine } from './engine.ts';
import type { Move, Turn } from './turn.ts';

/**
 * The one place that says what became of a turn in BullMQ's terms. BullMQ knows three ends here: completed, delayed
 * anew, and nothing else; no submission ever makes a job `failed`.
 */

/** A job, and the lock by which a worker holds it. */
export interface HeldJob {
  worker: Worker;
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
}

/** Gives a job back for a while, with its record, in one write that happens only while the lock is held. */
export async function delayAgain(
  engine: Engine,
  { worker, job, token, address }: HeldJob,
  { at, state, line, turn }: Delay,
): Promise<never> {
  const now = Date.now();
  const delay = clamp(at - now, 0, maxTimerMs);
  const fieldsToUpdate = state === undefined ? undefined : { progress: JSON.stringify(state) };
  await worker.getBackend().moveToDelayed(address.jobId, now, Math.round(delay), token, {
    skipAttempt: true,
    ...(fieldsToUpdate === undefined ? {} : { fieldsToUpdate }),
  });
  // A poll job is on the list since its hand-over.
  const open =
    turn?.stage === 'submit' ? { ...turn.openNote(), poll: turn.pollAddress, starts: job.attemptsStarted } : undefined;
  const cancelRequestedAt = await engine.store.note(address, line, open);
  if (cancelRequestedAt !== undefined) await markCanceled(engine, job, address, cancelRequestedAt);
  throw new DelayedError();
}

/** A cancel came while this worker held the job: now the record may say so, and the job may run at once. */
async function markCanceled(engine: Engine, job: Job, address: JobAddress, at: number): Promise<void> {
  if ((await engine.store.requestCancel(address, at)) !== 'marked') return;
  // Already promoted or taken: then whoever has it sees the mark.
  await job.promote().catch(() => undefined);
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
  const pollJob = await pollQueue.add(job.name, job.data, {
    jobId: turn.pollAddress.jobId,
    delay: Math.max(0, Math.round(firstLookAt - now)),
  });
  await engine.checkpoint('poll-job-added');
  const line = `${move.line}; first look-up in ${describeDuration(firstLookAt - now)}`;
  const begun = await engine.store.begin(turn.pollAddress, turn.address, state, line, turn.openNote());
  switch (begun) {
    case 'begun':
      break;
    case 'begun-canceled':
      await markCanceled(engine, pollJob, turn.pollAddress, turn.now());
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
  removeWhenDone(job);
  return 'handed over';
}

/** Delivers the event of a settled submission: the same content, however often. */
export async function deliverEvent(
  engine: Engine,
  vendor: string,
  operation: string,
  state: SubmissionState,
  reply: SalvagedJob,
): Promise<string> {
  const event = buildCompletionEvent(state, { vendor, operation, account: reply.account, metadata: reply.metadata });
  await engine.checkpoint('outcome-saved');
  await engine.deliver(reply.replyTo, event);
  await engine.checkpoint('event-delivered');
  return event.data.outcome;
}

/**
 * The poll job carries the submission from here on, and with its id the idempotency of the submission: keeping the
 * submit job too would double what Redis holds. A caller that asked for it to be kept gets that.
 */
export function removeWhenDone(job: Job): void {
  job.opts.removeOnComplete ??= true;
}
