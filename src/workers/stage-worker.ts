import { DelayedError, type Job, type Queue, type Worker } from 'bullmq';
import { InvalidSubmissionError, toErrorInfo } from '../core/errors.ts';
import { clip, type Fault } from '../core/json.ts';
import { backoffMs, clamp, maxTimerMs } from '../core/poll-schedule.ts';
import { redactText } from '../core/redact.ts';
import { readCancelRequest, readState, receive, type SubmissionState } from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { readEnqueuedAt } from '../queues/enqueued-at.ts';
import { isNumberedId, placesOf, pollJobId, reservedIds, submissionIdOf } from '../queues/job-ids.ts';
import { stageQueue, type Stage } from '../queues/names.ts';
import { openQueue } from '../queues/open-queue.ts';
import type { JobAddress } from '../queues/record-store.ts';
import { isRefusedWrite } from '../queues/refused-write.ts';
import type { SalvagedJob } from '../queues/submit-job.ts';
import { CompletionCheck, repairEnd, repairHandOver } from './completion-check.ts';
import type { Engine, VendorRuntime } from './engine.ts';
import { QueueUpkeep } from './queue-upkeep.ts';
import { readRequest, rereadRequest } from './request.ts';
import { delayAgain, deliverEvent, handOver, removeWhenDone, type Delay } from './settle.ts';
import { takeTurn } from './take-turn.ts';
import { TolerantWorker } from './tolerant-worker.ts';
import { Turn, TurnLostError, type Move } from './turn.ts';

export interface StageWorkerOptions {
  connection: RedisConnection;
  prefix: string;
  concurrency: number;
  /** How long settled submissions stay in Redis, seconds: the window in which an id is not taken a second time. */
  keepSeconds: number;
}

/**
 * A lock this long, and a check this often, bring the jobs of a killed worker back within 10 s: the lock must run out,
 * and two checks see it (BullMQ marks at one and moves at the next).
 */
