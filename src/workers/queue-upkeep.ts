import { createHash } from 'node:crypto';
import type { Queue } from 'bullmq';
import { InvalidSubmissionError } from '../core/errors.ts';
import { clip } from '../core/json.ts';
import { redactText } from '../core/redact.ts';
import { receive, type SubmissionState } from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { readEnqueuedAt } from '../queues/enqueued-at.ts';
import { stageQueue, type Stage } from '../queues/names.ts';
import { openQueueForReading } from '../queues/open-queue.ts';
import { OpenSubmissions } from '../queues/open-submissions.ts';
import { knownField, QueueGuard, type MisplacedJob } from '../queues/queue-guard.ts';
import { salvage } from '../queues/submit-job.ts';
import type { Engine } from './engine.ts';
import { deliverEvent } from './settle.ts';
import { StrandedSubmissions } from './stranded-submissions.ts';

const intervalMs = 3_000;
const overdueToleranceMs = 3_000;
const sweepIntervalMs = 10_000;
/** Looking for jobs without a place walks all keys of a queue: once in so many sweeps, five minutes. */
const orphanSweeps = 30;

export interface UpkeepOptions {
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
 * submissions that nobody would carry on.
 */
export class QueueUpkeep {
  readonly #engine: Engine;
  readonly #vendor: string;
  readonly #stage: Stage;
  readonly #queue: Queue;
  readonly #logger: Logger;
  readonly #onError: (error: unknown) => void;
  readonly #guard: QueueGuard;
  readonly #stranded: StrandedSubmissions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #sweeps = 0;
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
    const open = new OpenSubmissions(connection, prefix);
    this.#stranded = new StrandedSubmissions(engine, vendor, open, logger, async (place) => {
      const at = openQueueForReading(stageQueue(vendor, place.stage), connection, prefix);
      // Another worker may have been quicker.
      await (await at.getJob(place.jobId))?.retry('completed').catch(() => undefined);
      await at.close();
    });
    this.#timer = setInterval(() => void this.run(), intervalMs);
  }

  /** Begins no further round, and waits for the one that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running;
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
      }
      await this.#keepSettings();
      await this.#sweep();
      const overdueMs = await this.#guard.wake(Date.now(), overdueToleranceMs);
      if (overdueMs > 4 * overdueToleranceMs) this.#logger.warn({ overdueMs }, 'jobs are overdue');
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Notices that the queue was emptied, and writes its settings, which BullMQ does only when a queue is opened. */
  async #keepSettings(): Promise<void> {
    if (!(await this.#guard.isKnown())) {
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
   */
  async #sweep(): Promise<void> {
    if (this.#isClosed || !(await this.#guard.takeSweep(sweepIntervalMs))) return;
    for (const job of (await this.#queue.getFailed(0, 99)).filter((one) => one !== undefined)) {
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
    this.#sweeps += 1;
    if (this.#sweeps % orphanSweeps !== 0) return;
    const restored = await this.#guard.restoreOrphans();
    if (restored > 0) this.#logger.warn({ restored }, 'jobs without a place in line were put back');
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
    const state: SubmissionState = {
      ...receive(misplaced.jobId, use, enqueuedAt, enqueuedAt),
      phase: 'settled',
      // From the job, so that a second delivery says the same.
      settled: { outcome: 'rejected', error, at: enqueuedAt },
    };
    this.#logger.warn({ jobId: misplaced.jobId }, 'a job id that damages the queue was refused');
    const reply = salvage(data, this.#engine.vendorNames);
    return (await deliverEvent(this.#engine, this.#vendor, misplaced.name, state, reply)).data.outcome;
  }
}
