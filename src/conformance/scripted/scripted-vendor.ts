import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  routeMatcher,
  type ConformanceDouble,
  type DoubleRequest,
  type Fault,
  type Route,
  type Where,
} from '../double.ts';
import { deform } from './deform.ts';
import type { Call, Reply } from './reply.ts';
import { disturbRows, type StatusReply } from './rows.ts';
import { refusals, send } from './send.ts';

export interface ScriptedVendorOptions {
  /** What the vendor does, by route; of two that fit, the first one written. Undefined is a 404. */
  routes: Readonly<Record<Route, (call: Call) => Reply | undefined | Promise<Reply | undefined>>>;
  /** How its status replies look, so that the faults of rows can be played. By route where there are several. */
  statuses: StatusReply | readonly StatusReply[];
}

interface Armed {
  fault: Fault;
  where: Where;
  left: number;
}

/**
 * A vendor as a few functions, over a real socket, with all faults of the suite built in.
 * @example
 * scriptedVendor({
 *   routes: { 'POST /v1/jobs': ({ json }) => ({ status: 202, json: create(json) }), 'GET /v1/jobs/*': … },
 *   statuses: { route: 'GET /v1/jobs/*', id: 'id', word: 'state' },
 * });
 */
export async function scriptedVendor(options: ScriptedVendorOptions): Promise<ConformanceDouble> {
  const vendor = new ScriptedVendor(options);
  await vendor.listen();
  return vendor;
}

class ScriptedVendor implements ConformanceDouble {
  readonly #options: ScriptedVendorOptions;
  readonly #requests: DoubleRequest[] = [];
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #armed: Armed[] = [];
  #strikeCount = 0;
  /** The answer that every submit gets while they share a vendor job. */
  #shared: Promise<Reply> | undefined;

  constructor(options: ScriptedVendorOptions) {
    this.#options = options;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  arm(fault: Fault, where: Where): void {
    this.#armed.push({ fault, where, left: where.times === 'always' ? Number.POSITIVE_INFINITY : where.times });
  }

  requests(): readonly DoubleRequest[] {
    return this.#requests;
  }

  strikes(): number {
    return this.#strikeCount;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now();
    const url = new URL(request.url ?? '/', 'http://vendor.test');
    const { method = '', headers } = request;
    this.#requests.push({ method, path: url.pathname, at });
    try {
      const body = await text(request);
      const strikes = this.#strikes(
        { method, path: url.pathname },
        `${decodeURIComponent(url.search)}${url.pathname}${body}`,
      );
      const answer = async (): Promise<Reply> => {
        const call = { method, path: url.pathname, query: url.searchParams, headers, text: body, json: readJson(body) };
        const reply = (await this.#answer(call)) ?? refusals['not-found'];
        return disturbRows(reply, this.#statuses(call), strikes);
      };
      const isShared = strikes.some(({ fault }) => fault === 'shared-job');
      await deform(response, strikes, isShared ? () => (this.#shared ??= answer()) : answer);
    } catch (error) {
      // A double that throws is a fault of the test, which is seen soonest as an answer of no adapter's liking.
      send(response, { status: 501, json: { message: `the double threw: ${String(error)}` } });
    }
  }

  /** The faults that strike this request, each of which has one strike less now. */
  #strikes(request: { method: string; path: string }, mentions: string): Armed[] {
    const struck = this.#armed.filter(
      ({ where, left, fault }) =>
        left > 0 &&
        routeMatcher(where.route)(request) &&
        // Rows of a job are picked out of the reply; all else that is about a job strikes when it is named.
        (where.job === undefined || fault === 'ends-as' || mentions.includes(where.job)),
    );
    for (const one of struck) one.left -= 1;
    this.#strikeCount += struck.length;
    return struck;
  }

  async #answer(call: Omit<Call, 'params'>): Promise<Reply | undefined> {
    for (const [route, respond] of Object.entries(this.#options.routes) as [
      Route,
      ScriptedVendorOptions['routes'][Route],
    ][]) {
      if (!routeMatcher(route)(call)) continue;
      const parts = call.path.split('/');
      const params = (route.split(' ')[1] ?? '')
        .split('/')
        .flatMap((part, at) => (part === '*' ? [parts[at] ?? ''] : []));
      return respond({ ...call, params: params.map(decodeURIComponent) });
    }
    return undefined;
  }

  #statuses(call: { method: string; path: string }): StatusReply | undefined {
    return [this.#options.statuses].flat().find((one) => routeMatcher(one.route)(call));
  }
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}
