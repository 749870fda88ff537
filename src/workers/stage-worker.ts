import { DelayedError, UnrecoverableError, WaitingChildrenError, type Job, type Queue } from 'bullmq';
import { buildCompletionEvent, completionData, type CompletionEvent } from '../core/completion-event.ts';
import { acceptBy, describeSpan, isAccepted, lastAnswerBy, nextBound, renewDeadline } from '../core/deadline.ts';
import { InvalidSubmissionError, toErrorInfo, type ErrorCode } from '../core/errors.ts';
import { clip, type Fault } from '../core/json.ts';
import { moveBack } from '../core/move-back.ts';
import { backoffMs, clamp, maxTimerMs } from '../core/poll-schedule.ts';
import { redactText } from '../core/redact.ts';
import { settled } from '../core/state-machine.ts';
import { nameUse, receive, type ErrorInfo, type Outcome, type SubmissionState } from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import { backendOnClock } from '../queues/bullmq-internals/clock.ts';
import { jobFields, reservedIds } from '../queues/bullmq-internals/layout.ts';
import { isLockLost } from '../queues/bullmq-internals/locks.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { EnqueueTimes } from '../queues/enqueue-times.ts';
import { cancelOf, decisionOf, isHeld, parseJson, recordOf, requestTextOf, type JobHash } from '../queues/job-hash.ts';
import { isNumberedId, placesOf, pollJobId, submissionIdOf } from '../queues/job-ids.ts';
import { hashFields, oversizedField } from '../queues/keys.ts';
import { stageQueue, type Stage } from '../queues/names.ts';
import { isUsualSubmitJob } from '../queues/open-submissions.ts';
import { openQueue } from '../queues/open-queue.ts';
import type { JobAddress } from '../queues/record-store.ts';
import { isRedisFault, isRefusedWrite } from '../queues/refused-write.ts';
import { maxJobDataBytes, salvage, type SalvagedJob } from '../queues/submit-job.ts';
import { CompletionCheck, repairEnd, repairHandOver } from './completion-check.ts';
import { lockDurationMs, stalledIntervalMs, type Engine, type VendorRuntime } from './engine.ts';
import { QueueUpkeep } from './queue-upkeep.ts';
import { readRequest, rereadRequest, type ReadRequest } from './request.ts';
import {
  delayAgain,
  deliverEvent,
  endHeld,
  handOver,
  linkPollJob,
  removeWhenDone,
  waitForPollJob,
  type Delay,
} from './settle.ts';
import { expireFault, isJson, makeWritable } from './settle-fault.ts';
import { isInStep } from './step-watch.ts';
import { takeTurn } from './take-turn.ts';
import { TolerantWorker } from './tolerant-worker.ts';
import { Turn, TurnLostError, type Move } from './turn.ts';

export interface StageWorkerOptions {
  connection: RedisConnection;
  prefix: string;
  concurrency: number;
  /** How long settled submissions stay in Redis, seconds: the window in which an id is not taken a second time. */
  keepSeconds: number;
  /** After how long a turn that is in no step of a vendor module counts as hung, ms. */
  hungAfterMs?: number | undefined;
}

/** How often a poll job without its record is looked at, and how many times before it counts as an orphan: ten minutes. */
const orphanVisitMs = 2_000;
const orphanVisits = 300;
/** How long requests may go on after a shutdown began: a submit that is cut off is one whose fate is unknown. */
const drainMs = 7_000;
/** Beside the steps of vendor modules, whose end is seen to, a turn waits for Redis alone: after this it will not end. */
const defaultHungAfterMs = 900_000;

/**
 * One stage of one vendor: a BullMQ worker, and what keeps it healthy.
 *
 * A turn ends completed or delayed. Whatever goes wrong inside delays it again, so BullMQ never counts a job as failed
 * and its limits on attempts and stalls never end a submission.
 */
