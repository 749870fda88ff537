import type { Job } from 'bullmq';
import { acceptBy, describeSpan, isAccepted, lastAnswerBy, nextBound, renewDeadline } from '../../core/deadline.ts';
import { type ErrorCode, InvalidSubmissionError } from '../../core/errors.ts';
import type { Fault } from '../../core/json.ts';
import { moveBack } from '../../core/move-back.ts';
import { clamp, maxTimerMs } from '../../core/poll-schedule.ts';
import { type ErrorInfo, nameUse, receive, type SubmissionState } from '../../core/submission.ts';
import { jobFields } from '../../queues/bullmq-internals/layout.ts';
import type { EnqueueTimes } from '../../queues/enqueue-times.ts';
import { cancelOf, decisionOf, type JobHash, parseJson, recordOf, requestTextOf } from '../../queues/job-hash.ts';
import { placesOf, submissionIdOf } from '../../queues/job-ids.ts';
import { hashFields, oversizedField } from '../../queues/keys.ts';
import { stageQueue } from '../../queues/names.ts';
import { maxJobDataBytes, salvage, type SalvagedJob } from '../../queues/submit-job.ts';
import type { MoveApplier } from './apply-move.ts';
import { type StageParts, type TakenJob } from './apply-move.ts';
import { removeWhenDone } from './settle.ts';
import { readRequest, type ReadRequest, rereadRequest } from '../request.ts';
import { Turn } from '../turn.ts';

/** How often a poll job without its record is looked at, and how many times before it counts as an orphan: ten minutes. */
const orphanVisitMs = 2_000;
const orphanVisits = 300;

/** Makes a turn of a job, or ends the job where there is none to take. */
export class Intake {
  readonly #parts: StageParts;
  readonly #moves: MoveApplier;
  readonly #enqueueTimes: EnqueueTimes;

  constructor(parts: StageParts, moves: MoveApplier, enqueueTimes: EnqueueTimes) {
    this.#parts = parts;
    this.#moves = moves;
    this.#enqueueTimes = enqueueTimes;
  }

