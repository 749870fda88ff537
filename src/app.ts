import type { Environment } from './config/environment.ts';
import { loadConfig, requireRedis, type Config } from './config/load-config.ts';
import { baseUrlOf } from './config/plain-http.ts';
import type { CompletionEvent } from './core/completion-event.ts';
import { ConfigError } from './core/errors.ts';
import { redactText } from './core/redact.ts';
import { silentLogger, type Logger } from './ports/logger.ts';
import type { VendorAdapter } from './ports/vendor-adapter.ts';
import { AccountBoard } from './queues/account-board.ts';
import { ClockSteps } from './queues/clock-steps.ts';
import { JobWaker } from './queues/job-waker.ts';
import { openConnection, type RedisConnection, type RedisTarget } from './queues/connection.ts';
import type { Stage } from './queues/names.ts';
import { ResultQueues } from './queues/open-queue.ts';
import { RecordStore } from './queues/record-store.ts';
import { RedisClock } from './queues/redis-clock.ts';
import { withRedisUrl } from './queues/redis-environment.ts';
import { RedisHealth, refuseEviction } from './queues/redis-health.ts';
import { adapters } from './vendors/catalogue.ts';
import { HttpClient } from './vendors/http/client.ts';
import { FileTransfers } from './vendors/transfers/file-transfers.ts';
import { AccountGate } from './workers/accounts/account-gate.ts';
import { checkedAdapter } from './workers/checked-adapter.ts';
import { ClockWatch } from './workers/clock-watch.ts';
import { defaultReconcile, type AccountRuntime, type Engine, type VendorRuntime } from './workers/engine.ts';
import { LookupGate } from './workers/accounts/lookup-gate.ts';
import { ResultsUpkeep } from './workers/results-upkeep.ts';
import { StageWorker } from './workers/stage-worker.ts';

export interface RunWorkersOptions {
  config: Config;
  redis: RedisTarget;
  logger: Logger;
  stages: readonly Stage[];
  /** Which vendors; all that have credentials when left out. */
  vendors?: readonly string[] | undefined;
  /** Overrides the configured number of jobs at a time, for each stage and vendor. */
  concurrency?: number | undefined;
  /** Told of every completion event that this process has delivered, repeated deliveries included. */
  onEvent?: (event: CompletionEvent) => void;
  /** Called between two writes; for tests that die there. */
  checkpoint?: Engine['checkpoint'];
}

export interface RunningWorkers {
  /** What runs: `knowhere.submit`, `knowhere.poll` … */
  queues: readonly string[];
  /** Whether work can be done, and if not, why, in words. */
  ready(): Promise<{ ready: boolean; details: WorkersDetails }>;
  /** By how much this machine's clock is ahead of Redis', ms; negative when it is behind. */
  clockOffsetMs(): number;
  /** Drains and ends. */
  close(): Promise<void>;
}

interface WorkersDetails {
  /** Why no work can be done, or not all of it; empty when all is well. */
  reasons: readonly string[];
  redis: boolean;
  clockOffsetMs: number;
  workers: readonly { queue: string; running: boolean; hungTurns: number }[];
}

/** While Redis stays away, the log says so this often, ms. */
const sayAgainMs = 300_000;
/** How long closing may take, ms; a worker's own drain is shorter. */
const closeBoundMs = 8_500;

export interface StartWorkersOptions {
  /** Left out, `REDIS_URL` of the environment. */
  redisUrl?: string;
  /** The vendors to work for, as far as the environment has credentials for them; the product's own when left out. */
  vendors?: readonly VendorAdapter[];
  /** What stands in for the process's environment: credentials, `JOBFERRY_PREFIX`, `JOBFERRY_CONFIG` and the rest. */
  env?: Environment;
  /** Both when left out. */
  stages?: readonly Stage[];
  /** Jobs at a time, for each stage and vendor. */
  concurrency?: number;
  /** pino fits; silence when left out. */
  logger?: Logger;
  /** Told of every completion event that this process has delivered. The results queue is what to rely on. */
  onEvent?: (event: CompletionEvent) => void;
}

/**
 * Starts workers in this process, configured as `jobferry worker` is.
 * @example const workers = await startWorkers({ vendors: [acme] });
 * @throws ConfigError with every fault at once, also when no vendor has credentials
 */
