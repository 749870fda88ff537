import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createBullBoard } from '@bull-board/api';
import { HonoAdapter } from '@bull-board/hono';
import { getConnInfo } from '@hono/node-server/conninfo';
import { serveStatic } from '@hono/node-server/serve-static';
import { Queue } from 'bullmq';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { redactText, redactValue } from '../core/redact.ts';
import { stageQueue } from '../queues/names.ts';
import { dependsOnState, whyRefused, type ActionTarget } from './action-policy.ts';
import { renderBoardMetrics } from './board-metrics.ts';
import { resolveBoardOptions, type BoardOptions } from './board-options.ts';
import { BoardQueue } from './board-queue.ts';
import type { QueueRole } from './describe-job.ts';
import { listen } from './http-server.ts';
import { LoginCheck } from './login.ts';
import { adaptPage, boardStyles, redisAwayPage } from './page.ts';
import { QueueFactsReader, type WatchedQueue } from './queue-facts.ts';
import { readReadiness } from './readiness.ts';
import { RedisWatch } from './redis-watch.ts';
import { RedisHealth } from '../queues/redis-health.ts';
import { isLoopbackHost, isSameOrigin, securityHeaders } from './request-guards.ts';

export interface RunningBoard {
  url: string;
  port: number;
  close(): Promise<void>;
}

/** The most jobs on one page; each is read from Redis anew every few seconds. */
const maxJobsPerPage = 50;
const limitBody = bodyLimit({
  maxSize: 65_536,
  onError: (c) => c.json({ error: 'Too large', message: 'The board takes at most 64 KiB.' }, 413),
});

/**
 * Starts the board: Bull Board under `/`, and `/healthz`, `/readyz`, `/metrics`.
 * Without a login it listens on loopback only.
 * @throws ConfigError when only one of user and password is given, or the board would be open to others.
 */
