import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createBullBoard } from '@bull-board/api';
import { HonoAdapter } from '@bull-board/hono';
import { serveStatic } from '@hono/node-server/serve-static';
import type { Hono } from 'hono';
import { TrieRouter } from 'hono/router/trie-router';
import { redactValue } from '../core/redact.ts';
import type { RedisConnection } from '../queues/connection.ts';
import { dependsOnState, whyRefused, type ActionTarget } from './action-policy.ts';
import { BoardQueue } from './board-queue.ts';
import type { NamedRoute } from './change-log.ts';
import type { WatchedQueue } from './queue-facts.ts';

/** The most jobs on one page; each is read from Redis again every few seconds. */
const maxJobsPerPage = 50;

interface MountOptions {
  connection: RedisConnection;
  resultQueues: readonly string[];
  /** True for pages without change buttons. */
  isReadOnly: boolean;
}

export interface MountedBullBoard {
  app: Hono;
  /** The route of a request; undefined if there is none. */
  nameRoute(method: string, path: string): NamedRoute | undefined;
}

/** Bull Board's pages and API, limited by `action-policy.ts`, with redacted output. */
export function mountBullBoard(queues: readonly WatchedQueue[], options: MountOptions): MountedBullBoard {
  const { connection, resultQueues, isReadOnly } = options;
  const uiFolder = dirname(createRequire(import.meta.url).resolve('@bull-board/ui/package.json'));
  // Absolute, because the adapter resolves it against the current working folder.
  const serveUi: typeof serveStatic = () =>
    serveStatic({
      root: join(uiFolder, 'dist', 'static'),
      rewriteRequestPath: (path) => path.replace(/^\/static/, ''),
    });
  const adapter = new GuardedAdapter(serveUi);
  createBullBoard({
    queues: queues.map(({ queue, role }) => new BoardQueue(queue, connection, role, resultQueues, isReadOnly)),
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
  return { app: adapter.registerPlugin(), nameRoute: (method, path) => adapter.nameRoute(method, path) };
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

class GuardedAdapter extends HonoAdapter {
  readonly #router = new TrieRouter<string>();

  override setApiRoutes(routes: Parameters<HonoAdapter['setApiRoutes']>[0]): this {
    for (const { method, route } of routes)
      for (const eachMethod of [method].flat())
        for (const pattern of [route].flat()) this.#router.add(eachMethod.toUpperCase(), pattern, pattern);
    return super.setApiRoutes(routes);
  }

  /** Hooks do not see what a handler throws, and an error's message can contain anything. */
  override setErrorHandler(handler: Parameters<HonoAdapter['setErrorHandler']>[0]): this {
    return super.setErrorHandler((error) => {
      const answer = handler(error);
      return { ...answer, body: redactValue(answer.body) as typeof answer.body };
    });
  }

  nameRoute(method: string, path: string): NamedRoute | undefined {
    const [found] = this.#router.match(method, path)[0];
    if (found === undefined) return undefined;
    const [route, params] = found as [string, Record<string, string>];
    const { queueName, jobId } = params;
    return {
      route,
      ...(queueName === undefined ? {} : { queue: decoded(queueName) }),
      ...(jobId === undefined ? {} : { jobId: decoded(jobId) }),
    };
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