export async function startWorkers(options: StartWorkersOptions = {}): Promise<RunningWorkers> {
  const {
    redisUrl,
    env = process.env,
    vendors = adapters,
    logger = silentLogger,
    stages = ['submit', 'poll'],
  } = options;
  const config = loadConfig(redisUrl === undefined ? env : withRedisUrl(env, redisUrl), vendors);
  const redis = requireRedis(config);
  if (config.vendors.every(({ accounts }) => accounts.length === 0)) {
    const variables = vendors.flatMap(({ credentials, environment }) =>
      credentials.map((one) => environment[one] ?? one),
    );
    throw new ConfigError([{ path: variables.join(' or '), message: 'is not set: no vendor has credentials' }]);
  }
  const { concurrency, onEvent } = options;
  return runWorkers({ config, redis, logger, stages, concurrency, ...(onEvent === undefined ? {} : { onEvent }) });
}

/**
 * Builds the engine out of its rooms and starts workers. The one place that knows adapters, Redis and workers at once.
 */
export async function runWorkers(options: RunWorkersOptions): Promise<RunningWorkers> {
  const { logger } = options;
  let saidAt: number | undefined;
  const redis = openConnection(options.redis, (error) => {
    const now = performance.now();
    if (saidAt !== undefined && now - saidAt < sayAgainMs) return;
    saidAt = now;
    logger.error({ error: redactText(error.message) }, 'Redis is not reachable; trying until it is');
  });
  redis.on('ready', () => {
    if (saidAt === undefined) return;
    saidAt = undefined;
    logger.info({}, 'Redis is reachable again');
  });
  try {
    // Before anything of BullMQ's is opened: it says this on the console, in a line of its own, and goes on.
    await refuseEviction(redis);
    logConfiguration(options.config, options.vendors, logger);
    return await startOn(redis, options);
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}

/** @throws what a vendor's module throws when it is asked what it is made of */
async function startOn(redis: RedisConnection, options: RunWorkersOptions): Promise<RunningWorkers> {
  const { config, logger } = options;
  const clock = new RedisClock(redis, config.prefix);
  const results = new ResultQueues(redis, config.prefix, config.retention.eventsSeconds, clock);
  const waker = new JobWaker(redis, config.prefix, clock);
  const transfers = new FileTransfers(config);
  const engine: Engine = {
    vendors: new Map(),
    replyRules: { vendors: config.vendors.map(({ adapter }) => adapter.name), allow: config.replyTo.allow },
    store: new RecordStore(redis, config.prefix),
    accounts: new AccountBoard(redis, config.prefix),
    transfers,
    async deliver(queue, event) {
      await results.deliver(queue, event);
      options.onEvent?.(event);
    },
    wake: (job) => waker.wake(job),
    reconcile: { ...defaultReconcile, ...config.reconcile },
    ambiguity: config.ambiguity,
    checkpoint: options.checkpoint ?? (() => undefined),
    clock,
    logger,
  };
  const vendors = buildVendors(engine, config, options.vendors);
  engine.vendors = vendors;
  const workers = [...vendors.values()].flatMap((vendor) =>
    options.stages.map(
      (stage) =>
        new StageWorker(engine, vendor, stage, {
          connection: redis,
          prefix: config.prefix,
          concurrency: options.concurrency ?? config.concurrency[stage],
          keepSeconds: config.retention.submissionsSeconds,
          hungAfterMs: config.hungAfterMs,
        }),
    ),
  );
  const watch = new ClockWatch({
    clock,
    steps: new ClockSteps(redis, config.prefix),
    logger,
    onFitness: (isFit) => {
      for (const worker of workers) worker[isFit ? 'resume' : 'pause']();
    },
    onError: (error) => logger.warn({ error: redactText(String(error)) }, "Redis' time could not be read"),
  });
  const { prefix } = config;
  const resultsUpkeep = new ResultsUpkeep({
    connection: redis,
    prefix,
    names: () => results.names,
    unreadEventsSeconds: config.retention.unreadEventsSeconds,
    clock,
    logger,
  });
  try {
    await watch.start();
    await Promise.all(workers.map((worker) => worker.start()));
  } catch (error) {
    watch.close();
    await answersWithin(Promise.all([...workers, resultsUpkeep].map((one) => one.close())), closeBoundMs);
    throw error;
  }
  const health = new RedisHealth(redis, config.prefix);
  return {
    queues: workers.map((worker) => `${worker.vendorName}.${worker.stage}`),
    async ready() {
      const redisTrouble = await health.trouble();
      const running = workers.map((worker) => ({
        queue: `${worker.vendorName}.${worker.stage}`,
        running: worker.isRunning,
        hungTurns: worker.slots.hung,
        isStuck: worker.slots.hung * 2 >= worker.slots.all,
      }));
      const reasons = [
        ...(redisTrouble === undefined ? [] : [redisTrouble]),
        ...(watch.isFit ? [] : [`${watch.trouble() ?? 'the clock was off'}: no work is taken`]),
        ...running.filter((one) => watch.isFit && !one.running).map((one) => `the worker of ${one.queue} does not run`),
        ...running.filter((one) => one.isStuck).map((one) => `${one.hungTurns} turns of ${one.queue} do not end`),
      ];
      return {
        ready: reasons.length === 0,
        details: {
          reasons,
          redis: redisTrouble === undefined,
          clockOffsetMs: clock.offsetMs(),
          workers: running.map(({ isStuck: _isStuck, ...one }) => one),
        },
      };
    },
    clockOffsetMs: () => clock.offsetMs(),
    async close() {
      watch.close();
      const closing = (async (): Promise<void> => {
        await Promise.all([...workers, resultsUpkeep].map((one) => one.close()));
        await Promise.all([results.close(), waker.close()]);
      })();
      // With Redis away nothing can be handed back: locks run out, and other workers go on from what was saved.
      await answersWithin(closing, closeBoundMs);
      await transfers.close();
      redis.disconnect();
    },
  };
}

/** Where the configuration comes from and where its keys are sent: what a file in the wrong folder would change. */
function logConfiguration(config: Config, wanted: readonly string[] | undefined, logger: Logger): void {
  const vendors = config.vendors.filter(({ adapter }) => wanted === undefined || wanted.includes(adapter.name));
  const hosts = vendors.flatMap(({ adapter, accounts }) =>
    accounts.map(({ name, account }) => `${adapter.name}/${name}: ${baseUrlOf(adapter, account)?.host ?? 'unknown'}`),
  );
  logger.info({ configFile: config.configFile ?? null, hosts }, 'configured');
  for (const warning of config.warnings) logger.warn({}, warning);
}

function buildVendors(
  engine: Engine,
  config: Config,
  wanted: readonly string[] | undefined,
): Map<string, VendorRuntime> {
  const vendors = new Map<string, VendorRuntime>();
  for (const { adapter: given, accounts } of config.vendors) {
    if (accounts.length === 0 || (wanted !== undefined && !wanted.includes(given.name))) continue;
    const adapter = checkedAdapter(given, {
      logger: engine.logger.child({ vendor: given.name }),
      stepLimitMs: config.stepLimitMs,
    });
    const runtimes = new Map<string, AccountRuntime>();
    for (const { name, account, poll, refresh } of accounts) {
      const logger = engine.logger.child({ vendor: adapter.name, account: name });
      // It names the account itself, as its holds do: `<vendor>/<account>`.
      const gateLogger = engine.logger.child({ vendor: adapter.name });
      const gate = new AccountGate(engine.accounts, `${adapter.name}/${name}`, engine.clock, gateLogger);
      const http = new HttpClient(adapter, account, {
        onLimits: (report) => void gate.onLimits(report).catch(() => undefined),
        ...(refresh === undefined ? {} : { refreshAccount: refresh }),
        now: () => engine.clock.now(),
      });
      const context = { account, http: http.forScope('status'), logger, signal: new AbortController().signal };
      const lookups = new Map(
        Object.entries(adapter.lookups).map(([kind, lookup]) => [
          kind,
          new LookupGate(lookup, context, gate, () => engine.clock.now()),
        ]),
      );
      runtimes.set(name, { name, account, http, gate, lookups, poll });
    }
    vendors.set(adapter.name, { adapter, accounts: runtimes });
  }
  return vendors;
}

/** False when nothing came back in time; the promise itself is left to end as it will. */
async function answersWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const answered = promise.then(
    () => true,
    () => false,
  );
  return Promise.race([answered, timeout]).finally(() => clearTimeout(timer));
}