export class StageWorker {
  readonly stage: Stage;
  readonly vendorName: string;
  readonly #engine: Engine;
  readonly #vendor: VendorRuntime;
  readonly #logger: Logger;
  readonly #queueName: string;
  readonly #queue: Queue;
  readonly #pollQueue: Queue;
  readonly #worker: TolerantWorker;
  readonly #upkeep: QueueUpkeep;
  readonly #enqueueTimes: EnqueueTimes;
  readonly #completions: CompletionCheck;
  /** One per turn under way, with its start by the monotonic clock. Not one signal for all: listeners would pile up on it for as long as the process lives. */
  readonly #turns = new Map<AbortController, number>();
  readonly #hungAfterMs: number;
  #isShuttingDown = false;
  /** Errors by their message, and when they were last told, by the monotonic clock. */
  readonly #saidAt = new Map<string, number>();

  constructor(engine: Engine, vendor: VendorRuntime, stage: Stage, options: StageWorkerOptions) {
    this.#engine = engine;
    this.#vendor = vendor;
    this.stage = stage;
    this.vendorName = vendor.adapter.name;
    this.#queueName = stageQueue(this.vendorName, stage);
    this.#logger = engine.logger.child({ vendor: this.vendorName, stage });
    const { connection, prefix } = options;
    const { clock } = engine;
    this.#hungAfterMs = options.hungAfterMs ?? defaultHungAfterMs;
    this.#queue = openQueue(this.#queueName, connection, prefix, { clock });
    this.#pollQueue =
      stage === 'poll' ? this.#queue : openQueue(stageQueue(this.vendorName, 'poll'), connection, prefix, { clock });
    for (const queue of new Set([this.#queue, this.#pollQueue])) queue.on('error', (error) => this.#onError(error));
    this.#completions = new CompletionCheck(connection);
    this.#enqueueTimes = new EnqueueTimes(connection, prefix, this.#queueName);
    this.#upkeep = new QueueUpkeep({
      engine,
      vendor: this.vendorName,
      stage,
      queue: this.#queue,
      connection,
      prefix,
      logger: this.#logger,
      onError: (error) => this.#onError(error),
    });
    const keep = { age: options.keepSeconds };
    this.#worker = new TolerantWorker(
      this.#queueName,
      // BullMQ passes an abort signal only to processors that declare all three parameters.
      (job: Job, token: string | undefined, signal: AbortSignal | undefined) => this.#process(job, token, signal),
      {
        connection,
        prefix,
        concurrency: options.concurrency,
        lockDuration: lockDurationMs,
        stalledInterval: stalledIntervalMs,
        // A lifetime count that never resets: it must not end a submission that polls for days through many deploys.
        maxStalledCount: 1_000_000,
        removeOnComplete: keep,
        removeOnFail: keep,
        autorun: false,
      },
      backendOnClock(clock),
    );
    this.#worker.on('error', (error) => this.#onError(error));
    this.#worker.on('completed', (job) => {
      void this.#completions.onCompleted(job).catch((error: unknown) => this.#onError(error));
    });
    this.#worker.on('lockRenewalFailed', (ids: string[]) => {
      for (const id of ids) this.#worker.cancelJob(id, 'lock lost');
    });
  }

  /** Starts to take jobs. */
  async start(): Promise<void> {
    await this.#worker.waitUntilReady();
    await this.#upkeep.run();
    void this.#worker.run().catch((error: unknown) => this.#onError(error));
  }

  /** Takes no more jobs; what was begun goes on. */
  pause(): void {
    void this.#worker.pause(true).catch((error: unknown) => this.#onError(error));
  }

  resume(): void {
    void this.#worker.resume().catch((error: unknown) => this.#onError(error));
  }

  get isRunning(): boolean {
    return this.#worker.isRunning() && !this.#worker.isPaused() && !this.#isShuttingDown;
  }

  /** How many jobs it may have at a time, and how many of those have turns that will not end. */
  get slots(): { all: number; hung: number } {
    const oldest = performance.now() - this.#hungAfterMs;
    const isHung = ([turn, startedAt]: [AbortController, number]): boolean =>
      startedAt < oldest && !isInStep(turn.signal);
    return { all: this.#worker.concurrency, hung: [...this.#turns].filter(isHung).length };
  }

  /**
   * Stops taking jobs, lets what runs finish for a while and hands back the rest. Ends within 8 s.
   */
  async close(): Promise<void> {
    const tidied = this.#upkeep.close();
    const cutOff = setTimeout(() => this.#interruptTurns(), drainMs);
    // A look-up can be repeated at will, so nobody waits for one.
    if (this.stage === 'poll') this.#interruptTurns();
    await this.#worker.close();
    clearTimeout(cutOff);
    await tidied;
    await Promise.all([...new Set([this.#queue, this.#pollQueue])].map((queue) => queue.close()));
  }

  async #process(job: Job, token: string | undefined, signal: AbortSignal | undefined): Promise<unknown> {
    this.#completions.begin(job);
    const jobId = job.id ?? '';
    const hash = this.#worker.hashOf(job);
    const submissionId = recordOf(hash)?.id ?? submissionIdOf(this.vendorName, jobId, job.opts);
    const name = (job.name as string | undefined) ?? '';
    const logger = this.#logger.child({ submissionId: clip(submissionId, 200), operation: clip(name, 80) });
    const lock = token ?? '';
    let turn: Turn | undefined;
    try {
      if (this.stage === 'submit' && reservedIds.has(jobId)) {
        removeWhenDone(job);
        return await this.#upkeep.refuse({
          jobId,
          name,
          data: hash[jobFields.data] ?? 'null',
          timestamp: Number(hash[jobFields.timestamp]),
        });
      }
      const interruption = new AbortController();
      if (this.#isShuttingDown) interruption.abort();
      signal?.addEventListener('abort', () => interruption.abort(), { once: true });
      const begun = await this.#beginTurn({ job, hash, token: lock, logger }, interruption.signal);
      if (!(begun instanceof Turn)) return begun.result;
      turn = begun;
      const move = await this.#runTurn(turn, interruption);
      return await this.#applyMove(turn, move, { job, hash, token: lock, logger });
    } catch (error) {
      if (isEndInBullmq(error)) throw error;
      if (error instanceof TurnLostError || isLockLost(error)) {
        // Whoever holds the job now goes on from what was saved.
        logger.warn({}, 'lost the job: another worker has it, or it was removed');
        throw new DelayedError();
      }
      return this.#delayAfterFault(error, { job, hash, token: lock, logger }, turn);
    }
  }

  /** Reads the record and the request. @returns the turn, or the job's result where there is none to take. */
  async #beginTurn(taken: TakenJob, signal: AbortSignal): Promise<Turn | { result: unknown }> {
    const { job, hash, token, logger } = taken;
    const jobId = job.id ?? '';
    const now = this.#engine.clock.now();
    const kept = recordOf(hash);
    const stored = kept === undefined ? undefined : moveBack(kept, now);
    if (stored === undefined && this.stage === 'poll') return { result: await this.#waitForRecord(job, token) };

    const fresh = stored === undefined ? this.#readFresh(job, hash) : undefined;
    let state = stored;
    if (state === undefined) {
      const enqueuedAt = await this.#enqueueTimes.enqueuedAt(jobId, hash[jobFields.timestamp], now);
      const end = fresh?.ok === true ? acceptBy(enqueuedAt, holdBackMs(job), fresh.request.poll) : enqueuedAt;
      const id = submissionIdOf(this.vendorName, jobId, job.opts);
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

    if (this.stage === 'submit' && stored !== undefined && hash[hashFields.handedOver] !== undefined)
      return { result: await this.#followPollJob(taken, state) };
    const pollAddress = this.#pollAddressOf(state);
    if (fresh?.ok === false) {
      // The same id with other data is still the same id: its submission is on its way already.
      if (await this.#engine.store.exists(pollAddress)) return { result: await this.#endDuplicate(taken, state) };
      return { result: await this.#refuse(taken, state, fresh.faults, fresh.reply) };
    }
    const again = fresh ?? rereadRequest(this.#engine, this.#vendor, job.name, parseJson(requestTextOf(hash)));
    if (stored !== undefined) {
      renewDeadline(state, this.stage === 'submit' ? holdBackMs(job) : 0, again.ok ? again.request.poll : again.poll);
    }
    if (!again.ok) {
      // It was accepted once, so the configuration changed since. It waits for the configuration, not for an end.
      const error = new InvalidSubmissionError(again.faults).toInfo();
      const isOver = state.settled !== undefined || now >= lastAnswerBy(state);
      if (isOver) return { result: await this.#endUnreadable(taken, state, again.reply, error) };
      if (state.cancelRequestedAt !== undefined) {
        const message = `canceled by a caller; the vendor was not told, as it could not be processed: ${error.message}`;
        return {
          result: await this.#settleWithoutTurn(taken, state, again.reply, 'canceled', { code: 'canceled', message }),
        };
      }
      state.lastError = error;
      const at = Math.min(now + 15_000, nextBound(state, now));
      return this.#delay(job, token, { at, state, line: error.message, isFirm: true });
    }
    return new Turn({
      engine: this.#engine,
      vendor: this.#vendor,
      stage: this.stage,
      address: this.#addressOf(job),
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
    const { replyRules } = this.#engine;
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
    return readRequest(this.#engine, this.#vendor, job.name ?? '', data);
  }

  #nameUse(): string {
    return nameUse(this.#engine.clock.now(), this.#engine.clock.random());
  }

  /** Takes the turn, and gives it up when the worker has to end or has lost the job. */
  async #runTurn(turn: Turn, interruption: AbortController): Promise<Move> {
    this.#turns.set(interruption, performance.now());
    const interrupted = new Promise<Move>((resolve, reject) => {
      const onAbort = (): void => {
        if (this.#isShuttingDown)
          resolve({ kind: 'again', at: 0, line: `handed back at ${turn.elapsed()}: the worker shuts down` });
        else reject(new TurnLostError('lock lost'));
      };
      if (turn.signal.aborted) onAbort();
      else turn.signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([takeTurn(turn), interrupted]);
    } finally {
      this.#turns.delete(interruption);
    }
  }

  #interruptTurns(): void {
    this.#isShuttingDown = true;
    for (const interruption of this.#turns.keys()) interruption.abort();
  }

  async #applyMove(turn: Turn, move: Move, taken: TakenJob): Promise<unknown> {
    const { job } = taken;
    switch (move.kind) {
      case 'again':
        return this.#delay(job, turn.token, { at: move.at, state: turn.state, line: move.line, turn });
      case 'hand-over': {
        this.#completions.end(job, () => repairHandOver(turn, move, job, this.#pollQueue));
        const result = await handOver(turn, move, job, this.#pollQueue);
        return isHeld(taken.hash) ? this.#followPollJob(taken, turn.state) : result;
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
    if (isNumberedId(state.id, this.vendorName) && isUsualSubmitJob(this.vendorName, state.id, job.id ?? '')) {
      const other = await this.#engine.store.read(turn.pollAddress);
      if (other !== undefined && other.enqueuedAt !== state.enqueuedAt) {
        const id = `${state.id}-${state.enqueuedAt.toString(36)}`;
        const renamed = receive(id, state.use, state.enqueuedAt, state.deadlineAt);
        const line = `the id ${state.id} is taken by an older submission; this one is ${renamed.id}`;
        return this.#delay(job, turn.token, { at: 0, state: renamed, line });
      }
    }
    return this.#endDuplicate(taken, state);
  }

  /** The submission goes on, or ended, in its poll job; a held submit job tells how that ends. */
  async #endDuplicate(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    taken.logger.info({}, 'the submission id is known: nothing to do');
    if (isHeld(taken.hash)) return this.#followPollJob(taken, state);
    removeWhenDone(taken.job);
    return 'duplicate';
  }

  /**
   * A submit job whose submission has its poll job. One that is held waits for the end there and says it, also when a
   * worker died at any point of this, or the poll job was removed.
   */
  async #followPollJob(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    const { job, hash, token } = taken;
    const held = isHeld(hash);
    const pollAddress = this.#pollAddressOf(state);
    const told = held ? await this.#toldByPollJob(job, pollAddress) : undefined;
    if (told !== undefined) return this.#endHeld(job, told);
    const own = await this.#engine.store.read(this.#addressOf(job));
    if (own?.settled !== undefined) return this.#deliver(taken, own, this.#replyOf(hash));
    const poll = await this.#engine.store.readHash(pollAddress);
    const record = poll === undefined ? undefined : recordOf(poll);
    if (poll === undefined && (await this.#engine.store.isUnderWay(this.vendorName, state.id)))
      return this.#endRemoved(taken, state);
    // Its event was sent long ago and is not kept any more: the job was run again by hand.
    if (poll === undefined && held)
      throw new UnrecoverableError('the submission is over; how it ended is not kept any more');
    if (poll === undefined || !held) {
      removeWhenDone(job);
      return 'handed over';
    }
    if (record?.settled !== undefined && poll[jobFields.finishedOn] !== undefined)
      return this.#endHeld(job, this.#eventOf(job.name, record, this.#replyOf(poll)).data);
    if (poll[jobFields.parentKey] === undefined) await linkPollJob(job, pollAddress.jobId, this.#pollQueue);
    await waitForPollJob(job, token);
    // It could not be linked, or has just ended: it is looked at instead.
    return this.#delay(job, token, { at: this.#engine.clock.now() + 1_000, state: undefined });
  }

  /** How the poll job that a held submit job waited for ended, as BullMQ keeps it beside what other children gave. */
  async #toldByPollJob(job: Job, { jobId }: JobAddress): Promise<CompletionEvent['data'] | undefined> {
    const values = await job.getChildrenValues<unknown>();
    return completionData.safeParse(values[`${this.#pollQueue.qualifiedName}:${jobId}`]).data;
  }

  async #endHeld(job: Job, data: CompletionEvent['data']): Promise<CompletionEvent['data']> {
    if (data.outcome !== 'succeeded') await this.#engine.store.markEnded(this.#addressOf(job));
    return endHeld(data);
  }

  /** The poll job was removed after the hand-over. */
  async #endRemoved(taken: TakenJob, state: SubmissionState): Promise<unknown> {
    const message =
      state.jobs.length > 0
        ? 'the job was removed from its queue; the vendor was not told and may go on working'
        : 'the job was removed from its queue';
    return this.#settleWithoutTurn(taken, state, this.#replyOf(taken.hash), 'canceled', {
      code: 'job_removed',
      message,
    });
  }

  #replyOf(hash: JobHash): SalvagedJob {
    return salvage(parseJson(requestTextOf(hash)), this.#engine.replyRules);
  }

  #eventOf(operation: string, state: SubmissionState, reply: SalvagedJob): CompletionEvent {
    const { account, metadata } = reply;
    return buildCompletionEvent(state, { vendor: this.vendorName, operation, account, metadata });
  }

  /** Bad input: one event with every fault, nothing sent. */
  async #refuse(
    taken: TakenJob,
    state: SubmissionState,
    faults: readonly Fault[],
    reply: SalvagedJob,
  ): Promise<unknown> {
    if (taken.hash[jobFields.data] === undefined) removeWhenDone(taken.job);
    return this.#settleWithoutTurn(taken, state, reply, 'rejected', new InvalidSubmissionError(faults).toInfo());
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
      this.#settleWithoutTurn(taken, state, reply, outcome, { code, message });
    if (isAccepted(state)) return end('expired', 'deadline_exceeded', `not over ${why}`);
    const isInDoubt = state.phase !== 'received' || state.doubts !== undefined;
    return isInDoubt
      ? end('unconfirmed', 'submit_ambiguous', `it is not known whether the vendor took the submit ${why}`)
      : end('expired', 'not_submitted_in_time', `not accepted within ${why}`);
  }

  async #settleWithoutTurn(
    taken: TakenJob,
    state: SubmissionState,
    reply: SalvagedJob,
    outcome: Outcome,
    error: ErrorInfo,
  ): Promise<unknown> {
    const { job, token, logger } = taken;
    if (state.settled === undefined) {
      const at = this.#engine.clock.now();
      state = settled(state, { outcome, error, at });
      const line = `${outcome}: ${redactText(clip(error.message, 2_000))}`;
      const address = this.#addressOf(job);
      const open = { vendor: this.vendorName, submissionId: state.id, use: state.use, note: null };
      const unless = { handedOver: this.#pollAddressOf(state) };
      const saved = await this.#engine.store.save(address, token, state, line, open, unless);
      if (saved.kind === 'fenced') throw new TurnLostError('lost the lock');
      if (saved.kind === 'handed-over') return this.#endDuplicate(taken, state);
      logger.warn(
        { outcome, errorCode: error.code, error: redactText(clip(error.message, 500)) },
        'submission settled',
      );
    }
    return this.#deliver(taken, state, reply);
  }

  /** The outcome is stored: its event goes out. */
  async #deliver({ job, hash }: TakenJob, state: SubmissionState, reply: SalvagedJob): Promise<unknown> {
    const address = this.#addressOf(job);
    const name = (job.name as string | undefined) ?? '';
    const deliver = (): Promise<CompletionEvent> => deliverEvent(this.#engine, this.vendorName, name, state, reply);
    this.#completions.end(job, () => repairEnd(this.#engine, job, address, deliver));
    const { data } = await deliver();
    if (!isHeld(hash)) return data.outcome;
    // The poll job hands the end on to the submit job that waits for it.
    return this.stage === 'poll' ? data : this.#endHeld(job, data);
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
    if (!isOrphan || (await this.#engine.store.read(this.#addressOf(job))) !== undefined) {
      return this.#delay(job, token, { at: this.#engine.clock.now() + orphanVisitMs, state: undefined });
    }
    this.#logger.warn(
      { jobId: job.id },
      'a poll job without a record is dropped: no submit worker will hand over to it',
    );
    removeWhenDone(job);
    return 'orphan';
  }

  /** Whether the submit job of a submission may still hand over to the poll queue. */
  async #submitJobOf(submissionId: string): Promise<'under way' | 'over' | 'gone'> {
    const place = placesOf(this.vendorName, submissionId).find(({ stage }) => stage === 'submit');
    if (place === undefined) return 'gone';
    const address = { queue: stageQueue(this.vendorName, 'submit'), jobId: place.jobId };
    const { store } = this.#engine;
    if (!(await store.exists(address))) return 'gone';
    // After a death in the hand-over the submission can end where it was, by a cancel or its deadline.
    if ((await store.read(address))?.settled !== undefined) return 'over';
    return (await store.isFinished(address)) ? 'gone' : 'under way';
  }

  #delay(job: Job, token: string, delay: Delay): Promise<never> {
    return delayAgain(this.#engine, { worker: this.#worker, job, token, address: this.#addressOf(job) }, delay);
  }

  #addressOf(job: Job): JobAddress {
    return { queue: this.#queueName, jobId: job.id ?? '' };
  }

  #pollAddressOf(state: SubmissionState): JobAddress {
    return { queue: stageQueue(this.vendorName, 'poll'), jobId: pollJobId(state.id) };
  }

  /** A fault of our own, of the vendor's module or of Redis. The submission is tried again until its deadline, and ends there. */
  async #delayAfterFault(error: unknown, taken: TakenJob, turn: Turn | undefined): Promise<unknown> {
    const { job, token, logger } = taken;
    const info = toErrorInfo(error);
    const message = redactText(clip(info.message, 500));
    const stack = redactText(String((error as Partial<Error> | null | undefined)?.stack ?? ''));
    // What Redis refuses one turn it refuses them all: once tells as much.
    if (isRefusedWrite(error)) this.#onError(error);
    else {
      this.#upkeep.onQueueError(info.message);
      logger.error({ errorCode: info.code, error: message, stack }, 'turn failed');
    }
    const state = turn?.state;
    if (state !== undefined) {
      state.failures = (state.failures ?? 0) + 1;
      state.lastError = { code: info.code, message };
    }
    const { clock } = this.#engine;
    const at = clock.now() + backoffMs(state?.failures ?? 4, clock.random(), { baseMs: 1_000, maxMs: 30_000 });
    // An outage of Redis leaves it open what a turn would have found.
    if (turn !== undefined && isOverdue(turn) && !isRedisFault(error)) {
      const ended = await this.#endAfterFault(turn, { code: info.code, message }, taken);
      if (ended !== undefined) return ended.result;
    }
    try {
      const line = `internal fault: ${message}`;
      // What cannot be written stays as it was saved last.
      return await this.#delay(job, token, { at, state: isJson(state) ? state : undefined, line, turn });
    } catch (again) {
      // Where even that fails, the lock runs out and another worker takes the job from what was saved.
      if (!(again instanceof DelayedError || isRefusedWrite(again)))
        logger.warn({ error: redactText(String(again)) }, 'job left to its lock');
      throw new DelayedError();
    }
  }

  /** @returns the job's result; undefined where not even that works. */
  async #endAfterFault(turn: Turn, fault: ErrorInfo, taken: TakenJob): Promise<{ result: unknown } | undefined> {
    try {
      makeWritable(turn);
      return { result: await this.#applyMove(turn, await expireFault(turn, fault), taken) };
    } catch (error) {
      if (isEndInBullmq(error)) throw error;
      if (error instanceof TurnLostError || isLockLost(error)) throw new DelayedError();
      turn.logger.error({ error: redactText(String(error)) }, 'the submission could not be ended');
      return undefined;
    }
  }

  #onError(error: unknown): void {
    const said = redactText(error instanceof Error ? error.message : String(error));
    // Which line of which script it was tells nobody anything, and makes one trouble look like many.
    const message = said.replace(/\.? script: [0-9a-f]{40}, on .*$/, '');
    this.#upkeep.onQueueError(said);
    // BullMQ and ioredis repeat an error at every try; once in five seconds tells as much.
    const now = performance.now();
    if (now - (this.#saidAt.get(message) ?? -Infinity) < 5_000) return;
    if (this.#saidAt.size >= 100) this.#saidAt.clear();
    this.#saidAt.set(message, now);
    // That Redis is away says the connection that all queues share, once for all.
    const level = isOutage(error) ? 'debug' : 'error';
    this.#logger[level]({ error: clip(message, 500) }, 'queue error');
  }
}

const outageCodes: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function isOutage(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return outageCodes.has(code) || message === 'Connection is closed.';
}

/** A job as this worker took it. */
interface TakenJob {
  job: Job;
  hash: JobHash;
  token: string;
  logger: Logger;
}

/** What BullMQ is told by an error: delayed, waiting for a child, or failed for good. */
function isEndInBullmq(error: unknown): boolean {
  return error instanceof DelayedError || error instanceof WaitingChildrenError || error instanceof UnrecoverableError;
}

/** For how long its producer asked BullMQ to hold the job back, ms. */
function holdBackMs(job: Job): number {
  return clamp(Number(job.opts.delay ?? 0), 0, maxTimerMs);
}

function isOverdue({ state, engine }: Turn): boolean {
  return state.settled === undefined && engine.clock.now() >= state.deadlineAt;
}
