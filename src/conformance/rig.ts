import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { runWorkers, type RunningWorkers } from '../app.ts';
import { loadConfig, requireRedis, type Config } from '../config/load-config.ts';
import { completionEvent, type CompletionEvent } from '../core/completion-event.ts';
import { silentLogger } from '../ports/logger.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { openConnection, type RedisConnection } from '../queues/connection.ts';
import { RecordStore } from '../queues/record-store.ts';
import { routeMatcher, type ConformanceDouble, type DoubleRequest, type Route } from './double.ts';
import type { ConformanceOptions, Given } from './options.ts';

/** Waits that let a case end within seconds; the order of things is that of the long ones. */
const quickPoll = { initialDelayMs: 60, factor: 1.5, maxDelayMs: 250, deadlineMs: 40_000 };
const quickReconcile = { absenceMs: 400, minAbsentLooks: 2, gapsMs: [100], inFlightMs: 200 };
const quickGrace = { graceMs: 1_500, confirmGraceMs: 1_000 };

type Setup<Double extends ConformanceDouble> = Pick<
  ConformanceOptions<Double>,
  'adapter' | 'redisUrl' | 'double' | 'env'
>;

/**
 * Everything that one case needs, all of it real: workers on a Redis under a prefix of their own, and a double of the
 * vendor over HTTP. Driven the way a foreign service drives it: plain BullMQ jobs in, completion events out.
 */
export class Rig<Double extends ConformanceDouble> {
  readonly double: Double;
  readonly config: Config;
  readonly #adapter: VendorAdapter;
  readonly #folder: string;
  readonly #connection: RedisConnection;
  readonly #workers: RunningWorkers;
  readonly #consumer: Worker;
  readonly #queues: Record<'submit' | 'poll', Queue>;
  readonly #store: RecordStore;
  readonly #events = new Map<string, CompletionEvent>();
  #inputs = 0;

