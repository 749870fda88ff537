import { setTimeout as sleep } from 'node:timers/promises';
import { Queue as Queue6 } from 'bullmq';
import { Queue as Queue3 } from 'bullmq3';
import { Queue as Queue4 } from 'bullmq4';
import { Queue as Queue5 } from 'bullmq5';
import type { Redis } from 'ioredis';
import type { Producer } from './producer.ts';
import type { Random } from './random.ts';
import { prefix, stageQueues } from './scene.ts';

/** What a client of any version can do to a queue that is not its own. */
interface Client {
  pause(): Promise<void>;
  resume(): Promise<void>;
  clean(graceMs: number, limit: number, state: 'completed' | 'failed'): Promise<string[]>;
  getJob(id: string): Promise<TouchedJob | undefined>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}

interface TouchedJob {
  data: unknown;
  updateProgress(progress: number | object): Promise<void>;
  /** BullMQ 3 calls it `update`. */
  updateData?(data: unknown): Promise<void>;
  update?(data: unknown): Promise<void>;
  promote(): Promise<void>;
  remove(): Promise<void>;
}

interface ClientOptions {
  connection: { host: string; port: number; maxRetriesPerRequest: null; retryStrategy: () => number };
  prefix: string;
}

const versions = {
  3: (queue: string, options: ClientOptions): Client => new Queue3(queue, options),
  4: (queue: string, options: ClientOptions): Client => new Queue4(queue, options),
  5: (queue: string, options: ClientOptions): Client => new Queue5(queue, options),
  6: (queue: string, options: ClientOptions): Client => new Queue6(queue, options),
} as const;
type Version = keyof typeof versions;

const old: readonly Version[] = [3, 4, 5];
const all: readonly Version[] = [3, 4, 5, 6];
/** Where most of the work is, most often. */
const paused = ['knowhere.poll', 'knowhere.submit', 'knowhere.poll', 'fini.poll', 'sharely.submit', 'results'];
const pollQueues = stageQueues.filter((queue) => queue.endsWith('.poll'));
const touched = 12;
const promoted = 30;
const removed = 2;
const cleaned = 1_000;
const giveUpMs = 8_000;

/** Clients of older BullMQ versions, boards and scripts that treat our jobs as their own. */
export class Outsiders {
  readonly #redis: Redis;
  readonly #port: number;
  readonly #producer: Producer;
  readonly #clients = new Map<string, Client>();

  /** @param redis - a connection past the proxy */
  constructor(redis: Redis, port: number, producer: Producer) {
    this.#redis = redis;
    this.#port = port;
    this.#producer = producer;
  }

  /** Pauses a queue, and resumes it with whichever version is at hand. @returns what was done. */
  async pause(random: Random): Promise<string> {
    const queue = random.pick(paused) ?? 'knowhere.poll';
    const [by, resumedBy] = [random.pick(old) ?? 5, random.pick(all) ?? 5];
    const forMs = random.between(500, 2_500);
    await this.#client(by, queue).pause();
    await sleep(forMs);
    await this.#client(resumedBy, queue).resume();
    return `${queue} by BullMQ ${by}, resumed by ${resumedBy}`;
  }

