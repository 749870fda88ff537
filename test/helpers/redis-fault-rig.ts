import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Queue, type JobsOptions } from 'bullmq';
import { runWorkers, type RunWorkersOptions, type RunningWorkers } from '../../src/app.ts';
import { loadConfig, requireRedis, type Config } from '../../src/config/load-config.ts';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { readRecord } from '../../src/core/record.ts';
import type { SubmissionState } from '../../src/core/submission.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { createProducer, type Producer } from '../../src/producers/producer.ts';
import { openConnection, parseRedisUrl, type RedisConnection } from '../../src/queues/connection.ts';
import { hashFields } from '../../src/queues/keys.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import { fini } from '../../src/vendors/fini/adapter.ts';
import { knowhere } from '../../src/vendors/knowhere/adapter.ts';
import { sharely } from '../../src/vendors/sharely/adapter.ts';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { until } from './harness.ts';

/** Waits that let a submission end within seconds. */
export const quickPoll = { initialDelayMs: 100, factor: 1.5, maxDelayMs: 400, deadlineMs: 120_000 };

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error';
  at: number;
  message: string;
  fields: Record<string, unknown>;
}

export interface FaultRigOptions {
  /** As the test asks Redis, and workers and producers where no other way is given. */
  redisUrl: string;
  /** As workers and producers reach it, where something lies between. */
  workerUrl?: string;
  prefix?: string;
  checkpoint?: RunWorkersOptions['checkpoint'];
}

const vendors = { knowhere, fini, sharely };
const stageQueues = Object.keys(vendors).flatMap((vendor) => [`${vendor}.submit`, `${vendor}.poll`]);
/** BullMQ's states of jobs that are not over. */
const openTypes = ['active', 'wait', 'delayed', 'failed'] as const;

/**
 * Workers of all vendors, a producer and the sandbox, around a Redis that is about to have trouble. Nobody takes from
 * the results queue, so what was delivered can be counted there; `deliveries` has the repeated ones too.
 */
export class RedisFaultRig {
  readonly sandbox: Sandbox;
  readonly config: Config;
  readonly connection: RedisConnection;
  readonly producer: Producer<typeof vendors>;
  readonly deliveries: CompletionEvent[] = [];
  readonly log: LogLine[] = [];
  readonly unhandled: unknown[] = [];
  readonly folder: string;
  /** What a worker process of its own would be given. */
  readonly env: Readonly<Record<string, string>>;
  readonly #options: FaultRigOptions;
  readonly #queues = new Map<string, Queue>();
  readonly #workers: RunningWorkers[] = [];
  readonly #onUnhandled = (reason: unknown): void => void this.unhandled.push(reason);

