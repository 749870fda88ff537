import { runWorkers, type RunningWorkers } from '../../app.ts';
import { startHealthServer } from '../../board/index.ts';
import { loadConfig, requireRedis, type Config } from '../../config/load-config.ts';
import type { Logger } from '../../ports/logger.ts';
import { adapters } from '../vendor-modules.ts';
import { awaitRedis, describeTarget } from '../await-redis.ts';
import { chooseVendors, neededVariables } from '../credentials.ts';
import { exitCodes } from '../exit-codes.ts';
import { createLogger, LogOutput } from '../logging.ts';
import { asPortFault } from '../ports-in-use.ts';
import { surviveRejections, untilSignal } from '../shutdown.ts';
import { WorkerMetrics } from '../worker-metrics.ts';

export interface WorkerFlags {
  vendors?: string[];
  stages: readonly ('submit' | 'poll')[];
  concurrency?: number;
}

/** Runs until a signal. Starts before Redis is there, and ends within 10 s whatever hangs. */
export async function worker(flags: WorkerFlags): Promise<number> {
  const loaded = loadConfig(process.env, adapters);
  const redis = requireRedis(loaded);
  const { started, withoutCredentials } = chooseVendors(loaded, flags.vendors);
  const log = new LogOutput();
  const logger = createLogger(loaded.logLevel, log);
  surviveRejections(logger);

  let running: RunningWorkers | undefined;
  const metrics = new WorkerMetrics({
    queues: async () => (await running?.ready())?.details.workers ?? [],
    clockOffsetMs: () => running?.clockOffsetMs(),
    droppedLogLines: () => log.dropped,
  });
  const config = metrics.count(loaded);
  const health = await startHealth(config, metrics, () => running);

  const stop = new AbortController();
  const signal = untilSignal((name) => {
    logger.info({ signal: name }, 'draining: no more jobs are taken; a second signal ends at once');
    stop.abort();
  });

  for (const adapter of withoutCredentials) sayNotStarted(adapter, logger);
  await awaitRedis(redis, logger, stop.signal);
  if (!stop.signal.aborted) {
    running = await runWorkers({
      config,
      redis,
      logger,
      stages: flags.stages,
      vendors: started,
      concurrency: flags.concurrency,
      onEvent: (event) => metrics.onEvent(event),
    });
    const fields = { queues: running.queues, redis: describeTarget(redis), prefix: config.prefix };
    logger.info({ ...fields, healthPort: health?.port }, `working for ${started.join(', ')}`);
  }

  await signal;
  await running?.close();
  await health?.close();
  logger.info({}, 'drained');
  return exitCodes.ok;
}

function sayNotStarted(adapter: Parameters<typeof neededVariables>[0], logger: Logger): void {
  const variables = neededVariables(adapter);
  logger.info({ vendor: adapter.name }, `${adapter.name} is not started: it needs ${variables}`);
}

async function startHealth(
  config: Config,
  metrics: WorkerMetrics,
  workers: () => RunningWorkers | undefined,
): Promise<{ port: number; close(): Promise<void> } | undefined> {
  if (config.healthPort === undefined) return undefined;
  try {
    return await startHealthServer({
      port: config.healthPort,
      host: config.healthHost,
      ready: async () =>
        workers()?.ready() ?? { ready: false, details: { reasons: ['Redis is awaited'], redis: false, workers: [] } },
      metrics: () => metrics.render(),
    });
  } catch (error) {
    throw asPortFault('JOBFERRY_HEALTH_PORT', config.healthPort, error);
  }
}
