import { UnrecoverableError, type Job, type Queue } from 'bullmq';
import { buildCompletionEvent, completionData, type CompletionEvent } from '../../core/completion-event.ts';
import { clip } from '../../core/json.ts';
import { redactText } from '../../core/redact.ts';
import { settled } from '../../core/state-machine.ts';
import { type ErrorInfo, type Outcome, receive, type SubmissionState } from '../../core/submission.ts';
import type { Logger } from '../../ports/logger.ts';
import { jobFields } from '../../queues/bullmq-internals/layout.ts';
import { isHeld, type JobHash, parseJson, recordOf, requestTextOf } from '../../queues/job-hash.ts';
import { isNumberedId, pollJobId } from '../../queues/job-ids.ts';
import { type Stage, stageQueue } from '../../queues/names.ts';
import { isUsualSubmitJob } from '../../queues/open-submissions.ts';
import type { JobAddress } from '../../queues/record-store.ts';
import { salvage, type SalvagedJob } from '../../queues/submit-job.ts';
import {
  type Delay,
  delayAgain,
  deliverEvent,
  endHeld,
  handOver,
  linkPollJob,
  removeWhenDone,
  waitForPollJob,
} from './settle.ts';
import type { TolerantWorker } from './tolerant-worker.ts';
import type { Engine, VendorRuntime } from '../engine.ts';
import type { Turn } from '../turn.ts';
import { type Move, TurnLostError } from '../turn.ts';
import type { CompletionCheck } from '../upkeep/completion-check.ts';
import { repairEnd, repairHandOver } from '../upkeep/completion-check.ts';

/** What the parts of one stage's worker share. */
export interface StageParts {
  engine: Engine;
  vendor: VendorRuntime;
  vendorName: string;
  stage: Stage;
  queueName: string;
  pollQueue: Queue;
  worker: TolerantWorker;
  completions: CompletionCheck;
  logger: Logger;
}

/** A job as this worker took it. */
export interface TakenJob {
  job: Job;
  hash: JobHash;
  token: string;
  logger: Logger;
}

/** Says what became of a submission in BullMQ's terms, with settle.ts, and sends its event. */
export class MoveApplier {
  readonly #parts: StageParts;

  constructor(parts: StageParts) {
    this.#parts = parts;
  }

