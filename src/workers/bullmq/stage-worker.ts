import { DelayedError, type Job, type Queue } from 'bullmq';
import { clip } from '../../core/json.ts';
import type { Logger } from '../../ports/logger.ts';
import { backendOnClock } from '../../queues/bullmq-internals/clock.ts';
import { jobFields, reservedIds } from '../../queues/bullmq-internals/layout.ts';
import { isLockLost } from '../../queues/bullmq-internals/locks.ts';
import type { RedisConnection } from '../../queues/connection.ts';
import { EnqueueTimes } from '../../queues/enqueue-times.ts';
import { recordOf } from '../../queues/job-hash.ts';
import { submissionIdOf } from '../../queues/job-ids.ts';
import { type Stage, stageQueue } from '../../queues/names.ts';
import { openQueue } from '../../queues/open-queue.ts';
import { MoveApplier, type StageParts } from './apply-move.ts';
import { Intake } from './intake.ts';
import { QueueErrors } from './queue-errors.ts';
import { removeWhenDone } from './settle.ts';
import { TolerantWorker } from './tolerant-worker.ts';
import { isEndInBullmq, TurnFaults } from './turn-fault.ts';
import { type Engine, lockDurationMs, stalledIntervalMs, type VendorRuntime } from '../engine.ts';
import { isInStep } from '../step-watch.ts';
import { takeTurn } from '../take-turn.ts';
import { type Move, Turn, TurnLostError } from '../turn.ts';
import { CompletionCheck } from '../upkeep/completion-check.ts';
import { QueueUpkeep } from '../upkeep/queue-upkeep.ts';

export interface StageWorkerOptions {
  connection: RedisConnection;
  prefix: string;
  concurrency: number;
  /** How long settled submissions stay in Redis, seconds: the window in which an id is not taken a second time. */
  keepSeconds: number;
  /** After how long a turn that is in no step of a vendor module counts as hung, ms. */
  hungAfterMs?: number | undefined;
}

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
  readonly #logger: Logger;
  readonly #queueName: string;
  readonly #queue: Queue;
  readonly #pollQueue: Queue;
  readonly #worker: TolerantWorker;
  readonly #upkeep: QueueUpkeep;
  readonly #errors: QueueErrors;
  readonly #intake: Intake;
  readonly #moves: MoveApplier;
  readonly #faults: TurnFaults;
  readonly #completions: CompletionCheck;
  /** One per turn under way, with its start by the monotonic clock. Not one signal for all: listeners would pile up on it for as long as the process lives. */
  readonly #turns = new Map<AbortController, number>();
  readonly #hungAfterMs: number;
  #isShuttingDown = false;

  constructor(engine: Engine, vendor: VendorRuntime, stage: Stage, options: StageWorkerOptions) {
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
    for (const queue of new Set([this.#queue, this.#pollQueue]))
      queue.on('error', (error) => this.#errors.report(error));
    this.#errors = new QueueErrors(this.#logger, (message) => this.#upkeep.onQueueError(message));
    this.#completions = new CompletionCheck(connection);
    this.#upkeep = new QueueUpkeep({
      engine,
      vendor: this.vendorName,
      stage,
      queue: this.#queue,
      connection,
      prefix,
      logger: this.#logger,
      onError: (error) => this.#errors.report(error),
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
    const parts: StageParts = {
      engine,
      vendor,
      vendorName: this.vendorName,
      stage,
      queueName: this.#queueName,
      pollQueue: this.#pollQueue,
      worker: this.#worker,
      completions: this.#completions,
      logger: this.#logger,
    };
    this.#moves = new MoveApplier(parts);
    this.#intake = new Intake(parts, this.#moves, new EnqueueTimes(connection, prefix, this.#queueName));
    this.#faults = new TurnFaults(parts, this.#moves, this.#errors);
    this.#worker.on('error', (error) => this.#errors.report(error));
    this.#worker.on('completed', (job) => {
      void this.#completions.onCompleted(job).catch((error: unknown) => this.#errors.report(error));
    });
    this.#worker.on('lockRenewalFailed', (ids: string[]) => {
      for (const id of ids) this.#worker.cancelJob(id, 'lock lost');
    });
  }

  /** Starts to take jobs. */
  async start(): Promise<void> {
    await this.#worker.waitUntilReady();
    await this.#upkeep.run();
    void this.#worker.run().catch((error: unknown) => this.#errors.report(error));
  }

  /** Takes no more jobs; what was begun goes on. */
  pause(): void {
    void this.#worker.pause(true).catch((error: unknown) => this.#errors.report(error));
  }

  resume(): void {
    void this.#worker.resume().catch((error: unknown) => this.#errors.report(error));
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
    const taken = { job, hash, token: token ?? '', logger };
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
      const begun = await this.#intake.begin(taken, interruption.signal);
      if (!(begun instanceof Turn)) return begun.result;
      turn = begun;
      const move = await this.#runTurn(turn, interruption);
      return await this.#moves.apply(turn, move, taken);
    } catch (error) {
      if (isEndInBullmq(error)) throw error;
      if (error instanceof TurnLostError || isLockLost(error)) {
        // The worker that owns the job now goes on from what was saved.
        logger.warn({}, 'lost the job: another worker has it, or it was removed');
        throw new DelayedError();
      }
      return this.#faults.delay(error, taken, turn);
    }
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
}
