import { createHash } from 'node:crypto';
import type { Queue } from 'bullmq';
import { InvalidSubmissionError } from '../core/errors.ts';
import { clip } from '../core/json.ts';
import { redactText } from '../core/redact.ts';
import { settled } from '../core/state-machine.ts';
import { receive } from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import { ClockSteps } from '../queues/clock-steps.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { readEnqueuedAt } from '../queues/enqueued-at.ts';
import { knownField } from '../queues/keys.ts';
import { stageQueue, type Stage } from '../queues/names.ts';
import { openQueueForReading } from '../queues/open-queue.ts';
import { OpenSubmissions } from '../queues/open-submissions.ts';
import { QueueGuard, type MisplacedJob } from '../queues/queue-guard.ts';
import { StrayJobs, type Doubt } from '../queues/stray-jobs.ts';
import { salvage } from '../queues/submit-job.ts';
import type { Engine } from './engine.ts';
import { deliverEvent } from './settle.ts';
import { StrandedSubmissions } from './stranded-submissions.ts';
import { StraySearch } from './stray-search.ts';

const intervalMs = 3_000;
const overdueToleranceMs = 3_000;
const sweepIntervalMs = 10_000;
/** Failed jobs that one sweep looks at. */
const failedPerSweep = 100;
/** Errors of scripts that Redis stopped half-way, or of lists that are none: either leaves jobs without a place. */
const brokenScript = /user_script|NOPERM|WRONGTYPE/;

interface UpkeepOptions {
  engine: Engine;
  vendor: string;
  stage: Stage;
  queue: Queue;
  connection: RedisConnection;
  prefix: string;
  logger: Logger;
  onError: (error: unknown) => void;
}

/**
 * What keeps a queue healthy beside its worker. Every few seconds it lifts jobs out of the way whose ids damage the queue,
 * writes settings that were lost, and wakes the queue when it overslept; and now and then one worker of all looks for
 * submissions that nobody would carry on, and for jobs that stand in no list.
 */
export class QueueUpkeep {
  readonly #engine: Engine;
  readonly #vendor: string;
  readonly #stage: Stage;
  readonly #queue: Queue;
  readonly #logger: Logger;
  readonly #onError: (error: unknown) => void;
  readonly #guard: QueueGuard;
  readonly #strays: Readonly<Record<Stage, StrayJobs>>;
  readonly #search: StraySearch;
  readonly #steps: ClockSteps;
  readonly #stranded: StrandedSubmissions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #failedFrom = 0;
  #isPaused = false;
  /** Redis has held this queue's settings since this worker started. */
  #isKnown = false;

