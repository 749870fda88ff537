import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Sandbox } from '../../sandbox/index.ts';
import { needle, newMark, type Needle } from './secrets.ts';

/** What a request told this vendor, and what it now tells everybody. */
export interface Heard {
  headers: IncomingHttpHeaders;
  /** The credential, in all the ways in which one may quote it, and every link of this piece of work. */
  quotes: string[];
}

export type Leak =
  /** In place of the vendor's answer. */
  | { status: number; json?: unknown; text?: string; headers?: Record<string, string> }
  /** The vendor's answer, changed. */
  | { patch: (json: Record<string, unknown>) => unknown };

export interface Rule {
  /** The submission, by the label in its input. */
  label: string;
  /** `POST /v1/jobs`, below the vendor's base URL; tested as it is. */
  route: RegExp;
  times?: number;
  /** The vendor does the work all the same. */
  isAfter?: boolean;
  leak: (heard: Heard) => Leak;
}

export interface Arrival {
  host: 'storage' | 'elsewhere';
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
}

const labelPattern = /secret-[a-z]+\d+/g;
const idPattern = /job_[0-9a-f]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/**
 * The vendor sandbox behind a door that gives away what it is told: it quotes credentials and links in errors, in
 * bodies that can not be read, in redirects. Its storage is another host, and beside it stands a third that nobody
 * should send anything to. Credentials are its own, and opaque; the sandbox never sees them.
 */
export class LeakyVendor {
  /** What came to hosts that are not the vendor's API. */
  readonly arrivals: Arrival[] = [];
  /** Link signatures and tokens that it made up. */
  readonly needles: Needle[] = [];
  readonly rules: Rule[] = [];
  /** Credential of ours → that of the sandbox. */
  readonly credentials = new Map<string, string>();
  readonly #sandbox: Sandbox;
  readonly #labels = new Map<string, string>();
  readonly #links = new Map<string, Set<string>>();
  readonly #servers: Server[] = [];
  #api = '';
  #storage = '';
  #elsewhere = '';