  async apply(turn: Turn, move: Move, taken: TakenJob): Promise<unknown> {
    const { job } = taken;
    switch (move.kind) {
      case 'again':
        return this.delay(job, turn.token, { at: move.at, state: turn.state, line: move.line, turn });
      case 'hand-over': {
        this.#parts.completions.end(job, () => repairHandOver(turn, move, job, this.#parts.pollQueue));
        const result = await handOver(turn, move, job, this.#parts.pollQueue);
        return isHeld(taken.hash) ? this.followPollJob(taken, turn.state) : result;
      }
      case 'settled':
        return this.#deliver(taken, turn.state, turn.reply);
      case 'duplicate':
        return this.#onDuplicate(turn, taken);
    }
  }

  /**
   * The poll job of this submission id exists. With an id that the caller chose that is the idempotency asked for. With
   * a number of BullMQ's it may be another submission, after the submit queue was emptied and numbers began anew.
   */
  async #onDuplicate(turn: Turn, taken: TakenJob): Promise<unknown> {
    const { state } = turn;
    const { job } = taken;
    if (
      isNumberedId(state.id, this.#parts.vendorName) &&
      isUsualSubmitJob(this.#parts.vendorName, state.id, job.id ?? '')
    ) {
      const other = await this.#parts.engine.store.read(turn.pollAddress);
      if (other !== undefined && other.enqueuedAt !== state.enqueuedAt) {
        const id = `${state.id}-${state.enqueuedAt.toString(36)}`;
        const renamed = receive(id, state.use, state.enqueuedAt, state.deadlineAt);
        const line = `the id ${state.id} is taken by an older submission; this one is ${renamed.id}`;
        return this.delay(job, turn.token, { at: 0, state: renamed, line });
      }
    }
    return this.endDuplicate(taken, state);
  }

  /** The submission goes on, or ended, in its poll job; a held submit job tells how that ends. */
  async endDuplicate(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    taken.logger.info({}, 'the submission id is known: nothing to do');
    if (isHeld(taken.hash)) return this.followPollJob(taken, state);
    removeWhenDone(taken.job);
    return 'duplicate';
  }

  /**
   * A submit job whose submission has its poll job. One that is held waits for the end there and says it, also when a
   * worker died at any point of this, or the poll job was removed.
   */
  async followPollJob(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    const { job, hash, token } = taken;
    const held = isHeld(hash);
    const pollAddress = this.pollAddressOf(state);
    const told = held ? await this.#toldByPollJob(job, pollAddress) : undefined;
    if (told !== undefined) return this.#endHeld(job, told);
    const own = await this.#parts.engine.store.read(this.addressOf(job));
    if (own?.settled !== undefined) return this.#deliver(taken, own, this.replyOf(hash));
    const poll = await this.#parts.engine.store.readHash(pollAddress);
    const record = poll === undefined ? undefined : recordOf(poll);
    if (poll === undefined && (await this.#parts.engine.store.isUnderWay(this.#parts.vendorName, state.id)))
      return this.#endRemoved(taken, state);
    // Its event was sent long ago and is not kept any more: the job was run again by hand.
    if (poll === undefined && held)
      throw new UnrecoverableError('the submission is over; how it ended is not kept any more');
    if (poll === undefined || !held) {
      removeWhenDone(job);
      return 'handed over';
    }
    if (record?.settled !== undefined && poll[jobFields.finishedOn] !== undefined)
      return this.#endHeld(job, this.#eventOf(job.name, record, this.replyOf(poll)).data);
    if (poll[jobFields.parentKey] === undefined) await linkPollJob(job, pollAddress.jobId, this.#parts.pollQueue);
    await waitForPollJob(job, token);
    // It could not be linked, or has just ended: it is looked at instead.
    return this.delay(job, token, { at: this.#parts.engine.clock.now() + 1_000, state: undefined });
  }

  /** How the poll job that a held submit job waited for ended, as BullMQ keeps it beside what other children gave. */
  async #toldByPollJob(job: Job, { jobId }: JobAddress): Promise<CompletionEvent['data'] | undefined> {
    const values = await job.getChildrenValues<unknown>();
    return completionData.safeParse(values[`${this.#parts.pollQueue.qualifiedName}:${jobId}`]).data;
  }

  async #endHeld(job: Job, data: CompletionEvent['data']): Promise<CompletionEvent['data']> {
    if (data.outcome !== 'succeeded') await this.#parts.engine.store.markEnded(this.addressOf(job));
    return endHeld(data);
  }

  /** The poll job was removed after the hand-over. */
  async #endRemoved(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    const message =
      state.jobs.length > 0
        ? 'the job was removed from its queue; the vendor was not told and may go on working'
        : 'the job was removed from its queue';
    return this.settleWithoutTurn(taken, state, this.replyOf(taken.hash), 'canceled', {
      code: 'job_removed',
      message,
    });
  }

  replyOf(hash: JobHash): SalvagedJob {
    return salvage(parseJson(requestTextOf(hash)), this.#parts.engine.replyRules);
  }

  #eventOf(operation: string, state: SubmissionState, reply: SalvagedJob): CompletionEvent {
    const { account, metadata } = reply;
    return buildCompletionEvent(state, { vendor: this.#parts.vendorName, operation, account, metadata });
  }

  async settleWithoutTurn(
    taken: TakenJob,
    state: SubmissionState,
    reply: SalvagedJob,
    outcome: Outcome,
    error: ErrorInfo,
  ): Promise<unknown> {
    const { job, token, logger } = taken;
    if (state.settled === undefined) {
      const at = this.#parts.engine.clock.now();
      state = settled(state, { outcome, error, at });
      const line = `${outcome}: ${redactText(clip(error.message, 2_000))}`;
      const address = this.addressOf(job);
      const open = { vendor: this.#parts.vendorName, submissionId: state.id, use: state.use, note: null };
      const unless = { handedOver: this.pollAddressOf(state) };
      const saved = await this.#parts.engine.store.save(address, token, state, line, open, unless);
      if (saved.kind === 'fenced') throw new TurnLostError('lost the lock');
      if (saved.kind === 'handed-over') return this.endDuplicate(taken, state);
      logger.warn(
        { outcome, errorCode: error.code, error: redactText(clip(error.message, 500)) },
        'submission settled',
      );
    }
    return this.#deliver(taken, state, reply);
  }

  /** The outcome is stored: its event goes out. */
  async #deliver({ job, hash }: TakenJob, state: SubmissionState, reply: SalvagedJob): Promise<unknown> {
    const address = this.addressOf(job);
    const name = (job.name as string | undefined) ?? '';
    const deliver = (): Promise<CompletionEvent> =>
      deliverEvent(this.#parts.engine, this.#parts.vendorName, name, state, reply);
    this.#parts.completions.end(job, () => repairEnd(this.#parts.engine, job, address, deliver));
    const { data } = await deliver();
    if (!isHeld(hash)) return data.outcome;
    // The poll job hands the end on to the submit job that waits for it.
    return this.#parts.stage === 'poll' ? data : this.#endHeld(job, data);
  }

  delay(job: Job, token: string, delay: Delay): Promise<never> {
    return delayAgain(
      this.#parts.engine,
      { worker: this.#parts.worker, job, token, address: this.addressOf(job) },
      delay,
    );
  }

  addressOf(job: Job): JobAddress {
    return { queue: this.#parts.queueName, jobId: job.id ?? '' };
  }

  pollAddressOf(state: SubmissionState): JobAddress {
    return { queue: stageQueue(this.#parts.vendorName, 'poll'), jobId: pollJobId(state.id) };
  }
}