  private constructor(options: FaultRigOptions, sandbox: Sandbox, folder: string) {
    this.#options = options;
    this.sandbox = sandbox;
    this.folder = folder;
    this.env = {
      REDIS_URL: options.workerUrl ?? options.redisUrl,
      ...(options.prefix === undefined ? {} : { JOBFERRY_PREFIX: options.prefix }),
      JOBFERRY_FILES_DIR: folder,
      JOBFERRY_ARTIFACTS_DIR: path.join(folder, 'artifacts'),
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      KNOWHERE_API_KEY: 'sk_test',
      KNOWHERE_BASE_URL: sandbox.knowhereUrl,
      FINI_API_KEY: 'fini_test',
      FINI_BASE_URL: sandbox.finiUrl,
      SHARELY_API_KEY: 'sk-sharely-test',
      SHARELY_ORGANIZATION_ID: '0b1e55ed-0000-4000-8000-000000000001',
      SHARELY_WORKSPACE_ID: '0b1e55ed-0000-4000-8000-000000000002',
      SHARELY_BASE_URL: sandbox.sharelyUrl,
    };
    const config = loadConfig(this.env, adapters, folder);
    // Looking for a lost submit takes minutes by default; the order of things is the same in seconds.
    this.config = { ...config, reconcile: { absenceMs: 4_000, minAbsentLooks: 2, inFlightMs: 3_000 } };
    this.connection = openConnection(parseRedisUrl(options.redisUrl), () => undefined);
    this.producer = createProducer({ vendors, redisUrl: this.env['REDIS_URL'] ?? '', prefix: config.prefix });
    process.on('unhandledRejection', this.#onUnhandled);
  }

  static async start(options: FaultRigOptions): Promise<RedisFaultRig> {
    const folder = await mkdtemp(path.join(tmpdir(), 'jobferry-redis-fault-'));
    await mkdir(path.join(folder, 'artifacts'));
    return new RedisFaultRig(options, await startSandbox({ speed: 200 }), folder);
  }

  async startWorkers(): Promise<RunningWorkers> {
    const { checkpoint } = this.#options;
    const workers = await runWorkers({
      config: this.config,
      redis: requireRedis(this.config),
      logger: recordingLogger(this.log),
      stages: ['submit', 'poll'],
      onEvent: (event) => this.deliveries.push(event),
      ...(checkpoint === undefined ? {} : { checkpoint }),
    });
    this.#workers.push(workers);
    return workers;
  }

  /** Waits until the workers have seen every answer that Redis has given so far. */
  async answersSeen(): Promise<void> {
    await until(async () =>
      (await Promise.all(this.#workers.map((workers) => workers.ready()))).every((one) => one.ready),
    );
  }

  queue(name: string): Queue {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const { connection } = this;
      queue = new Queue(name, { connection, prefix: this.config.prefix, skipMetasUpdate: true });
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }

  /** Pushes a Knowhere parse as any BullMQ client does. */
  async parse(id: string, input: object = {}, rest: { poll?: object; opts?: JobsOptions } = {}): Promise<void> {
    const data = { input: { ...urlInput(id), ...input }, poll: { ...quickPoll, ...rest.poll } };
    await this.queue('knowhere.submit').add('parse', data, { jobId: id, ...rest.opts });
  }

  async state(id: string, vendor = 'knowhere'): Promise<SubmissionState | undefined> {
    for (const stage of ['poll', 'submit']) {
      const text = await this.connection.hget(`${this.config.prefix}:${vendor}.${stage}:${id}`, hashFields.record);
      const state = readRecord(text);
      if (state !== undefined) return state;
    }
    return undefined;
  }

  async inPhase(id: string, phase: SubmissionState['phase']): Promise<void> {
    await until(
      async () => (await this.state(id))?.phase === phase,
      20_000,
      async () => `${id} is ${(await this.state(id))?.phase}, not ${phase}`,
    );
  }

  /** What lies in the results queue, when there is an event for each of these and no queue holds work any more. */
  async settled(ids: readonly string[], timeoutMs = 60_000): Promise<CompletionEvent[]> {
    const read = async (): Promise<CompletionEvent[]> =>
      (await this.queue('results').getJobs(['wait', 'completed'], 0, -1)).map((job) => job.data as CompletionEvent);
    const missing = async (): Promise<string> => {
      const subjects = new Set((await read()).map((event) => event.subject));
      const open = ids.filter((id) => !subjects.has(id));
      const states = open.map(async (id) => `${id}: ${JSON.stringify(await this.state(id))}`);
      return [...(await Promise.all(states)), ...(await this.#openJobCounts())].join('\n');
    };
    await until(
      async () => {
        const subjects = new Set((await read()).map((event) => event.subject));
        return ids.every((id) => subjects.has(id)) && (await this.openJobs()) === 0;
      },
      timeoutMs,
      missing,
    );
    return read();
  }

  /** Jobs of all stages that are not over, jobs that BullMQ counts as failed included. */
  async openJobs(): Promise<number> {
    const counts = await Promise.all(stageQueues.map((name) => this.queue(name).getJobCountByTypes(...openTypes)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** What keeps `openJobs` from 0: queues with their jobs that are not over, by BullMQ's state. */
  async #openJobCounts(): Promise<string[]> {
    const lines = stageQueues.map(async (name) => {
      const jobs = await Promise.all(
        openTypes.map(async (type) => {
          const ids = (await this.queue(name).getJobs([type], 0, 9)).map((job) => job.id);
          return ids.length === 0 ? '' : ` ${type}: ${ids.join(', ')}`;
        }),
      );
      return jobs.join('') === '' ? '' : `${name}:${jobs.join('')}`;
    });
    return (await Promise.all(lines)).filter((line) => line !== '');
  }

  /** Vendor jobs by what was submitted: the id is part of every URL and file name. */
  made(id: string): string[] {
    const creates = this.sandbox.ledger.entries({ vendor: 'knowhere', route: 'create', jobCreated: true, source: id });
    return creates.map((entry) => entry.jobId ?? '');
  }

  errors(): LogLine[] {
    return this.log.filter((line) => line.level === 'error' || line.level === 'warn');
  }

  async stopWorkers(): Promise<void> {
    await Promise.all(this.#workers.splice(0).map((workers) => workers.close()));
  }

  async stop(): Promise<void> {
    await this.stopWorkers();
    await this.producer.close();
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
    this.connection.disconnect();
    await this.sandbox.close();
    process.off('unhandledRejection', this.#onUnhandled);
    await rm(this.folder, { recursive: true, force: true });
  }
}

export function urlInput(id: string, marker = ''): { sourceType: 'url'; sourceUrl: string } {
  return { sourceType: 'url', sourceUrl: `https://example.com/${id}.pdf${marker}` };
}

export function recordingLogger(lines: LogLine[], bound: Record<string, unknown> = {}): Logger {
  const write =
    (level: LogLine['level']) =>
    (fields: object, message: string): void => {
      lines.push({ level, at: Date.now(), message, fields: { ...bound, ...fields } });
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => recordingLogger(lines, { ...bound, ...fields }),
  };
}
