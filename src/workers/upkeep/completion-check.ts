import type { Job, Queue } from 'bullmq';
import type { RedisConnection } from '../../queues/connection.ts';
import type { JobAddress } from '../../queues/record-store.ts';
import type { Engine } from '../engine.ts';
import { handOver } from '../bullmq/settle.ts';
import type { Move, Turn } from '../turn.ts';

/**
 * Looks again at jobs that were completed while the connection broke.
 *
 * What got no answer is sent again over a new connection. When Redis came back without its last writes, or a replica
 * without them took over, that can complete a job whose hand-over, outcome or event is among what was lost, and then
 * nobody would ever take it up again. Only a worker that lives sends again, so that worker can see to it.
 */
export class CompletionCheck {
  #breaks = 0;
  readonly #turns = new WeakMap<Job, { breaks: number; repair?: () => Promise<void> }>();

  constructor(connection: RedisConnection) {
    // A cluster closes connections to nodes, and none of its own.
    for (const event of ['close', '-node']) connection.on(event, () => (this.#breaks += 1));
  }

  /** A worker took the job. */
  begin(job: Job): void {
    this.#turns.set(job, { breaks: this.#breaks });
  }

  /** The job is about to be completed. @param repair - does what is missing, if something is */
  end(job: Job, repair: () => Promise<void>): void {
    this.#turns.set(job, { breaks: this.#turns.get(job)?.breaks ?? this.#breaks, repair });
  }

  /** Redis confirmed that the job is completed. */
  async onCompleted(job: Job): Promise<void> {
    const turn = this.#turns.get(job);
    if (turn?.repair !== undefined && turn.breaks !== this.#breaks) await turn.repair();
  }
}

/** Hands over again what has no poll job, or none with a record. */
export async function repairHandOver(
  turn: Turn,
  move: Move & { kind: 'hand-over' },
  job: Job,
  pollQueue: Queue,
): Promise<void> {
  if ((await turn.engine.store.read(turn.pollAddress)) !== undefined) return;
  turn.logger.warn({}, 'Redis lost the hand-over; it is done again');
  await handOver(turn, move, job, pollQueue);
}

/** Delivers again, or takes a job up again whose outcome was lost. */
export async function repairEnd(
  engine: Engine,
  job: Job,
  address: JobAddress,
  deliver: () => Promise<unknown>,
): Promise<void> {
  const record = await engine.store.read(address);
  if (record !== undefined && record.settled === undefined) {
    engine.logger.warn(
      { queue: address.queue, jobId: address.jobId },
      'Redis lost the outcome; the job is taken up again',
    );
    await job.retry('completed');
    return;
  }
  await deliver();
}
