import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { Reply, Wild } from './fuzz.ts';

const hundredMegabytes = 100 * 1024 * 1024;
const chunk = Buffer.alloc(65_536, 0x20);
/** 100 MB of blanks; made once, it takes a moment. */
let bomb: Buffer | undefined;

export interface Arrival {
  route: string;
  headers: IncomingHttpHeaders;
}

/**
 * A server over a real socket that answers as it is told, be it by every rule of HTTP or by none.
 */
export class HostileServer {
  /** What came in since it was last emptied. */
  readonly arrivals: Arrival[] = [];
  /** Gives the answer to a request, by method and path. */
  answer: (route: string) => { reply: Reply; wild?: Wild | undefined };
  /** Where redirects lead. */
  elsewhere = 'http://127.0.0.1:1/';
  readonly #server: Server;

  private constructor(answer: HostileServer['answer']) {
    this.answer = answer;
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(answer: HostileServer['answer']): Promise<HostileServer> {
    const server = new HostileServer(answer);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    request.resume().on('error', () => undefined);
    response.on('error', () => undefined);
    const route = `${request.method ?? ''} ${new URL(request.url ?? '/', 'http://any').pathname}`;
    this.arrivals.push({ route, headers: request.headers });
    // The whole request first: an answer that overtakes an upload is told apart from a refused one by nobody.
    request.once('end', () => {
      const { reply, wild } = this.answer(route);
      if (wild === undefined) sendWell(request, response, reply);
      else sendWildly(wild, response, reply, this.elsewhere);
    });
  }
}

function sendWell(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Reply): void {
  const isBare = request.method === 'HEAD' || status === 204 || status === 304;
  response
    .writeHead(status, isBare ? headers : { ...headers, 'content-length': String(body.length) })
    .end(isBare ? undefined : body);
}

function sendWildly(kind: Wild, response: ServerResponse, reply: Reply, elsewhere: string): void {
  const { status, body } = reply;
  const json = { 'content-type': 'application/json' };
  const { socket } = response;
  switch (kind) {
    case 'silence':
      return;
    case 'drip':
      response.writeHead(status, json);
      return repeat(response, 20, () => response.write(' '));
    case 'stall':
      response.writeHead(status, { ...json, 'content-length': '100' }).write('{');
      return;
    case 'short':
      response.writeHead(status, { ...json, 'content-length': String(body.length + 10) }).write(body);
      return;
    case 'endless':
      response.writeHead(status, json);
      return pour(response, hundredMegabytes);
    case 'announced':
      response.writeHead(status, { ...json, 'content-length': String(hundredMegabytes) });
      return pour(response, hundredMegabytes);
    case 'bomb':
      bomb ??= gzipSync(Buffer.alloc(hundredMegabytes, 0x20));
      response.writeHead(status, { ...json, 'content-encoding': 'gzip' }).end(bomb);
      return;
    case 'elsewhere':
      response.writeHead([301, 302, 303, 307, 308][body.length % 5] ?? 302, { location: elsewhere }).end(body);
      return;
    case 'cut':
      response.writeHead(status, { ...json, 'content-length': String(body.length + 10) });
      response.write(body, () => socket?.resetAndDestroy());
      return;
    case 'long':
      raw(
        response,
        `HTTP/1.1 ${status} Odd\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n${body.toString('utf8')}`,
      );
      return;
    case 'flood':
      raw(response, `HTTP/1.1 ${status} Odd\r\nx-flood: ${'x'.repeat(200_000)}\r\ncontent-length: 0\r\n\r\n`);
      return;
    case 'twice': {
      const once = `HTTP/1.1 ${status} Odd\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
      raw(response, once + once);
      return;
    }
    case 'garbage':
      raw(response, 'HTTP/9.9 abc\u0000\r\nnonsense\r\n\r\n');
      return;
  }
}

/** Past Node's own rules; the connection is closed, as nobody knows any more where an answer ends. */
function raw(response: ServerResponse, text: string): void {
  response.socket?.end(Buffer.from(text, 'utf8'));
}

function pour(response: ServerResponse, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= chunk.length;
      if (!response.write(chunk)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}

function repeat(response: ServerResponse, everyMs: number, write: () => void): void {
  const timer = setInterval(() => (response.destroyed ? clearInterval(timer) : write()), everyMs);
  response.once('close', () => clearInterval(timer));
}