const lockDurationMs = 5_000;
const stalledIntervalMs = 1_500;
/** How long a poll job may stay without its record before it counts as an orphan. */
const orphanAfterMs = 600_000;
/** How long requests may go on after a shutdown began: a submit that is cut off is one whose fate is unknown. */
const drainMs = 7_000;

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
  readonly #worker: Worker;
  readonly #upkeep: QueueUpkeep;
  readonly #completions: CompletionCheck;
  /** One per turn under way. Not one signal for all: listeners would pile up on it for as long as the process lives. */
  readonly #turns = new Set<AbortController>();
  #isShuttingDown = false;
  /** Errors by their message, and when they were last told, epoch ms. */
  readonly #saidAt = new Map<string, number>();

  constructor(engine: Engine, vendor: VendorRuntime, stage: Stage, options: StageWorkerOptions) {
    this.#engine = engine;
    this.#vendor = vendor;
    this.stage = stage;
    this.vendorName = vendor.adapter.name;
    this.#queueName = stageQueue(this.vendorName, stage);
    this.#logger = engine.logger.child({ vendor: this.vendorName, stage });
    const { connection, prefix } = options;
    this.#queue = openQueue(this.#queueName, connection, prefix);
    this.#pollQueue =
      stage === 'poll' ? this.#queue : openQueue(stageQueue(this.vendorName, 'poll'), connection, prefix);
    for (const queue of new Set([this.#queue, this.#pollQueue])) queue.on('error', (error) => this.#onError(error));
    this.#completions = new CompletionCheck(connection);
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

  get isRunning(): boolean {
    return this.#worker.isRunning() && !this.#isShuttingDown;
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

  async #process(job: Job, token: string | undefined, signal: AbortSignal | undefined): Promise<string> {
    this.#completions.begin(job);
    const jobId = job.id ?? '';
    const submissionId = readState(job.progress)?.id ?? submissionIdOf(this.vendorName, jobId);
    const logger = this.#logger.child({ submissionId: clip(submissionId, 200), operation: clip(job.name, 80) });
    const lock = token ?? '';
    let turn: Turn | undefined;
    try {
      if (this.stage === 'submit' && reservedIds.has(jobId)) {
        removeWhenDone(job);
        return await this.#upkeep.refuse({
          jobId,
          name: job.name,
          data: JSON.stringify(job.data),
          timestamp: job.timestamp,
        });
      }
      const interruption = new AbortController();
      if (this.#isShuttingDown) interruption.abort();
      signal?.addEventListener('abort', () => interruption.abort(), { once: true });
      const begun = await this.#beginTurn(job, lock, interruption.signal, logger);
      if (typeof begun === 'string') return begun;
      turn = begun;
      const move = await this.#runTurn(turn, interruption);
      return await this.#applyMove(turn, move, job);
    } catch (error) {
      if (error instanceof DelayedError) throw error;
      if (error instanceof TurnLostError || isLockLost(error)) {
        // Whoever holds the job now goes on from what was saved.
        logger.warn({}, 'lost the job: another worker has it, or it was removed');
        throw new DelayedError();
      }
      return this.#delayAfterFault(error, job, lock, turn, logger);
    }
  }

  /** Reads the record and the request. @returns the job's result where there is no turn to take. */
  async #beginTurn(job: Job, token: string, signal: AbortSignal, logger: Logger): Promise<string | Turn> {
    const jobId = job.id ?? '';
    const stored = readState(job.progress);
    const now = this.#engine.clock.now();
    if (stored === undefined && this.stage === 'poll') return this.#waitForRecord(job, token);

    const fresh = stored === undefined ? readRequest(this.#engine, this.#vendor, job.name, job.data) : undefined;
    let state = stored;
    if (state === undefined) {
      const enqueuedAt = readEnqueuedAt(job.timestamp, now);
      const holdBackMs = clamp(Number(job.opts.delay ?? 0), 0, maxTimerMs);
      const deadlineMs = fresh?.ok === true ? fresh.request.poll.deadlineMs : 0;
      state = receive(submissionIdOf(this.vendorName, jobId), enqueuedAt, enqueuedAt + holdBackMs + deadlineMs);
      const cancelRequestedAt = readCancelRequest(job.progress);
      if (cancelRequestedAt !== undefined) state.cancelRequestedAt = cancelRequestedAt;
    }
    const pollAddress = this.#pollAddressOf(state);
    if (fresh?.ok === false) {
      // The same id with other data is still the same id: its submission is on its way already.
      if (await this.#engine.store.exists(pollAddress)) return this.#endDuplicate(job, logger);
      return this.#refuse(job, token, state, fresh.faults, fresh.reply, logger);
    }
    const again = fresh ?? rereadRequest(this.#engine, this.#vendor, job.name, job.data);
    if (!again.ok) {
      // It was accepted once, so the configuration changed since. It waits for the configuration, not for an end.
      const error = new InvalidSubmissionError(again.faults).toInfo();
      if (now >= state.deadlineAt) return this.#expireUnreadable(job, token, state, again.reply, error, logger);
      state.lastError = error;
      const at = Math.min(now + 15_000, state.deadlineAt);
      return this.#delay(job, token, { at, state, line: error.message });
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
      reply: again.reply,
      logger,
      state,
    });
  }

  /** Takes the turn, and gives it up when the worker has to end or has lost the job. */
  async #runTurn(turn: Turn, interruption: AbortController): Promise<Move> {
    this.#turns.add(interruption);
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
    for (const interruption of this.#turns) interruption.abort();
  }

  async #applyMove(turn: Turn, move: Move, job: Job): Promise<string> {
    switch (move.kind) {
      case 'again':
        return this.#delay(job, turn.token, { at: move.at, state: turn.state, line: move.line, turn });
      case 'hand-over':
        this.#completions.end(job, () => repairHandOver(turn, move, job, this.#pollQueue));
        return handOver(turn, move, job, this.#pollQueue);
      case 'settled':
        return this.#deliver(job, turn.state, turn.reply);
      case 'duplicate':
        return this.#onDuplicate(turn, job);
    }
  }

  /**
   * The poll job of this submission id exists. With an id that the caller chose that is the idempotency asked for. With
   * a number of BullMQ's it may be another submission, after somebody emptied the submit queue and numbers began anew.
   */
  async #onDuplicate(turn: Turn, job: Job): Promise<string> {
    const { state } = turn;
    if (isNumberedId(state.id, this.vendorName)) {
      const text = await this.#engine.store.read(turn.pollAddress);
      const other = text === null ? undefined : readState(JSON.parse(text));
      if (other !== undefined && other.enqueuedAt !== state.enqueuedAt) {
        const renamed = {
          ...receive(`${state.id}-${state.enqueuedAt.toString(36)}`, state.enqueuedAt, state.deadlineAt),
        };
        const line = `the id ${state.id} is taken by an older submission; this one is ${renamed.id}`;
        return this.#delay(job, turn.token, { at: 0, state: renamed, line });
      }
    }
    return this.#endDuplicate(job, turn.logger);
  }

  #endDuplicate(job: Job, logger: Logger): string {
    logger.info({}, 'the submission id is known: nothing to do');
    removeWhenDone(job);
    return 'duplicate';
  }

  /** Bad input: one event with every fault, nothing sent. */
  async #refuse(
    job: Job,
    token: string,
    state: SubmissionState,
    faults: readonly Fault[],
    reply: SalvagedJob,
    logger: Logger,
  ): Promise<string> {
    return this.#settleWithoutTurn(
      job,
      token,
      state,
      reply,
      'rejected',
      new InvalidSubmissionError(faults).toInfo(),
      logger,
    );
  }

  async #expireUnreadable(
    job: Job,
    token: string,
    state: SubmissionState,
    reply: SalvagedJob,
    cause: { code: string; message: string },
    logger: Logger,
  ): Promise<string> {
    const error = {
      code: 'deadline_exceeded',
      message: `the deadline passed while it could not be processed: ${cause.message}`,
    };
    return this.#settleWithoutTurn(job, token, state, reply, 'expired', error, logger);
  }

  async #settleWithoutTurn(
    job: Job,
    token: string,
    state: SubmissionState,
    reply: SalvagedJob,
    outcome: 'rejected' | 'expired',
    error: { code: string; message: string },
    logger: Logger,
  ): Promise<string> {
    if (state.settled === undefined) {
      const at = this.#engine.clock.now();
      state = { ...state, phase: 'settled', settled: { outcome, error, at } };
      const line = `${outcome}: ${redactText(clip(error.message, 2_000))}`;
      const address = this.#addressOf(job);
      const open = { vendor: this.vendorName, submissionId: state.id, note: null };
      const unless = { handedOver: this.#pollAddressOf(state) };
      const saved = await this.#engine.store.save(address, token, state, line, open, unless);
      if (saved.kind === 'fenced') throw new TurnLostError('lost the lock');
      if (saved.kind === 'handed-over') return this.#endDuplicate(job, logger);
      logger.warn(
        { outcome, errorCode: error.code, error: redactText(clip(error.message, 500)) },
        'submission settled',
      );
    }
    return this.#deliver(job, state, reply);
  }

  /** The outcome is stored: its event goes out. */
  async #deliver(job: Job, state: SubmissionState, reply: SalvagedJob): Promise<string> {
    const address = this.#addressOf(job);
    const deliver = (): Promise<string> => deliverEvent(this.#engine, this.vendorName, job.name, state, reply);
    this.#completions.end(job, () => repairEnd(this.#engine, job, address, deliver));
    return deliver();
  }

  /** A poll job is added and then given its record; in between it has none. */
  async #waitForRecord(job: Job, token: string): Promise<string> {
    const now = this.#engine.clock.now();
    if (now - job.timestamp < orphanAfterMs && !(await this.#endedAtSubmit(job.id ?? ''))) {
      return this.#delay(job, token, { at: now + 2_000, state: undefined });
    }
    this.#logger.warn(
      { jobId: job.id },
      'a poll job without a record is dropped: no submit worker will hand over to it',
    );
    removeWhenDone(job);
    return 'orphan';
  }

  /** After a death in the hand-over the submission can end where it was, by a cancel or its deadline. */
  async #endedAtSubmit(submissionId: string): Promise<boolean> {
    const place = placesOf(this.vendorName, submissionId).find(({ stage }) => stage === 'submit');
    if (place === undefined) return false;
    const address = { queue: stageQueue(this.vendorName, 'submit'), jobId: place.jobId };
    const text = await this.#engine.store.read(address);
    return text !== null && readState(JSON.parse(text))?.settled !== undefined;
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

  /** A fault of our own, or of Redis. The submission waits and is tried again; its deadline bounds it. */
  async #delayAfterFault(
    error: unknown,
    job: Job,
    token: string,
    turn: Turn | undefined,
    logger: Logger,
  ): Promise<never> {
    const info = toErrorInfo(error);
    const message = redactText(clip(info.message, 500));
    const stack = redactText((error as Error).stack ?? '');
    // What Redis refuses one turn it refuses them all: once tells as much.
    if (isRefusedWrite(error)) this.#onError(error);
    else logger.error({ errorCode: info.code, error: message, stack }, 'turn failed');
    const state = turn?.state;
    if (state !== undefined) {
      state.failures = (state.failures ?? 0) + 1;
      state.lastError = { code: info.code, message };
    }
    const at = Date.now() + backoffMs(state?.failures ?? 4, Math.random(), { baseMs: 1_000, maxMs: 30_000 });
    try {
      const line = `internal fault: ${message}`;
      return await this.#delay(job, token, { at, state, line, turn });
    } catch (again) {
      // Where even that fails, the lock runs out and another worker takes the job from what was saved.
      if (!(again instanceof DelayedError || isRefusedWrite(again)))
        logger.warn({ error: redactText(String(again)) }, 'job left to its lock');
      throw new DelayedError();
    }
  }

  #onError(error: unknown): void {
    const said = redactText(error instanceof Error ? error.message : String(error));
    // Which line of which script it was tells nobody anything, and makes one trouble look like many.
    const message = said.replace(/\.? script: [0-9a-f]{40}, on .*$/, '');
    if (/WRONGTYPE/.test(message)) void this.#upkeep.run();
    // BullMQ and ioredis repeat an error at every try; once in five seconds tells as much.
    const now = Date.now();
    if (now - (this.#saidAt.get(message) ?? 0) < 5_000) return;
    if (this.#saidAt.size >= 100) this.#saidAt.clear();
    this.#saidAt.set(message, now);
    this.#logger.error({ error: clip(message, 500) }, 'queue error');
  }
}

function isLockLost(error: unknown): boolean {
  return (
    error instanceof Error &&
    /Missing lock|Lock mismatch|not in the active state|Missing key for job|is not locked/i.test(error.message)
  );
}