  private constructor(parts: {
    double: Double;
    config: Config;
    adapter: VendorAdapter;
    folder: string;
    connection: RedisConnection;
    workers: RunningWorkers;
  }) {
    const { connection, config, adapter } = parts;
    this.double = parts.double;
    this.config = config;
    this.#adapter = adapter;
    this.#folder = parts.folder;
    this.#connection = connection;
    this.#workers = parts.workers;
    const open = (stage: string): Queue => {
      const queue = new Queue(`${adapter.name}.${stage}`, { connection, prefix: config.prefix });
      queue.on('error', () => undefined);
      return queue;
    };
    this.#queues = { submit: open('submit'), poll: open('poll') };
    this.#store = new RecordStore(connection, config.prefix);
    this.#consumer = new Worker(
      'results',
      async (job) => {
        const event = completionEvent.parse(job.data);
        this.#events.set(event.subject, event);
      },
      { connection, prefix: config.prefix, concurrency: 20 },
    );
    this.#consumer.on('error', () => undefined);
  }

  static async start<Double extends ConformanceDouble>(setup: Setup<Double>): Promise<Rig<Double>> {
    const folder = await mkdtemp(path.join(tmpdir(), 'jobferry-conformance-'));
    const double = await setup.double();
    try {
      await mkdir(path.join(folder, 'files'));
      const adapter = quicken(setup.adapter);
      const config = readConfig(setup, adapter, double, folder);
      const redis = requireRedis(config);
      const workers = await runWorkers({ config, redis, logger: silentLogger, stages: ['submit', 'poll'] });
      const connection = openConnection(redis, () => undefined);
      return new Rig({ double, config, adapter, folder, connection, workers });
    } catch (error) {
      await double.close();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** What to make an input from. */
  given(): Given<Double> {
    this.#inputs += 1;
    return { double: this.double, filesDir: path.join(this.#folder, 'files'), n: this.#inputs };
  }

  /** Pushes a job like any BullMQ client does, and returns the submission id. */
  async submit(operation: string, input: unknown, poll: object = {}): Promise<string> {
    const jobId = `c-${randomUUID().slice(0, 8)}`;
    await this.#queues.submit.add(operation, { input, poll: { ...quickPoll, ...poll } }, { jobId });
    return jobId;
  }

  /** The completion event of a submission, once it is there. */
  async event(submissionId: string, timeoutMs = 35_000): Promise<CompletionEvent> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const event = this.#events.get(submissionId);
      if (event !== undefined) return event;
      if (Date.now() > end) {
        throw new Error(`no completion event within ${timeoutMs} ms\n${await this.story(submissionId)}`);
      }
      await sleep(15);
    }
  }

  /** The completion event, where there is one already. */
  eventSoFar(submissionId: string): CompletionEvent | undefined {
    return this.#events.get(submissionId);
  }

  /** The secrets of the account that submissions go to. */
  get secrets(): readonly string[] {
    const account = this.config.vendors[0]?.accounts[0]?.account as Readonly<Record<string, unknown>> | undefined;
    return this.#adapter.secrets.flatMap((field) => {
      const value = account?.[field];
      return typeof value === 'string' && value !== '' ? [value] : [];
    });
  }

  /** Waits until something is so, or fails with `message`. */
  async until(isSo: () => boolean, message: string): Promise<void> {
    for (let tries = 0; tries < 1_000; tries += 1) {
      if (isSo()) return;
      await sleep(15);
    }
    throw new Error(message);
  }

  /** The vendor jobs of a submission, once the vendor has taken it. */
  async vendorJobIds(submissionId: string): Promise<string[]> {
    for (let tries = 0; tries < 400; tries += 1) {
      const record = await this.#store.read({ queue: this.#queues.poll.name, jobId: submissionId });
      const ids = record?.jobs.map((one) => one.id) ?? [];
      if (ids.length > 0) return ids;
      await sleep(15);
    }
    throw new Error(`the vendor took nothing in\n${await this.story(submissionId)}`);
  }

  requestsTo(route: Route): DoubleRequest[] {
    return this.double.requests().filter(routeMatcher(route));
  }

  /** What the engine noted, and what the double was asked; for the message of a case that failed. */
  async story(submissionId: string): Promise<string> {
    const logs = await Promise.all(
      [this.#queues.submit, this.#queues.poll].map((queue) => queue.getJobLogs(submissionId)),
    );
    const requests = this.double.requests();
    const first = requests[0]?.at ?? 0;
    const shown = requests.slice(-40).map(({ method, path, at }) => `  +${at - first} ms ${method} ${path}`);
    return [
      'the engine’s log:',
      ...logs.flatMap(({ logs: lines }) => lines.map((line) => `  ${line}`)),
      `requests (${requests.length}):`,
      ...shown,
    ].join('\n');
  }

  async close(): Promise<void> {
    await Promise.all([this.#workers.close(), this.#consumer.close()]);
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close()));
    await this.#removeKeys();
    this.#connection.disconnect();
    await this.double.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #removeKeys(): Promise<void> {
    const { prefix } = this.config;
    for (const name of ['submit', 'poll', 'results']) {
      const queue = new Queue(name === 'results' ? name : `${this.#adapter.name}.${name}`, {
        connection: this.#connection,
        prefix,
      });
      await queue.obliterate({ force: true });
      await queue.close();
    }
    const client = this.#connection;
    const keys = await client.keys(`${prefix}:*`);
    await Promise.all(keys.map((key) => client.del(key)));
  }
}

function readConfig<Double extends ConformanceDouble>(
  setup: Setup<Double>,
  adapter: VendorAdapter,
  double: Double,
  folder: string,
): Config {
  const env = {
    REDIS_URL: typeof setup.redisUrl === 'string' ? setup.redisUrl : setup.redisUrl(),
    JOBFERRY_PREFIX: `conformance-${randomUUID().slice(0, 13)}`,
    JOBFERRY_FILES_DIR: path.join(folder, 'files'),
    JOBFERRY_ARTIFACTS_DIR: path.join(folder, 'artifacts'),
    JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
    ...(setup.env ?? ((given: Double) => defaultEnv(adapter, given)))(double),
  };
  const config = loadConfig(env, [adapter], folder);
  if (config.vendors.every(({ accounts }) => accounts.length === 0)) {
    throw new Error(`${adapter.name} has no credentials here: set its variables in \`env\``);
  }
  return { ...config, reconcile: { ...config.reconcile, ...quickReconcile } };
}

/** The same adapter with short graces: what is waited for is the same, only sooner. */
function quicken(adapter: VendorAdapter): VendorAdapter {
  const operations = Object.entries(adapter.operations).map(
    ([name, one]) => [name, { ...one, ...quickGrace }] as const,
  );
  return { ...adapter, operations: Object.fromEntries(operations) };
}

function defaultEnv(adapter: VendorAdapter, double: ConformanceDouble): Record<string, string> {
  const [credential] = adapter.credentials;
  return Object.fromEntries(
    Object.entries(adapter.environment).flatMap(([field, variable]) => {
      if (field === 'baseUrl') return [[variable, double.baseUrl]];
      return field === credential ? [[variable, 'conformance-key']] : [];
    }),
  );
}
