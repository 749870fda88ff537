import { getConnInfo } from '@hono/node-server/conninfo';
import { Queue } from 'bullmq';
import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { redactText } from '../core/redact.ts';
import { stageQueue } from '../queues/names.ts';
import { renderBoardMetrics } from './board-metrics.ts';
import { isLoopbackName, resolveBoardOptions, type BoardOptions } from './board-options.ts';
import { mountBullBoard } from './bull-board.ts';
import { ChangeLog, type Visitor } from './change-log.ts';
import type { TrustedProxies } from './client-address.ts';
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

const limitBody = bodyLimit({
  maxSize: 65_536,
  onError: (c) => c.json({ error: 'Too large', message: 'The board takes at most 64 KiB.' }, 413),
});

interface BoardEnvironment {
  Variables: { visitor: Visitor };
}

/**
 * Starts the board: Bull Board under `/`, and `/healthz`, `/readyz`, `/metrics`.
 * It listens on loopback unless a host is given, which requires a login.
 * @throws ConfigError if a login is incomplete or too weak, or the board would be open to others.
 */
export async function startBoard(options: BoardOptions): Promise<RunningBoard> {
  const { host, logins, resultQueues, proxies } = resolveBoardOptions(options);
  const log = options.log ?? (() => undefined);
  const changes = new ChangeLog(options.record ?? (() => undefined));
  const queues = openQueues(options, resultQueues, log);
  const watch = new RedisWatch(options.connection);
  const health = new RedisHealth(options.connection, options.prefix);
  const reader = new QueueFactsReader(options.connection, queues);
  const door = new Door(logins.length === 0 ? undefined : new LoginCheck(logins), proxies, changes, log);
  const mount = (isReadOnly: boolean) =>
    mountBullBoard(queues, { connection: options.connection, resultQueues, isReadOnly });
  const forReaders = mount(true);
  const forOperators = options.isReadOnly === true ? forReaders : mount(false);

  const app = new Hono<BoardEnvironment>();
  for (const each of [app, forReaders.app, forOperators.app]) {
    each.notFound((c) => c.text('There is no such page.\n', 404));
    each.onError((error, c) => {
      log('the board could not answer', { path: c.req.path, error: redactText(error.message) });
      return c.json({ error: 'the board could not answer; its log says more' }, 500);
    });
  }
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
    if (c.res.headers.get('cache-control') === null) c.header('cache-control', 'no-store');
  });
  if (!door.hasLogin) {
    app.use(async (c, next) => {
      if (isLoopbackHost(c.req.header('host'))) return next();
      return c.text('Without a login the board answers to localhost and 127.0.0.1 only.\n', 403);
    });
  }

  app.get('/healthz', (c) => c.json({ status: 'up' }));
  app.get('/readyz', async (c) => {
    const knows = !door.hasLogin || c.req.header('authorization') !== undefined;
    // Details need the login; a wrong one is refused.
    const refusal = knows ? await door.refuse(c) : undefined;
    if (refusal !== undefined) return refusal;
    const { ready, details } = await readReadiness(watch, health, reader, options.vendors, options.accountStates);
    return c.json(knows ? details : { status: details.status }, ready ? 200 : 503);
  });
  app.use(async (c, next) => (await door.refuse(c)) ?? next());
  app.get('/metrics', async (c) => {
    const { text, contentType } = await renderBoardMetrics(watch, reader, options.extraMetrics);
    return c.body(text, 200, { 'content-type': contentType });
  });
  app.get('/jobferry.css', (c) => c.body(boardStyles, 200, { 'content-type': 'text/css; charset=utf-8' }));
  app.use(async (c, next) => {
    if (isReading(c)) return next();
    await next();
    const { method, path } = c.req;
    changes.noteChange(c.var.visitor, method, path, forOperators.nameRoute(method, path), c.res.status);
  });
  app.use(async (c, next) => {
    if (isReading(c)) return next();
    const header = (name: string): string | undefined => c.req.header(name);
    if (!isSameOrigin({ host: header('host'), origin: header('origin'), secFetchSite: header('sec-fetch-site') })) {
      return c.json({ error: 'Forbidden', message: 'This request comes from another site and was refused.' }, 403);
    }
    if (options.isReadOnly === true) {
      return c.json({ error: 'Forbidden', message: 'This board is read-only (JOBFERRY_BOARD_READ_ONLY).' }, 403);
    }
    if (c.var.visitor.mayChange) return next();
    return c.json({ error: 'Forbidden', message: 'This login is read-only.' }, 403);
  });
  app.use(async (c, next) => {
    if (c.req.header('transfer-encoding') !== undefined)
      return c.json({ error: 'Length required', message: 'Send the body with a Content-Length.' }, 411);
    // Without a length there is no body, and the body limit would fail.
    return c.req.header('content-length') === undefined ? next() : limitBody(c, next);
  });
  app.use('/static/*', async (c, next) => {
    await next();
    // Only these have a hash of their content in their name.
    const isHashed = /\/(?:js|css)\//.test(c.req.path) && c.res.ok;
    c.header('cache-control', isHashed ? 'private, max-age=604800, immutable' : 'no-cache');
  });
  app.use('/api/*', async (c, next) => {
    if ((await watch.whileUp(next)) !== undefined) return;
    c.res = undefined;
    c.res = c.json(
      {
        error: 'Redis does not answer',
        message: 'Nothing is lost. The board continues by itself when Redis is back.',
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
  app.all('*', (c) => (c.var.visitor.mayChange ? forOperators : forReaders).app.fetch(c.req.raw, c.env));

  const server = await listen(app.fetch, options.port, host, (address) => proxies.has(address)).catch(
    async (error: unknown) => {
      await closeQueues(queues);
      throw error;
    },
  );
  if (door.hasLogin && !isLoopbackName(host) && proxies.isEmpty) {
    log('the board sends its login and pages unencrypted to other machines: put a proxy with TLS in front', { host });
  }
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
      // A reader must not write the queue's settings, which would reset the length of the event stream.
      skipMetasUpdate: true,
      skipVersionCheck: true,
    });
    queue.on('error', (error) =>
      log('a queue of the board reported an error', { queue: name, error: redactText(error.message) }),
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

/** Requests that change something use another method. */
function isReading(c: Context): boolean {
  return c.req.method === 'GET' || c.req.method === 'HEAD';
}

/** Admits visitors, by login if the board has one, and attaches the login to the request. */
class Door {
  readonly #check: LoginCheck | undefined;
  readonly #proxies: TrustedProxies;
  readonly #changes: ChangeLog;
  readonly #log: NonNullable<BoardOptions['log']>;

  constructor(
    check: LoginCheck | undefined,
    proxies: TrustedProxies,
    changes: ChangeLog,
    log: NonNullable<BoardOptions['log']>,
  ) {
    this.#check = check;
    this.#proxies = proxies;
    this.#changes = changes;
    this.#log = log;
  }

  get hasLogin(): boolean {
    return this.#check !== undefined;
  }

  /** @returns the answer to a visitor without a correct login; undefined for an admitted one. */
  async refuse(c: Context<BoardEnvironment>): Promise<Response | undefined> {
    const address = this.#proxies.clientOf(getConnInfo(c).remote.address, c.req.header('x-forwarded-for'));
    if (this.#check === undefined) {
      c.set('visitor', { user: undefined, address, mayChange: true });
      return undefined;
    }
    const verdict = await this.#check.check(address, c.req.header('authorization'));
    switch (verdict.kind) {
      case 'granted': {
        const { user, mayChange } = verdict.login;
        c.set('visitor', { user, address, mayChange });
        this.#changes.noteLogin(c.var.visitor);
        return undefined;
      }
      case 'too many':
        return c.text('Too many wrong logins from your address: one a second is checked. Try again.\n', 429, {
          'retry-after': '1',
        });
      case 'wrong':
        this.#log('failed login on the board', { address });
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
}