  constructor({ engine, vendor, stage, queue, connection, prefix, logger, onError }: UpkeepOptions) {
    this.#engine = engine;
    this.#vendor = vendor;
    this.#stage = stage;
    this.#queue = queue;
    this.#logger = logger;
    this.#onError = onError;
    this.#guard = new QueueGuard(connection, prefix, queue.name);
    this.#strays = {
      submit: new StrayJobs(connection, prefix, stageQueue(vendor, 'submit')),
      poll: new StrayJobs(connection, prefix, stageQueue(vendor, 'poll')),
    };
    this.#search = new StraySearch(connection, prefix, engine.logger, onError);
    this.#steps = new ClockSteps(connection, prefix);
    const open = new OpenSubmissions(connection, prefix);
    this.#stranded = new StrandedSubmissions(engine, vendor, open, this.#strays, logger, async (place) => {
      const at = openQueueForReading(stageQueue(vendor, place.stage), connection, prefix);
      at.on('error', onError);
      try {
        // Another worker may have been quicker.
        await (await at.getJob(place.jobId))?.retry('completed').catch(() => undefined);
      } finally {
        await at.close();
      }
    });
    this.#timer = setInterval(() => void this.run(), intervalMs);
  }

  /** Begins no further round, and waits for the one that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    void this.#search.close();
    await this.#running;
    // That round may have begun a walk a moment before.
    await this.#search.close();
  }

  /** Told of errors of the queue: some leave it damaged, or jobs in no list. */
  onQueueError(message: string): void {
    if (!brokenScript.test(message)) return;
    this.#search.raiseDoubt();
    if (message.includes('WRONGTYPE')) void this.run();
  }

  /** One round, or the one that is under way. Never throws. */
  async run(): Promise<void> {
    this.#running ??= this.#once().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #once(): Promise<void> {
    try {
      for (const misplaced of await this.#guard.lift()) {
        if (this.#stage === 'submit') await this.refuse(misplaced);
        await this.#guard.forget(misplaced.jobId);
        // Adds failed half-way while the queue was damaged.
        this.#search.raiseDoubt();
      }
      await this.#keepSettings();
      await this.#putBack();
      await this.#search.start(await this.#sweep());
      const stepMs = await this.#steps.repairQueue(this.#queue.name);
      if (stepMs > 0) this.#logger.warn({ stepMs }, "Redis' clock was set back: delayed jobs were moved along");
      const overdueMs = await this.#guard.wake(this.#engine.clock.now(), overdueToleranceMs);
      if (overdueMs > 4 * overdueToleranceMs) this.#logger.warn({ overdueMs }, 'jobs are overdue');
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Notices that the queue was emptied, and writes its settings, which BullMQ does only when a queue is opened. */
  async #keepSettings(): Promise<void> {
    const { isKnown, isPaused } = await this.#guard.readSettings();
    if (isPaused !== this.#isPaused) this.#search.raiseDoubt();
    this.#isPaused = isPaused;
    if (!isKnown) {
      await this.#queue.getBackend().setQueueMeta({ ...this.#queue.metaValues, [knownField]: 1 });
      if (this.#isKnown) {
        this.#logger.error(
          { queue: this.#queue.name },
          'the queue is gone: it was obliterated, or Redis was emptied or came back without its data; what was in it can be pushed again',
        );
      }
    }
    this.#isKnown = true;
  }

  /**
   * Brings back submissions that have no job that will run: jobs that something made `failed`, which nothing of ours
   * does, and jobs that are in no list. Ends those whose job is gone.
   * @returns whether further jobs may be in no list
   */
  async #sweep(): Promise<Doubt> {
    if (this.#isClosed || !(await this.#guard.takeSweep(sweepIntervalMs))) return 'none';
    await this.#search.tend(this.#queue.name);
    const failed = await this.#queue.getFailed(this.#failedFrom, this.#failedFrom + failedPerSweep - 1);
    // Those of flows stay, so the next sweep goes on behind them.
    this.#failedFrom = failed.length < failedPerSweep ? 0 : this.#failedFrom + failedPerSweep;
    for (const job of failed.filter((one) => one !== undefined)) {
      // A submit job that a flow waits for fails with its submission, and stays so.
      if (await this.#engine.store.hasEnded({ queue: this.#queue.name, jobId: job.id ?? '' })) continue;
      this.#logger.warn(
        { jobId: job.id, reason: redactText(clip(job.failedReason ?? '', 300)) },
        'a failed job is taken up again',
      );
      // Another worker may have been quicker.
      await job.retry('failed').catch(() => undefined);
    }
    if (this.#stage === 'poll') await this.#stranded.check();
    const strays = this.#strays[this.#stage];
    await strays.unpause();
    return strays.doubtOfPause();
  }

  /** Puts jobs back into line that an earlier look found in no list. */
  async #putBack(): Promise<void> {
    for (const strays of Object.values(this.#strays))
      this.#search.tell({ queue: strays.queue, jobIds: await strays.putBack() });
  }

  /** Answers a job whose id damages the queue. */
  async refuse(misplaced: MisplacedJob): Promise<string> {
    const now = this.#engine.clock.now();
    let data: unknown = null;
    try {
      data = JSON.parse(misplaced.data) as unknown;
    } catch {
      // Refused in any case.
    }
    const message = `${JSON.stringify(misplaced.jobId)} is a name that BullMQ uses for its own keys; choose another job id`;
    const error = new InvalidSubmissionError([{ path: 'jobId', message }]).toInfo();
    const enqueuedAt = readEnqueuedAt(misplaced.timestamp, now);
    // A worker and the upkeep can both meet it, and must name it alike.
    const use = createHash('sha256').update(`${misplaced.timestamp} ${misplaced.data}`).digest('hex').slice(0, 12);
    const received = receive(misplaced.jobId, use, enqueuedAt, enqueuedAt);
    // From the job, so that a second delivery says the same.
    const state = settled(received, { outcome: 'rejected', error, at: enqueuedAt });
    this.#logger.warn({ jobId: misplaced.jobId }, 'a job id that damages the queue was refused');
    const reply = salvage(data, this.#engine.replyRules);
    return (await deliverEvent(this.#engine, this.#vendor, misplaced.name, state, reply)).data.outcome;
  }
}
