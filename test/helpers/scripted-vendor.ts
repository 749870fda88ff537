import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request that came in. */
export interface ScriptedCall {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** The parsed body; undefined where there is none. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever the test sent
  json: any;
}

export type ScriptedReply =
  | { status?: number; json?: unknown; text?: string; headers?: Record<string, string>; delayMs?: number }
  /** The socket is cut before an answer. */
  | 'cut'
  /** No answer at all. */
  | 'hang';

/** A reply, or what makes one of the call; undefined leaves the call to the route below. */
export type Responder = ScriptedReply | ((call: ScriptedCall) => ScriptedReply | undefined);

interface Route {
  method: string;
  path: RegExp;
  script: Responder[];
}

/**
 * A vendor as a list of requests and replies over a real socket. A route's replies are given in order and the last one
 * repeats; of two routes that fit, the later one is asked first. Everything that came in is in `calls`.
 */
export class ScriptedVendor {
  readonly calls: ScriptedCall[] = [];
  /** Requests without an answer that the client still waits for. */
  waiting = 0;
  readonly #routes: Route[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.waiting += 1;
      response.once('close', () => (this.waiting -= 1));
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('error', () => undefined);
      request.on('end', () => {
        const url = new URL(request.url ?? '/', 'http://vendor.test');
        const body = Buffer.concat(chunks).toString();
        const call: ScriptedCall = {
          method: request.method ?? '',
          path: url.pathname,
          query: url.searchParams,
          headers: request.headers,
          json: body === '' ? undefined : JSON.parse(body),
        };
        this.calls.push(call);
        this.#answer(call, response);
      });
    });
  }

  static async start(): Promise<ScriptedVendor> {
    const vendor = new ScriptedVendor();
    await new Promise<void>((resolve) => vendor.#server.listen(0, '127.0.0.1', resolve));
    return vendor;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** @param route - `POST /v2/things` or `GET /v2/things/*` */
  on(route: string, ...script: Responder[]): this {
    const { method, path } = parseRoute(route);
    this.#routes.push({ method, path, script });
    return this;
  }

  callsTo(route: string): ScriptedCall[] {
    const { method, path } = parseRoute(route);
    return this.calls.filter((call) => call.method === method && path.test(call.path));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(call: ScriptedCall, response: ServerResponse): void {
    const reply = this.#reply(call);
    if (reply === 'hang') return;
    if (reply === 'cut') {
      response.destroy();
      return;
    }
    const { status = 200, json, text, headers = {}, delayMs = 0 } = reply;
    setTimeout(() => {
      response.writeHead(status, { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers });
      response.end(json === undefined ? (text ?? '') : JSON.stringify(json));
    }, delayMs);
  }

  #reply(call: ScriptedCall): ScriptedReply {
    for (const route of this.#routes.toReversed()) {
      if (route.method !== call.method || !route.path.test(call.path)) continue;
      const next = route.script.length > 1 ? route.script.shift() : route.script[0];
      const reply = typeof next === 'function' ? next(call) : next;
      if (reply !== undefined) return reply;
    }
    return { status: 501, json: { message: `nothing is scripted for ${call.method} ${call.path}` } };
  }
}

function parseRoute(route: string): { method: string; path: RegExp } {
  const [method = '', pattern = ''] = route.split(' ');
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]+');
  return { method, path: new RegExp(`^${escaped}$`) };
}
