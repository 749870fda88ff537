import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request body that is larger than the place it was read in can take. */
export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError';
  readonly limitBytes: number;
  constructor(limitBytes: number) {
    super(`request body is larger than ${limitBytes} bytes`);
    this.limitBytes = limitBytes;
  }
}

/** How a call ended, for the ledger. */
export type CallEnd = 'answered' | 'cut' | 'client-left';

/** One request on its way through the sandbox. */
export class Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  /** Origin as the client addressed us, e.g. `http://127.0.0.1:4010`; links in answers are built on it. */
  readonly origin: string;
  /** Path segments, percent-decoded, without the leading slash. */
  readonly segments: readonly string[];
  readonly path: string;
  readonly search: string;
  readonly arrivedAtMs: number;
  /** Aborted when the connection ends or the sandbox closes. */
  readonly gone: AbortSignal;
  /** Faults that touched this call, by name. */
  readonly faultNames: string[] = [];
  jobId: string | null = null;
  jobCreated = false;
  /** Jobs that a batched request asks for, or made. */
  jobIds: readonly string[] | null = null;
  wasCut = false;
  bodyBytes = 0;
  bodyExcerpt: string | null = null;

  readonly #gone = new AbortController();
  readonly #socket: Socket;
  #query: URLSearchParams | undefined;
  #text: Promise<string> | undefined;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.method = request.method ?? 'GET';
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    this.path = mark === -1 ? target : target.slice(0, mark);
    this.search = mark === -1 ? '' : target.slice(mark);
    this.segments = this.path.split('/').slice(1).map(decoded);
    this.origin = `http://${request.headers.host ?? 'localhost'}`;
    this.arrivedAtMs = Date.now();
    this.gone = this.#gone.signal;
    // Kept, because Node takes the socket off the response when the response has ended.
    this.#socket = request.socket;
    response.once('close', () => {
      this.#gone.abort();
    });
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.search);
    return this.#query;
  }

  /** True when no answer can reach the client any more. */
  get isLost(): boolean {
    return this.wasCut || this.gone.aborted || (this.request.destroyed && !this.request.complete);
  }

  /** One request header, or undefined. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /**
   * The whole body as text; read once, then remembered.
   * @throws BodyTooLargeError past `limitBytes`
   */
  text(limitBytes = 1_048_576): Promise<string> {
    this.#text ??= this.#readText(limitBytes);
    return this.#text;
  }

  /** Ends the connection without an answer, the way a crashed peer does. */
  cut(): void {
    this.wasCut = true;
    this.#socket.resetAndDestroy();
  }

  /** Resolves after `ms`, or at once when the client has left. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.gone.aborted || ms <= 0) {
        resolve();
        return;
      }
      const finish = () => {
        clearTimeout(timer);
        this.gone.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, Math.min(ms, 2_147_483_647));
      this.gone.addEventListener('abort', finish, { once: true });
    });
  }

  async #readText(limitBytes: number): Promise<string> {
    const chunks: Buffer[] = [];
    // Kept open when we stop early: the client is to read our refusal, not a reset.
    const body = this.request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const chunk of body) {
      this.bodyBytes += chunk.length;
      if (this.bodyBytes > limitBytes) throw new BodyTooLargeError(limitBytes);
      chunks.push(chunk);
    }
    const text = Buffer.concat(chunks).toString('utf8');
    this.bodyExcerpt = text.slice(0, 600);
    return text;
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
