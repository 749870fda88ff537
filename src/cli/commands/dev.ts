import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startSandbox, type Sandbox } from 'jobferry/sandbox';
import { runWorkers } from '../../app.ts';
import { startBoard, type RunningBoard } from '../../board/index.ts';
import type { Environment } from '../../config/environment.ts';
import { loadConfig, requireRedis, type Config } from '../../config/load-config.ts';
import { startEmbeddedRedis } from '../../embedded-redis/index.ts';
import { AccountBoard } from '../../queues/account-board.ts';
import { openConnection } from '../../queues/connection.ts';
import { withRedisUrl } from '../../queues/redis-environment.ts';
import { adapters } from '../vendor-modules.ts';
import { readAccountStates } from '../account-states.ts';
import { awaitRedis, describeTarget } from '../await-redis.ts';
import { neededVariables } from '../credentials.ts';
import { demoTable } from '../dev/demo-table.ts';
import { DevView, styled } from '../dev/dev-view.ts';
import { runDemo } from '../dev/run-demo.ts';
import { CommandError, exitCodes } from '../exit-codes.ts';
import { createLogger } from '../logging.ts';
import { listenNear } from '../ports-in-use.ts';
import { surviveRejections, untilSignal } from '../shutdown.ts';
import { WorkerMetrics } from '../worker-metrics.ts';

/** The usual port, so that a plain `new Queue('knowhere.submit')` of any BullMQ client finds us. */
const usualRedisPort = 6_379;
const usualSandboxPort = 4_010;
const usualBoardPort = 3_000;

/** How long a start or a demo that is cut short may take to clean up after itself, ms. */
const tidyMs = 1_500;

/** Everything on this machine, until a signal. */
export async function dev(flags: { demo: boolean; speed: number }): Promise<number> {
  const folders = findFolders();
  const env = withFolders(withRedisUrl(process.env), folders);
  const given = loadConfig(env, adapters);
  const view = new DevView();
  // The view tells what happens; the log is for trouble only, unless somebody asks for more.
  const logger = createLogger(env['LOG_LEVEL'] === undefined ? 'error' : given.logLevel, view.logOutput);
  surviveRejections(logger);

  const stop = new AbortController();
  const undo: (() => Promise<unknown>)[] = [];
  const stopped = untilSignal(() => {
    view.stop();
    view.line('Stopping …');
    stop.abort();
  });
  const running = run();
  try {
    await Promise.race([running, stopped]);
    await stopped;
    // The demo cleans up after itself; whatever else of the start is still under way is not worth waiting for.
    await Promise.race([running.catch(() => undefined), sleep(tidyMs, undefined, { ref: false })]);
  } finally {
    for (const close of undo.reverse())
      await close().catch((error: unknown) => logger.error({ err: error }, 'closing failed'));
  }
  view.line('Stopped.');
  return exitCodes.ok;

  async function run(): Promise<void> {
    view.line();
    const redisUrl = await provideRedis(env, folders, view, undo);
    const { sandbox, played } = await provideSandbox(given, flags.speed, undo);
    const config = loadConfig(
      {
        ...env,
        REDIS_URL: redisUrl,
        ...Object.assign(
          {},
          ...played.map((name) => demoTable[name]?.sandboxEnvironment(sandbox?.baseUrl(name) ?? '')),
        ),
        ...allowPrivateUrls(given, played),
      } as Environment,
      adapters,
    );
    const target = requireRedis(config);
    await awaitRedis(target, logger, stop.signal);
    if (stop.signal.aborted) return;

    const shown = new Set<string>();
    const demoIds = new Set<string>();
    const metrics = new WorkerMetrics({
      queues: async () => (await workers.ready()).details.workers,
      clockOffsetMs: () => workers.clockOffsetMs(),
    });
    const workers = await runWorkers({
      config: metrics.count(config),
      redis: target,
      logger,
      stages: ['submit', 'poll'],
      onEvent: (event) => {
        metrics.onEvent(event);
        if (demoIds.has(event.subject) || shown.has(event.id)) return;
        shown.add(event.id);
        view.settle(event);
      },
    });
    undo.push(() => workers.close());
    const connection = openConnection(target, () => undefined);
    undo.push(async () => connection.disconnect());
    const { board, isElsewhere } = await provideBoard(env, config, connection, metrics, logger, undo);

    const vendors = new Map(
      config.vendors
        .filter(({ accounts }) => accounts.length > 0)
        .map(({ adapter }) => [adapter.name, { isSandbox: played.includes(adapter.name) }]),
    );
    view.table([
      [
        'Board',
        `${styled('cyan', board.url)}${isElsewhere ? `  port ${usualBoardPort} is taken; PORT names another` : ''}`,
      ],
      ['Redis', `redis://${describeTarget(target)}${env['REDIS_URL'] === undefined ? '' : '  from REDIS_URL'}`],
      ...(env['REDIS_URL'] === undefined
        ? [['', 'It has no password: other users of this machine can read and change jobs.'] as const]
        : []),
      ...(sandbox === undefined ? [] : [['Sandbox', `${sandbox.url}  ${describePlayed(config, played)}`] as const]),
      ...describeReal(config, played).map((line) => ['Vendor', line] as const),
      ['Workers', workers.queues.join(', ')],
    ]);
    view.line();
    if (flags.demo) {
      await runDemo({
        config,
        view,
        vendors,
        signal: stop.signal,
        onChosen: (ids) => ids.forEach((id) => demoIds.add(id)),
      });
      if (stop.signal.aborted) return;
      view.line();
    }
    view.table([
      ['Board', styled('cyan', board.url)],
      ['Push a job', `${commandName(folders, redisUrl)} submit knowhere.parse --input ${inputExample(folders)} --wait`],
      ['Results', `events wait in the queue "results"; downloads are in ${shorten(config.artifactsDir)}`],
      ['Stop', 'Ctrl+C'],
    ]);
    view.line();
  }
}

