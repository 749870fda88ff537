import { getConnInfo } from '@hono/node-server/conninfo';
import { Hono, type Context } from 'hono';
import { redactValue } from '../core/redact.ts';
import { listen, type ListeningServer } from './http-server.ts';
import { isLoopbackAddress } from './client-address.ts';
import { isLoopbackHost, securityHeaders } from './request-guards.ts';
import { withTimeLimit } from './time-limit.ts';

export interface HealthServerOptions {
  port: number;
  /** Default: loopback. Probes and scrapers on other machines need another address. */
  host?: string;
  ready: () => Promise<{ ready: boolean; details: object }>;
  metrics: () => Promise<string>;
}

/** If readiness takes longer than this, the answer is "not ready", ms. */
const answerLimitMs = 1_500;

/**
 * The small server of a worker process: `/healthz`, `/readyz`, `/metrics`. It has no login, so `/readyz` gives details to
 * this machine only. Neither details nor metrics go to a web page that points its own host name at this machine.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<ListeningServer> {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
    c.header('cache-control', 'no-store');
  });
  app.get('/healthz', (c) => c.json({ status: 'up' }));
  app.get('/readyz', async (c) => {
    const { ready, details } = await withTimeLimit(safely(options.ready), answerLimitMs, {
      ready: false,
      details: { reason: 'no answer in time' },
    });
    const told = isFromHere(c) && isLoopbackHost(c.req.header('host')) ? (redactValue(details) as object) : {};
    return c.json({ status: ready ? 'ready' : 'not ready', ...told }, ready ? 200 : 503);
  });
  app.get('/metrics', async (c) => {
    if (isFromHere(c) && !isLoopbackHost(c.req.header('host')))
      return c.text('On this machine metrics are served under localhost and 127.0.0.1 only.\n', 403);
    const text = await withTimeLimit(safely(options.metrics), answerLimitMs, undefined);
    if (text === undefined) return c.text('metrics are not available\n', 503);
    return c.body(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
  return listen(app.fetch, options.port, options.host ?? '127.0.0.1');
}

function isFromHere(c: Context): boolean {
  return isLoopbackAddress(getConnInfo(c).remote.address);
}

/** A function that throws at once becomes a promise that rejects. */
async function safely<Value>(task: () => Promise<Value>): Promise<Value> {
  return task();
}