  /** Writes over the progress and the data of jobs. */
  async touch(random: Random): Promise<string> {
    const by = random.pick(all) ?? 5;
    let count = 0;
    for (const queue of random.shuffle([...stageQueues])) {
      const held = await this.#redis.zrange(`${prefix}:${queue}:waiting-children`, '0', '-1');
      for (const id of random.shuffle([...held, ...(await this.#unfinished(queue))]).slice(0, touched - count)) {
        const job = await this.#client(by, queue).getJob(id);
        if (job === undefined) continue;
        count += 1;
        await job.updateProgress(random.next() < 0.5 ? 50 : { percent: 50 }).catch(() => undefined);
        // Before a worker has taken the job, other data is another request.
        if (queue.endsWith('.submit')) continue;
        const data = { metadata: { id: 's-999999' }, replyTo: 'nowhere' };
        await (job.updateData?.(data) ?? job.update?.(data))?.catch(() => undefined);
      }
    }
    return `${count} jobs by BullMQ ${by}`;
  }

  /** Promotes delayed jobs, as a board's button does. */
  async promote(random: Random): Promise<string> {
    const by = random.pick(all) ?? 5;
    let count = 0;
    for (const queue of stageQueues) {
      for (const id of random.shuffle(await this.#delayed(queue)).slice(0, promoted)) {
        const job = await this.#client(by, queue).getJob(id);
        // Another worker may have been faster.
        await job
          ?.promote()
          .then(() => (count += 1))
          .catch(() => undefined);
      }
    }
    return `${count} jobs by BullMQ ${by}`;
  }

  /** Removes poll jobs. @param onRemoval - told before it happens. */
  async remove(random: Random, onRemoval: (submissionId: string) => void): Promise<string> {
    const by = random.pick(all) ?? 5;
    const queue = random.pick(pollQueues) ?? 'knowhere.poll';
    const ids = random.shuffle(await this.#delayed(queue)).slice(0, removed);
    for (const id of ids) {
      const job = await this.#client(by, queue).getJob(id);
      if (job === undefined) continue;
      onRemoval(id);
      await job.remove().catch(() => undefined);
    }
    return `${ids.length} of ${queue} by BullMQ ${by}`;
  }

  /**
   * Tidies all queues. An id whose job was cleaned away is as good as new, so the producer repeats no push meanwhile.
   * @returns undefined where a repeated push did not come through in time.
   */
  async clean(random: Random): Promise<string | undefined> {
    const by = random.pick(all) ?? 5;
    return this.#producer.withoutRepeats(async (repeated) => {
      const end = Date.now() + giveUpMs;
      while (await this.#areInLine(repeated)) {
        if (Date.now() > end) return undefined;
        await sleep(50);
      }
      let count = 0;
      for (const queue of [...stageQueues, 'results']) {
        for (const state of ['completed', 'failed'] as const)
          count += (await this.#client(by, queue).clean(0, cleaned, state)).length;
      }
      return `${count} jobs by BullMQ ${by}`;
    });
  }

  /** Nobody leaves a queue paused for good. */
  async resumeAll(): Promise<void> {
    for (const queue of new Set(paused)) {
      if ((await this.#redis.hexists(`${prefix}:${queue}:meta`, 'paused')) === 1) await this.#client(6, queue).resume();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close().catch(() => undefined)));
  }

  #client(version: Version, queue: string): Client {
    const key = `${version} ${queue}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const client = versions[version](queue, {
      connection: { host: '127.0.0.1', port: this.#port, maxRetriesPerRequest: null, retryStrategy: () => 200 },
      prefix,
    });
    client.on('error', () => undefined);
    this.#clients.set(key, client);
    return client;
  }

  #delayed(queue: string): Promise<string[]> {
    return this.#redis.zrange(`${prefix}:${queue}:delayed`, '0', '-1');
  }

  async #unfinished(queue: string): Promise<string[]> {
    const key = (place: string): string => `${prefix}:${queue}:${place}`;
    const lists = ['wait', 'paused', 'active'].map((list) => this.#redis.lrange(key(list), 0, -1));
    return (await Promise.all([...lists, this.#delayed(queue)])).flat();
  }

  /** Whether one of them is in line at the submit stage although it was handed over before: it is about to be known. */
  async #areInLine(ids: ReadonlySet<string>): Promise<boolean> {
    for (const queue of ids.size === 0 ? [] : stageQueues.filter((one) => one.endsWith('.submit'))) {
      const poll = queue.replace('.submit', '.poll');
      const inLine = (await this.#unfinished(queue)).filter((id) => ids.has(id));
      for (const id of inLine) {
        if ((await this.#redis.exists(`${prefix}:${poll}:${id}`)) === 1) return true;
      }
    }
    return false;
  }
}