  /** Reads the record and the request. @returns the turn, or the job's result where there is none to take. */
  async begin(taken: TakenJob, signal: AbortSignal): Promise<Turn | { result: unknown }> {
    const { job, hash, token, logger } = taken;
    const jobId = job.id ?? '';
    const now = this.#parts.engine.clock.now();
    const kept = recordOf(hash);
    const stored = kept === undefined ? undefined : moveBack(kept, now);
    if (stored === undefined && this.#parts.stage === 'poll') return { result: await this.#waitForRecord(job, token) };

    const fresh = stored === undefined ? this.#readFresh(job, hash) : undefined;
    let state = stored;
    if (state === undefined) {
      const enqueuedAt = await this.#enqueueTimes.enqueuedAt(jobId, hash[jobFields.timestamp], now);
      const end = fresh?.ok === true ? acceptBy(enqueuedAt, holdBackMs(job), fresh.request.poll) : enqueuedAt;
      const id = submissionIdOf(this.#parts.vendorName, jobId, job.opts);
      state = receive(id, this.#nameUse(), enqueuedAt, end);
    } else if (state.settled === undefined) {
      // A record of the version before has none.
      state.use ??= this.#nameUse();
    }
    const cancelRequestedAt = cancelOf(hash);
    if (cancelRequestedAt !== undefined && state.settled === undefined)
      state.cancelRequestedAt ??= Math.min(cancelRequestedAt, now);
    const decision = state.awaitsDecision === undefined ? undefined : decisionOf(hash);
    if (decision !== undefined) state.resolution = decision;

    if (this.#parts.stage === 'submit' && stored !== undefined && hash[hashFields.handedOver] !== undefined)
      return { result: await this.#moves.followPollJob(taken, state) };
    const pollAddress = this.#moves.pollAddressOf(state);
    if (fresh?.ok === false) {
      // The same id with other data is still the same id: its submission is on its way already.
      if (await this.#parts.engine.store.exists(pollAddress))
        return { result: await this.#moves.endDuplicate(taken, state) };
      return { result: await this.#refuse(taken, state, fresh.faults, fresh.reply) };
    }
    const again =
      fresh ?? rereadRequest(this.#parts.engine, this.#parts.vendor, job.name, parseJson(requestTextOf(hash)));
    if (stored !== undefined) {
      renewDeadline(
        state,
        this.#parts.stage === 'submit' ? holdBackMs(job) : 0,
        again.ok ? again.request.poll : again.poll,
      );
    }
    if (!again.ok) {
      // It was accepted once, so the configuration changed since. It waits for the configuration, not for an end.
      const error = new InvalidSubmissionError(again.faults).toInfo();
      const isOver = state.settled !== undefined || now >= lastAnswerBy(state);
      if (isOver) return { result: await this.#endUnreadable(taken, state, again.reply, error) };
      if (state.cancelRequestedAt !== undefined) {
        const message = `canceled by a caller; the vendor was not told, as it could not be processed: ${error.message}`;
        return {
          result: await this.#moves.settleWithoutTurn(taken, state, again.reply, 'canceled', {
            code: 'canceled',
            message,
          }),
        };
      }
      state.lastError = error;
      const at = Math.min(now + 15_000, nextBound(state, now));
      return this.#moves.delay(job, token, { at, state, line: error.message, isFirm: true });
    }
    return new Turn({
      engine: this.#parts.engine,
      vendor: this.#parts.vendor,
      stage: this.#parts.stage,
      address: this.#moves.addressOf(job),
      pollAddress,
      token,
      signal,
      operationName: job.name,
      request: again.request,
      hash,
      reply: again.reply,
      logger,
      state,
    });
  }

  /** Reads a request for the first time, however it was written. */
  #readFresh(job: Job, hash: JobHash): ReadRequest {
    const { replyRules } = this.#parts.engine;
    const text = hash[jobFields.data];
    const data = text === undefined ? {} : parseJson(text);
    const refuse = (path: string, message: string): ReadRequest => ({
      ok: false,
      faults: [{ path, message }],
      reply: salvage(data, replyRules),
    });
    if (text === undefined && hash[jobFields.name] === undefined)
      return refuse('', 'there is no job under this id: it stood in the queue without one, or its job was deleted');
    const bytes = hash[oversizedField];
    if (bytes !== undefined) return refuse('', `is ${bytes} bytes of JSON, at most ${maxJobDataBytes} are accepted`);
    if (data === undefined) return refuse('', 'is not valid JSON');
    return readRequest(this.#parts.engine, this.#parts.vendor, job.name ?? '', data);
  }

  #nameUse(): string {
    return nameUse(this.#parts.engine.clock.now(), this.#parts.engine.clock.random());
  }

  /** Bad input: one event with every fault, nothing sent. */
  async #refuse(
    taken: TakenJob,
    state: SubmissionState,
    faults: readonly Fault[],
    reply: SalvagedJob,
  ): Promise<unknown> {
    if (taken.hash[jobFields.data] === undefined) removeWhenDone(taken.job);
    return this.#moves.settleWithoutTurn(taken, state, reply, 'rejected', new InvalidSubmissionError(faults).toInfo());
  }

  /** Its account or operation did not come back in time. */
  async #endUnreadable(
    taken: TakenJob,
    state: SubmissionState,
    reply: SalvagedJob,
    cause: ErrorInfo,
  ): Promise<unknown> {
    const why = `${describeSpan(state)}, and it could not be processed: ${cause.message}`;
    const end = (outcome: 'expired' | 'unconfirmed', code: ErrorCode, message: string): Promise<unknown> =>
      this.#moves.settleWithoutTurn(taken, state, reply, outcome, { code, message });
    if (isAccepted(state)) return end('expired', 'deadline_exceeded', `not over ${why}`);
    const isInDoubt = state.phase !== 'received' || state.doubts !== undefined;
    return isInDoubt
      ? end('unconfirmed', 'submit_ambiguous', `it is not known whether the vendor took the submit ${why}`)
      : end('expired', 'not_submitted_in_time', `not accepted within ${why}`);
  }

  /**
   * A poll job is added and then given its record; in between it has none. It is an orphan when its submission ended where
   * it was, or when there is no submit job for long that could hand over to it; told by visits, because a timestamp is
   * what some other machine's clock said.
   */
  async #waitForRecord(job: Job, token: string): Promise<string> {
    const submit = await this.#submitJobOf(job.id ?? '');
    const isOrphan = submit === 'over' || (submit === 'gone' && job.attemptsStarted > orphanVisits);
    // Read after the submit job: the one that handed over is gone by then.
    if (!isOrphan || (await this.#parts.engine.store.read(this.#moves.addressOf(job))) !== undefined) {
      return this.#moves.delay(job, token, { at: this.#parts.engine.clock.now() + orphanVisitMs, state: undefined });
    }
    this.#parts.logger.warn(
      { jobId: job.id },
      'a poll job without a record is dropped: no submit worker will hand over to it',
    );
    removeWhenDone(job);
    return 'orphan';
  }

  /** Whether the submit job of a submission may still hand over to the poll queue. */
  async #submitJobOf(submissionId: string): Promise<'under way' | 'over' | 'gone'> {
    const place = placesOf(this.#parts.vendorName, submissionId).find(({ stage }) => stage === 'submit');
    if (place === undefined) return 'gone';
    const address = { queue: stageQueue(this.#parts.vendorName, 'submit'), jobId: place.jobId };
    const { store } = this.#parts.engine;
    if (!(await store.exists(address))) return 'gone';
    // After a death in the hand-over the submission can end where it was, by a cancel or its deadline.
    if ((await store.read(address))?.settled !== undefined) return 'over';
    return (await store.isFinished(address)) ? 'gone' : 'under way';
  }
}

/** For how long its producer asked BullMQ to hold the job back, ms. */
function holdBackMs(job: Job): number {
  return clamp(Number(job.opts.delay ?? 0), 0, maxTimerMs);
}