export async function startBoard(options: BoardOptions): Promise<RunningBoard> {
  const { host, login, resultQueues } = resolveBoardOptions(options);
  const log = options.log ?? (() => undefined);
  const queues = openQueues(options, resultQueues, log);
  const watch = new RedisWatch(options.connection);
  const health = new RedisHealth(options.connection, options.prefix);
  const reader = new QueueFactsReader(options.connection, queues);
  const check = login === undefined ? undefined : new LoginCheck(login);

  const app = new Hono();
  app.onError((error, c) => {
    log('the board could not answer', { path: c.req.path, error: redactText(error.message) });
    return c.json({ error: 'the board could not answer; its log says more' }, 500);
  });
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
    if (c.res.headers.get('cache-control') === null) c.header('cache-control', 'no-store');
  });
  if (check === undefined) {
    app.use(async (c, next) => {
      if (isLoopbackHost(c.req.header('host'))) return next();
      return c.text('Without a login the board answers to localhost and 127.0.0.1 only.\n', 403);
    });
  }

  app.get('/healthz', (c) => c.json({ status: 'up' }));
  app.get('/readyz', async (c) => {
    const knows = check === undefined || c.req.header('authorization') !== undefined;
    // Details need the login; who brings a wrong one is told so.
    const refusal = knows ? await refuseLogin(check, c, log) : undefined;
    if (refusal !== undefined) return refusal;
    const { ready, details } = await readReadiness(watch, health, reader, options.vendors, options.accountStates);
    return c.json(knows ? details : { status: details.status }, ready ? 200 : 503);
  });
  app.use(async (c, next) => (await refuseLogin(check, c, log)) ?? next());
  app.get('/metrics', async (c) => {
    const { text, contentType } = await renderBoardMetrics(watch, reader, options.extraMetrics);
    return c.body(text, 200, { 'content-type': contentType });
  });
  app.get('/jobferry.css', (c) => c.body(boardStyles, 200, { 'content-type': 'text/css; charset=utf-8' }));
  app.use(async (c, next) => {
    if (c.req.method === 'GET' || c.req.method === 'HEAD') return next();
    const header = (name: string): string | undefined => c.req.header(name);
    if (isSameOrigin({ host: header('host'), origin: header('origin'), secFetchSite: header('sec-fetch-site') })) {
      return next();
    }
    return c.json({ error: 'Forbidden', message: 'This request comes from another site and was refused.' }, 403);
  });
  app.use(async (c, next) => {
    if (c.req.header('transfer-encoding') !== undefined)
      return c.json({ error: 'Length required', message: 'Send the body with a Content-Length.' }, 411);
    // Without a length there is no body; the limit would try to wrap one, and fail.
    return c.req.header('content-length') === undefined ? next() : limitBody(c, next);
  });
  app.use('/static/*', async (c, next) => {
    await next();
    // Only these carry a hash of their content in their name.
    const isHashed = /\/(?:js|css)\//.test(c.req.path) && c.res.ok;
    c.header('cache-control', isHashed ? 'private, max-age=604800, immutable' : 'no-cache');
  });
  app.use('/api/*', async (c, next) => {
    if ((await watch.whileUp(next)) !== undefined) return;
    c.res = undefined;
    c.res = c.json(
      {
        error: 'Redis does not answer',
        message: 'Nothing is lost by this; the board goes on by itself when Redis is back.',
        code: 'REDIS_UNAVAILABLE',
        queues: [],
      },
      503,
    );
  });
  app.get('*', async (c, next) => {
    if (/^\/(?:static|api)\//.test(c.req.path)) return next();
    if (!(await watch.isUp())) return c.html(redisAwayPage, 503, { 'retry-after': '3' });
    await next();
    if (!(c.res.headers.get('content-type') ?? '').startsWith('text/html')) return;
    c.res = c.html(adaptPage(await c.res.text()), c.res.status as 200);
  });
  app.route('/', mountBullBoard(queues, options, resultQueues));
  app.notFound((c) => c.text('There is no such page.\n', 404));

  const server = await listen(app.fetch, options.port, host).catch(async (error: unknown) => {
    await closeQueues(queues);
    throw error;
  });
  const shownHost = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${shownHost}:${server.port}/`,
    port: server.port,
    close: async () => {
      await server.close();
      await closeQueues(queues);
    },
  };
}

function openQueues(
  options: BoardOptions,
  resultQueues: readonly string[],
  log: NonNullable<BoardOptions['log']>,
): WatchedQueue[] {
  const open = (name: string, role: QueueRole | undefined): WatchedQueue => {
    const queue = new Queue(name, {
      connection: options.connection,
      prefix: options.prefix,
      // A reader must not write the queue's settings: it would put the length of the event stream back to default.
      skipMetasUpdate: true,
      skipVersionCheck: true,
    });
    queue.on('error', (error) =>
      log('a queue of the board has trouble', { queue: name, error: redactText(error.message) }),
    );
    return { queue, role };
  };
  return [
    ...options.vendors.flatMap((vendor) =>
      (['submit', 'poll'] as const).map((stage) => open(stageQueue(vendor, stage), { vendor, stage })),
    ),
    ...resultQueues.map((name) => open(name, undefined)),
  ];
}

async function closeQueues(queues: readonly WatchedQueue[]): Promise<void> {
  await Promise.allSettled(queues.map(({ queue }) => queue.close()));
}

/** The answer to somebody without the right login; undefined when they may go on. */
async function refuseLogin(
  check: LoginCheck | undefined,
  c: Context,
  log: NonNullable<BoardOptions['log']>,
): Promise<Response | undefined> {
  if (check === undefined) return undefined;
  const address = getConnInfo(c).remote.address ?? 'unknown';
  const verdict = await check.check(address, c.req.header('authorization'));
  switch (verdict) {
    case 'granted':
      return undefined;
    case 'blocked':
      return c.text('Too many failed logins from your address; try again in a minute.\n', 429, { 'retry-after': '60' });
    case 'wrong':
      log('failed login on the board', { address });
      break;
    case 'missing':
      break;
    default: {
      const never: never = verdict;
      return never;
    }
  }
  return c.text('The board asks for a login.\n', 401, {
    'www-authenticate': 'Basic realm="Jobferry", charset="UTF-8"',
  });
}

function mountBullBoard(queues: readonly WatchedQueue[], options: BoardOptions, resultQueues: readonly string[]): Hono {
  const uiFolder = dirname(createRequire(import.meta.url).resolve('@bull-board/ui/package.json'));
  // The adapter would make the folder relative to the working folder at this moment.
  const serveUi: typeof serveStatic = () =>
    serveStatic({
      root: join(uiFolder, 'dist', 'static'),
      rewriteRequestPath: (path) => path.replace(/^\/static/, ''),
    });
  const adapter = new RedactingAdapter(serveUi);
  createBullBoard({
    queues: queues.map(({ queue, role }) => new BoardQueue(queue, options.connection, role, resultQueues, false)),
    serverAdapter: adapter,
    options: {
      uiBasePath: uiFolder,
      uiConfig: {
        boardTitle: 'Jobferry',
        hideDocsLink: true,
        miscLinks: [
          { text: 'Readiness', url: '/readyz' },
          { text: 'Metrics', url: '/metrics' },
        ],
        overview: { groupByDelimiter: true },
        jobDetails: { defaultTab: 'Data' },
        theme: { light: { 'font-sans': 'system-ui, sans-serif' }, dark: { 'font-sans': 'system-ui, sans-serif' } },
      },
      handlerHooks: {
        before: async ({ method, route, request }) => {
          const query = request.query as Record<string, string | undefined>;
          const perPage = Number(query['jobsPerPage'] ?? 10);
          if (perPage > maxJobsPerPage) query['jobsPerPage'] = String(maxJobsPerPage);
          const message = whyRefused(method, route, await readTarget(method, route, request.params, queues));
          return message === undefined ? undefined : { allow: false, status: 403, message };
        },
        after: (_context, result) => ({ ...result, body: redactValue(result.body) as typeof result.body }),
      },
    },
  });
  return adapter.registerPlugin();
}

async function readTarget(
  method: string,
  route: string,
  params: { queueName?: string; jobId?: string; queueStatus?: string },
  queues: readonly WatchedQueue[],
): Promise<ActionTarget> {
  const { queueName, jobId, queueStatus } = params;
  const watched = queues.find(({ queue }) => queue.name === queueName);
  const target = {
    ...(queueName === undefined ? {} : { queue: queueName }),
    ...(jobId === undefined ? {} : { jobId }),
    vendor: watched?.role?.vendor,
  };
  if (method === 'get' || !dependsOnState(route)) return target;
  if (queueStatus !== undefined) return { ...target, state: queueStatus };
  if (watched === undefined || jobId === undefined) return target;
  return { ...target, state: await watched.queue.getJobState(jobId) };
}

/** Hooks do not see what a handler throws, and an error's message can hold anything. */
class RedactingAdapter extends HonoAdapter {
  override setErrorHandler(handler: Parameters<HonoAdapter['setErrorHandler']>[0]): this {
    return super.setErrorHandler((error) => {
      const answer = handler(error);
      return { ...answer, body: redactValue(answer.body) as typeof answer.body };
    });
  }
}
