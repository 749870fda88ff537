import { createHash } from 'node:crypto';
import { Queue, Worker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ParentEnd, Submitted } from './evidence.ts';
import { parentOf, parentQueue } from './loads.ts';

/** For comparing what a long run could not keep. */
export function fingerprint(value: unknown): string {
  return createHash('sha1').update(JSON.stringify(value)).digest('base64');
}

/** The user's own queue whose jobs wait for submissions in flows, and its worker. */
export class Parents {
  readonly #queue: Queue;
  readonly #worker: Worker;
  readonly #given = new Map<string, Omit<ParentEnd, 'state'>>();

  /** @param connect - a new connection past the proxy */
  constructor(connect: () => Redis, prefix: string) {
    this.#queue = new Queue(parentQueue, { connection: connect(), prefix });
    this.#worker = new Worker(parentQueue, (job: Job) => this.#run(job), {
      connection: connect(),
      prefix,
      concurrency: 10,
    });
    this.#queue.on('error', () => undefined);
    this.#worker.on('error', () => undefined);
  }

  /** How the parents of all these ended. */
  async ends(submissions: Iterable<Submitted>): Promise<Map<string, ParentEnd>> {
    const ends = new Map<string, ParentEnd>();
    for (const { id, parent } of submissions) {
      if (parent === undefined) continue;
      const state = await this.#queue.getJobState(parentOf(id));
      ends.set(id, { value: undefined, failed: undefined, ...this.#given.get(id), state });
    }
    return ends;
  }

  async close(): Promise<void> {
    await this.#worker.close(true).catch(() => undefined);
    await this.#queue.close().catch(() => undefined);
  }

  async #run(job: Job): Promise<void> {
    const [value] = Object.values(await job.getChildrenValues<unknown>());
    const [failed] = Object.values(await job.getFailedChildrenValues());
    const { id } = job.data as { id: string };
    this.#given.set(id, { value: value === undefined ? undefined : fingerprint(value), failed });
  }
}