interface Folders {
  /** The package itself: a checkout, or what npm installed. */
  package: string;
  isCheckout: boolean;
  /** `.jobferry` is made here. */
  root: string;
}

function findFolders(): Folders {
  const packageFolder = fileURLToPath(new URL('../../../', import.meta.url));
  const isCheckout = existsSync(path.join(packageFolder, 'src', 'cli'));
  return { package: packageFolder, isCheckout, root: isCheckout ? packageFolder : process.cwd() };
}

function withFolders(env: Environment, folders: Folders): Environment {
  const documents = path.join(folders.package, 'examples', 'documents');
  const isSet = (name: string): boolean => (env[name] ?? '') !== '';
  return {
    ...env,
    PORT: isSet('PORT') ? env['PORT'] : undefined,
    ...(isSet('JOBFERRY_FILES_DIR') || !existsSync(documents) ? {} : { JOBFERRY_FILES_DIR: documents }),
    ...(isSet('JOBFERRY_ARTIFACTS_DIR')
      ? {}
      : { JOBFERRY_ARTIFACTS_DIR: path.join(folders.root, '.jobferry', 'artifacts') }),
  };
}

type Undo = (() => Promise<unknown>)[];

async function provideRedis(env: Environment, folders: Folders, view: DevView, undo: Undo): Promise<string> {
  if (env['REDIS_URL'] !== undefined) return env['REDIS_URL'];
  try {
    const redis = await startEmbeddedRedis({
      dir: path.join(folders.root, '.jobferry', 'redis-data'),
      cacheDir: path.join(folders.root, '.jobferry', 'redis'),
      port: usualRedisPort,
      log: (line) => view.line(`  ${line}`),
    });
    undo.push(() => redis.stop());
    return redis.url;
  } catch (error) {
    throw new CommandError(exitCodes.unavailable, (error as Error).message);
  }
}

/** Plays every vendor that has no credentials, as far as the sandbox knows it. */
async function provideSandbox(
  config: Config,
  speed: number,
  undo: Undo,
): Promise<{ sandbox: Sandbox | undefined; played: string[] }> {
  const played = config.vendors
    .filter(({ adapter, accounts }) => accounts.length === 0 && demoTable[adapter.name] !== undefined)
    .map(({ adapter }) => adapter.name);
  if (played.length === 0) return { sandbox: undefined, played };
  const { server } = await listenNear('sandbox', undefined, usualSandboxPort, (port) => startSandbox({ port, speed }));
  undo.push(() => server.close());
  return { sandbox: server, played: played.filter((name) => server.vendors.includes(name)) };
}

async function provideBoard(
  env: Environment,
  config: Config,
  connection: ReturnType<typeof openConnection>,
  metrics: WorkerMetrics,
  logger: ReturnType<typeof createLogger>,
  undo: Undo,
): Promise<{ board: RunningBoard; isElsewhere: boolean }> {
  const accounts = new AccountBoard(connection, config.prefix);
  const wanted = env['PORT'] === undefined ? undefined : config.port;
  const { server: board, isElsewhere } = await listenNear('PORT', wanted, usualBoardPort, (port) =>
    startBoard({
      connection,
      prefix: config.prefix,
      vendors: config.vendors.map(({ adapter }) => adapter.name),
      port,
      ...config.board,
      log: (message, fields) => logger.warn(fields ?? {}, message),
      record: (message, fields) => logger.info(fields, message),
      accountStates: () => readAccountStates(accounts),
      extraMetrics: () => metrics.render(),
    }),
  );
  undo.push(() => board.close());
  return { board, isElsewhere };
}

function describePlayed(config: Config, played: readonly string[]): string {
  const each = config.vendors
    .filter(({ adapter }) => played.includes(adapter.name))
    .map(({ adapter }) => `plays ${adapter.name} until ${neededVariables(adapter)} is set`);
  return each.join(', ');
}

/** The vendors that get real work, and may charge for it. */
function describeReal(config: Config, played: readonly string[]): string[] {
  return config.vendors
    .filter(({ adapter, accounts }) => accounts.length > 0 && !played.includes(adapter.name))
    .map(({ adapter, accounts }) => `${adapter.name} itself, at ${adapter.http.baseUrl(accounts[0]?.account)}`);
}

/** Links of the sandbox, or of somebody's own double of a vendor, lead to this machine. */
function allowPrivateUrls(config: Config, played: readonly string[]): Environment {
  const isDouble = config.vendors.some(({ adapter, accounts }) =>
    accounts.some(({ account }) => /^https?:\/\/(localhost|127\.|\[::1\])/.test(adapter.http.baseUrl(account))),
  );
  const isSet = (process.env['JOBFERRY_ALLOW_PRIVATE_URLS'] ?? '') !== '';
  return played.length > 0 || (isDouble && !isSet) ? { JOBFERRY_ALLOW_PRIVATE_URLS: 'true' } : {};
}

/** How this command is called here, with what it needs to find our Redis. */
function commandName(folders: Folders, redisUrl: string): string {
  const isGiven = process.env['REDIS_URL'] === redisUrl;
  return `${isGiven ? '' : `REDIS_URL=${redisUrl} `}${folders.isCheckout ? 'npx jobferry' : 'jobferry'}`;
}

function inputExample(folders: Folders): string {
  return folders.isCheckout ? shorten(path.join(folders.package, 'examples', 'input.json')) : 'input.json';
}

function shorten(folder: string): string {
  const relative = path.relative(process.cwd(), folder);
  return relative.startsWith('..') ? folder : relative;
}
