import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { startEmbeddedRedis, type EmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { projectDir } from '../../scripts/transpile.ts';
import { Child } from './child.ts';
import type { SubmitData } from './payloads.ts';
import type { Protection } from './without.ts';
import type { WorkerStart } from './worker-life.ts';

export type Kind = 'jobferry' | 'bullmq' | 'bullmq-fetch';

export const titles: Readonly<Record<Kind, string>> = {
  jobferry: 'jobferry',
  bullmq: 'plain BullMQ, empty processors',
  'bullmq-fetch': 'plain BullMQ, one fetch per poll',
};

export interface ArenaOptions {
  compiled: (name: string) => string;
  submitConcurrency?: number;
  pollConcurrency?: number;
  workerArgs?: readonly string[];
  workerEnv?: Record<string, string>;
}

/** The defaults of the product, and the same for everybody. */
export const concurrency = { submit: 20, poll: 100 };

/** A Redis of its own, a vendor in a process of its own, and the engines to compare, each with one worker process. */
export class Arena {
  readonly redis: Redis;
  readonly url: string;
  readonly vendor: Child;
  readonly vendorUrl: string;
  readonly #server: EmbeddedRedis;
  readonly #dir: string;
  readonly #options: ArenaOptions;
  readonly #contestants: Contestant[] = [];

  private constructor(server: EmbeddedRedis, dir: string, vendor: Child, vendorUrl: string, options: ArenaOptions) {
    this.#server = server;
    this.#dir = dir;
    this.#options = options;
    this.url = server.url;
    this.redis = new Redis(server.url, { maxRetriesPerRequest: null });
    this.vendor = vendor;
    this.vendorUrl = vendorUrl;
  }

  static async open(options: ArenaOptions): Promise<Arena> {
    const dir = mkdtempSync(path.join(tmpdir(), 'jobferry-bench-redis-'));
    const server = await startEmbeddedRedis({
      dir,
      cacheDir: path.join(projectDir, '.jobferry', 'redis'),
      appendOnly: false,
    });
    const vendor = new Child(options.compiled('loopback-vendor'));
    return new Arena(server, dir, vendor, await vendor.ask<string>('listen'), options);
  }

  /** @param special - a jobferry that lacks some of its protections, under a name of its own. */
  async contestant(kind: Kind, special?: { name: string; without: readonly Protection[] }): Promise<Contestant> {
    const name = special?.name ?? kind;
    const { compiled, workerArgs, workerEnv } = this.#options;
    const child = new Child(compiled(kind === 'jobferry' ? 'jobferry-worker' : 'plain-worker'), {
      ...(workerArgs === undefined ? {} : { nodeArgs: workerArgs }),
      ...(workerEnv === undefined ? {} : { env: workerEnv }),
    });
    const contestant = new Contestant(this, kind, name, child, {
      redisUrl: this.url,
      prefix: `{${name}}`,
      vendorUrl: this.vendorUrl,
      submitConcurrency: this.#options.submitConcurrency ?? concurrency.submit,
      pollConcurrency: this.#options.pollConcurrency ?? concurrency.poll,
      without: special?.without ?? [],
    });
    this.#contestants.push(contestant);
    return contestant;
  }

  async info(section: string): Promise<Map<string, string>> {
    const text = await this.redis.info(section);
    return new Map(
      text.split('\r\n').flatMap((line) => {
        const colon = line.indexOf(':');
        return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const];
      }),
    );
  }

  async serverVersion(): Promise<string> {
    const info = await this.info('server');
    return info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown';
  }

  /** CPU seconds that the server has used. */
  async serverCpu(): Promise<number> {
    const info = await this.info('cpu');
    return Number(info.get('used_cpu_user')) + Number(info.get('used_cpu_sys'));
  }

  async close(): Promise<void> {
    await Promise.all(this.#contestants.map((contestant) => contestant.end()));
    await this.vendor.end();
    this.redis.disconnect();
    await this.#server.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** One engine: the queues that it works on, and its worker process. */
export class Contestant {
  readonly kind: Kind;
  readonly name: string;
  readonly worker: Child;
  readonly prefix: string;
  readonly #arena: Arena;
  readonly #start: WorkerStart;
  readonly #submitQueue: Queue;
  #isRunning = false;
  #hasEnded = false;

  constructor(arena: Arena, kind: Kind, name: string, worker: Child, start: WorkerStart) {
    this.#arena = arena;
    this.kind = kind;
    this.name = name;
    this.worker = worker;
    this.prefix = start.prefix;
    this.#start = start;
    this.#submitQueue = new Queue('knowhere.submit', {
      connection: arena.redis,
      prefix: this.prefix,
      streams: { events: { maxLen: 1_000 } },
    });
  }

  async start(): Promise<void> {
    await this.worker.ask('start', { ...this.#start, isFetching: this.kind === 'bullmq-fetch' });
    this.#isRunning = true;
  }

  async stop(): Promise<void> {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    await this.worker.ask('stop');
  }

  /** How many look-ups every submission takes from here on. */
  async setLooks(looks: number, record = false): Promise<void> {
    await this.#arena.vendor.ask('begin', { looks, record });
    if (this.kind !== 'jobferry') await this.worker.ask('looks', looks);
  }

  /** Pushes submissions the way any BullMQ client does, in chunks. */
  async submit(ids: string, count: number, data: (index: number) => SubmitData): Promise<void> {
    const chunk = 500;
    for (let from = 0; from < count; from += chunk) {
      await this.#submitQueue.addBulk(
        Array.from({ length: Math.min(chunk, count - from) }, (_, offset) => ({
          name: 'parse',
          data: data(from + offset),
          opts: { jobId: `${ids}-${from + offset}` },
        })),
      );
    }
  }

  key(queue: string, suffix: string): string {
    return `${this.prefix}:${queue}:${suffix}`;
  }

  async eventCount(): Promise<number> {
    return this.#arena.redis.llen(this.key('results', 'wait'));
  }

  /** Waits until so many completion events are there. */
  async eventsReach(count: number, timeoutMs = 300_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const there = await this.eventCount();
      if (there >= count) return;
      if (Date.now() > end) throw new Error(`${this.name}: ${there} of ${count} events within ${timeoutMs} ms`);
      await sleep(10);
    }
  }

  /** Waits until so many submissions wait for their next look-up and none is being worked on. */
  async waitingReach(count: number, timeoutMs = 300_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    const { redis } = this.#arena;
    for (;;) {
      const [delayed, active, submits] = await Promise.all([
        redis.zcard(this.key('knowhere.poll', 'delayed')),
        redis.llen(this.key('knowhere.poll', 'active')),
        redis.llen(this.key('knowhere.submit', 'active')),
      ]);
      if (delayed >= count && active === 0 && submits === 0) return;
      if (Date.now() > end) throw new Error(`${this.name}: ${delayed} of ${count} waiting within ${timeoutMs} ms`);
      await sleep(20);
    }
  }

  /** Waits until the vendor was asked so often. */
  async lookUpsReach(count: number, timeoutMs = 300_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { lookUps } = await this.#arena.vendor.ask<{ lookUps: number }>('counts');
      if (lookUps >= count) return;
      if (Date.now() > end) throw new Error(`${this.name}: ${lookUps} of ${count} look-ups within ${timeoutMs} ms`);
      await sleep(50);
    }
  }

  /**
   * Deletes everything that this engine has in Redis, save what its queues were set to (how long their event streams
   * may grow). Only while its workers are stopped.
   */
  async wipe(): Promise<void> {
    const { redis } = this.#arena;
    let cursor = '0';
    do {
      const [next, keys] = await redis.scan(cursor, 'MATCH', `${this.prefix}:*`, 'COUNT', 5_000);
      cursor = next;
      const doomed = keys.filter((key) => !key.endsWith(':meta'));
      if (doomed.length > 0) await redis.unlink(...doomed);
    } while (cursor !== '0');
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    await this.stop();
    await this.worker.end();
    await this.#submitQueue.close();
  }
}