  private constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
  }

  static async start(sandbox: Sandbox): Promise<LeakyVendor> {
    const vendor = new LeakyVendor(sandbox);
    vendor.#api = await vendor.#open((call) => vendor.#serveApi(call));
    vendor.#storage = await vendor.#open((call) => vendor.#serveStorage('storage', call));
    vendor.#elsewhere = await vendor.#open((call) => vendor.#serveStorage('elsewhere', call));
    return vendor;
  }

  url(vendor: string): string {
    return `${this.#api}/${vendor}`;
  }

  /** Says which submission an id of the vendor belongs to. */
  label(id: string, label: string): void {
    this.#labels.set(id, label);
  }

  get elsewhere(): string {
    return this.#elsewhere;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #open(serve: (call: Incoming) => Promise<void>): Promise<string> {
    const server = createServer((request, response) => {
      void read(request)
        .then((body) => serve({ request, response, body, route: `${request.method ?? ''} ${request.url ?? '/'}` }))
        .catch((error: unknown) => send(response, 599, {}, `the double failed: ${String(error)}`));
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async #serveApi(call: Incoming): Promise<void> {
    const { request, response, body } = call;
    const route = call.route.replace(/ \/(?:knowhere|fini|sharely)/, ' ');
    const labels = this.#labelsOf(`${call.route} ${body.toString('utf8')}`);
    const rule = this.rules.find((one) => labels.has(one.label) && one.route.test(route) && one.times !== 0);
    if (rule?.times !== undefined) rule.times -= 1;
    const heard = { headers: request.headers, quotes: this.#quotes(request.headers, labels) };
    const leak = rule?.leak(heard);
    if (leak !== undefined && !('patch' in leak) && rule?.isAfter !== true) return answer(response, leak);
    const reply = await this.#forward(this.#sandbox.url, call, this.#exchange(request.headers));
    const text = this.#relabel(reply.text, labels, call.route);
    if (leak !== undefined && !('patch' in leak)) return answer(response, leak);
    if (leak === undefined || reply.status >= 300) return send(response, reply.status, reply.headers, text);
    send(
      response,
      reply.status,
      reply.headers,
      JSON.stringify(leak.patch(JSON.parse(text) as Record<string, unknown>)),
    );
  }

  async #serveStorage(host: Arrival['host'], call: Incoming): Promise<void> {
    const { request, response } = call;
    this.arrivals.push({ host, method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    const link = `http://${request.headers.host ?? ''}${request.url ?? ''}`;
    const labels = this.#labelsOf(call.route);
    const rule =
      host === 'elsewhere'
        ? undefined
        : this.rules.find((one) => labels.has(one.label) && one.route.test(call.route) && one.times !== 0);
    if (rule?.times !== undefined) rule.times -= 1;
    const leak = rule?.leak({ headers: request.headers, quotes: [link, ...this.#quotes({}, labels)] });
    if (leak !== undefined && !('patch' in leak)) return answer(response, leak);
    const { status, headers, bytes } = await this.#forward(this.#sandbox.url, call, request.headers);
    send(response, status, headers, bytes);
  }

  /** The way from here on, with the credentials of the sandbox. */
  #exchange(headers: IncomingHttpHeaders): IncomingHttpHeaders {
    const swap = (text: string | undefined): string | undefined =>
      text === undefined
        ? undefined
        : [...this.credentials].reduce((left, [ours, its]) => left.replace(ours, its), text);
    const key = headers['x-api-key'];
    return {
      ...headers,
      ...(headers.authorization === undefined ? {} : { authorization: swap(headers.authorization) }),
      ...(typeof key === 'string' ? { 'x-api-key': swap(key) } : {}),
    };
  }

  async #forward(base: string, call: Incoming, headers: IncomingHttpHeaders) {
    const url = (call.request.url ?? '/').replace(/&token=[^&]*&sig=[^&]*/, '');
    const kept = Object.entries(headers).filter(
      ([name, value]) =>
        typeof value === 'string' && !/^(host|connection|content-length|transfer-encoding|expect)$/.test(name),
    );
    const reply = await fetch(`${base}${url}`, {
      method: call.request.method ?? 'GET',
      headers: kept as [string, string][],
      redirect: 'manual',
      ...(call.body.length === 0 ? {} : { body: call.body }),
    });
    const bytes = Buffer.from(await reply.arrayBuffer());
    const shown = ['content-type', 'retry-after', 'location'].flatMap((name) => {
      const value = reply.headers.get(name);
      return value === null ? [] : [[name, value] as const];
    });
    return { status: reply.status, headers: Object.fromEntries(shown), bytes, text: bytes.toString('utf8') };
  }

  /** Links lead to the storage host and carry secrets of their own; tokens are exchanged for opaque ones. */
  #relabel(text: string, labels: ReadonlySet<string>, route: string): string {
    const [label] = labels;
    const isCreate = !route.startsWith('GET ') && labels.size === 1;
    if (label !== undefined && isCreate) {
      // A workspace is everybody's.
      for (const [id] of text.matchAll(idPattern)) if (!route.includes(id)) this.label(id, label);
    }
    const linked = text
      .replaceAll(this.#sandbox.url, this.#storage)
      .replace(
        /(_storage\/)(uploads|results)([^"]*X-Amz-Signature=)([0-9a-f]{64})/g,
        (_all, root: string, kind: string, rest: string, signature: string) => {
          const of = kind === 'uploads' ? 'upload' : 'result';
          const [token, sig] = [newMark(), newMark()];
          this.needles.push(needle(`signature of the ${of} link of ${label ?? '?'}`, of, signature));
          this.needles.push(needle(`token of the ${of} link of ${label ?? '?'}`, of, token));
          this.needles.push(needle(`sig of the ${of} link of ${label ?? '?'}`, of, sig));
          return `${root}${kind}${rest}${signature}&token=${token}&sig=${sig}`;
        },
      );
    for (const [link] of linked.matchAll(/http:[^"]*_storage[^"]*/g)) {
      for (const one of labels) this.#links.set(one, (this.#links.get(one) ?? new Set()).add(link));
    }
    return linked.replace(/"token":"([^"]+)"/, (_all, its: string) => {
      const mark = newMark();
      this.needles.push(needle('access token', 'secret', mark));
      this.credentials.set(`opaque.${mark}`, its);
      return `"token":"opaque.${mark}"`;
    });
  }

  #labelsOf(text: string): Set<string> {
    const named = [...text.matchAll(labelPattern)].map(([label]) => label);
    const known = [...text.matchAll(idPattern)].flatMap(([id]) => this.#labels.get(id) ?? []);
    return new Set([...named, ...known]);
  }

  #quotes(headers: IncomingHttpHeaders, labels: ReadonlySet<string>): string[] {
    const sent = [headers.authorization, headers['x-api-key']].filter((text) => typeof text === 'string');
    const bare = sent.map((text) => text.replace(/^Bearer /, ''));
    const quoted = bare.flatMap((key) => [
      `you sent ${key}`,
      encodeURIComponent(key),
      Buffer.from(key).toString('base64'),
      Buffer.from(`Bearer ${key}`).toString('base64'),
    ]);
    const links = [...labels].flatMap((label) => [...(this.#links.get(label) ?? [])]).slice(-3);
    return [...sent.map((text) => `Authorization: ${text}`), ...quoted, ...links];
  }
}

interface Incoming {
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
  route: string;
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answer(response: ServerResponse, leak: Exclude<Leak, { patch: unknown }>): void {
  const { status, json, text, headers = {} } = leak;
  const type = json === undefined ? 'text/html' : 'application/json';
  send(
    response,
    status,
    { 'content-type': type, ...headers },
    json === undefined ? (text ?? '') : JSON.stringify(json),
  );
}

function send(response: ServerResponse, status: number, headers: Record<string, string>, body: string | Buffer): void {
  const isBare = status === 204 || status === 304;
  response
    .writeHead(status, isBare ? headers : { ...headers, 'content-length': String(Buffer.byteLength(body)) })
    .end(isBare ? undefined : body);
}
