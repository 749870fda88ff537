import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Queue, Worker, type Job, type JobsOptions } from 'bullmq';
import { Redis } from 'ioredis';
import { runWorkers, type RunningWorkers } from '../../src/app.ts';
import { loadConfig, type Config } from '../../src/config/load-config.ts';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { silentLogger, type Logger } from '../../src/ports/logger.ts';
import type { VendorAdapter } from '../../src/ports/vendor-adapter.ts';
import { parseRedisUrl } from '../../src/queues/connection.ts';
import { hashFields } from '../../src/queues/keys.ts';
import type { Stage } from '../../src/queues/names.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import type { Engine } from '../../src/workers/engine.ts';
import { freshPrefix, redisUrl } from './redis.ts';

export interface HarnessOptions {
  /** Environment beside REDIS_URL, prefix and folders. */
  env?: Record<string, string>;
  adapters?: readonly VendorAdapter[];
  stages?: readonly Stage[];
  /** Worker groups to start, each with a Redis connection and caches of its own, as separate processes would have. */
  groups?: number;
  logger?: Logger;
  checkpoint?: Engine['checkpoint'];
  change?: (config: Config) => Config;
}

/**
 * Workers against a real Redis under a prefix of their own, driven the way a foreign service drives them: plain BullMQ
 * jobs in, completion events out of the results queue.
 */
export class Harness {
  readonly prefix = freshPrefix();
  readonly redis: Redis;
  readonly config: Config;
  readonly filesDir: string;
  readonly artifactsDir: string;
  /** Every delivery, in order. */
  readonly events: CompletionEvent[] = [];
  readonly #queues = new Map<string, Queue>();
  readonly #groups: RunningWorkers[] = [];
  readonly #options: HarnessOptions;
  readonly #folder: string;
  #consumers: Worker[] = [];

  private constructor(folder: string, options: HarnessOptions) {
    this.#folder = folder;
    this.#options = options;
    this.filesDir = path.join(folder, 'files');
    this.artifactsDir = path.join(folder, 'artifacts');
    this.redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
    const env = {
      REDIS_URL: redisUrl(),
      JOBFERRY_PREFIX: this.prefix,
      JOBFERRY_FILES_DIR: folder,
      JOBFERRY_ARTIFACTS_DIR: this.artifactsDir,
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      ...options.env,
    };
    const config = loadConfig(env, options.adapters ?? adapters, folder);
    this.config = options.change === undefined ? config : options.change(config);
  }

  static async start(options: HarnessOptions = {}): Promise<Harness> {
    const folder = await mkdtemp(path.join(tmpdir(), 'jobferry-test-'));
    const harness = new Harness(folder, options);
    await harness.consume('results');
    for (let group = 0; group < (options.groups ?? 1); group += 1) await harness.startWorkers();
    return harness;
  }

  get folder(): string {
    return this.#folder;
  }

  /** @param config - what a deploy may have changed. */
  async startWorkers(
    stages: readonly Stage[] = this.#options.stages ?? ['submit', 'poll'],
    config = this.config,
  ): Promise<RunningWorkers> {
    const workers = await runWorkers({
      config,
      redis: parseRedisUrl(redisUrl()),
      logger: this.#options.logger ?? silentLogger,
      stages,
      ...(this.#options.checkpoint === undefined ? {} : { checkpoint: this.#options.checkpoint }),
    });
    this.#groups.push(workers);
    return workers;
  }

  async stopWorkers(): Promise<void> {
    await Promise.all(this.#groups.splice(0).map((group) => group.close()));
  }

  queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new Queue(name, { connection: this.redis, prefix: this.prefix });
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }

  /** Pushes a job like any BullMQ client does. */
  async push(vendor: string, operation: string, data: unknown, opts: JobsOptions = {}): Promise<Job> {
    return this.queue(`${vendor}.submit`).add(operation, data, opts);
  }

  /** Submits under a fresh id and returns it. */
  async submit(vendor: string, operation: string, input: unknown, rest: object = {}): Promise<string> {
    const jobId = `t-${randomUUID().slice(0, 8)}`;
    await this.push(vendor, operation, { input, ...rest }, { jobId });
    return jobId;
  }

  /** Takes events from a results queue into `events`. */
  async consume(name: string): Promise<void> {
    const worker = new Worker(
      name,
      async (job) => {
        this.events.push(job.data as CompletionEvent);
      },
      { connection: this.redis, prefix: this.prefix, concurrency: 50 },
    );
    worker.on('error', () => undefined);
    this.#consumers.push(worker);
    await worker.waitUntilReady();
  }

  /** The completion event of a submission, once it is there. */
  async event(submissionId: string, timeoutMs = 15_000): Promise<CompletionEvent> {
    return until(
      () => this.events.find((event) => event.subject === submissionId),
      timeoutMs,
      async () => {
        const record = await this.record('knowhere', submissionId);
        return `no event for ${submissionId}; record: ${record ?? 'none'}`;
      },
    );
  }

  /** The stored record of a submission, wherever its job is. */
  async record(vendor: string, submissionId: string): Promise<string | null> {
    for (const stage of ['poll', 'submit']) {
      const text = await this.redis.hget(`${this.prefix}:${vendor}.${stage}:${submissionId}`, hashFields.record);
      if (text !== null) return text;
    }
    return null;
  }

  async logs(vendor: string, submissionId: string): Promise<string[]> {
    const [poll, submit] = await Promise.all([
      this.queue(`${vendor}.poll`).getJobLogs(submissionId),
      this.queue(`${vendor}.submit`).getJobLogs(submissionId),
    ]);
    return [...submit.logs, ...poll.logs];
  }

  async stop(): Promise<void> {
    await this.stopWorkers();
    await Promise.all(this.#consumers.map((worker) => worker.close()));
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    const keys = await this.redis.keys(`${this.prefix}:*`);
    if (keys.length > 0) await this.redis.del(keys);
    this.redis.disconnect();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Waits for something to become true, with a bound and a reason. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
  explain: () => string | Promise<string> = () => 'condition',
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${await explain()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
