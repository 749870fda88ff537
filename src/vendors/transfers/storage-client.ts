import type { Readable } from 'node:stream';
import { Agent, request, type Dispatcher } from 'undici';
import { linkLookup, type AddressKind } from './public-address.ts';
import { toTransferError } from './transfer-error.ts';

/**
 * What the slowest line that still makes sense carries, bytes per ms: 64 kbit/s. A transfer that drips never stands
 * still, and would hold its worker for ever.
 */
const slowestBytesPerMs = 8;

export type StorageReply = Dispatcher.ResponseData;

interface StorageRequest {
  method: 'GET' | 'PUT';
  headers?: Record<string, string>;
  body?: Readable;
  signal: AbortSignal;
}

/** Connections to the hosts that links lead to, each to addresses of the kind that its link may name. */
export class StorageClient {
  readonly #publicAgent: Agent;
  /** Where private addresses are allowed, or the vendor is on one itself. */
  readonly #anyAgent: Agent;
  /** For plain http, which is for private addresses alone. */
  readonly #privateAgent: Agent;
  readonly #idleMs: number;

  /** @param idleMs - how long a transfer may stand still */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
    const open = (addresses: AddressKind): Agent =>
      new Agent({
        headersTimeout: idleMs,
        bodyTimeout: idleMs,
        connect: { timeout: 10_000, lookup: linkLookup(addresses) },
      });
    this.#publicAgent = open('public');
    this.#anyAgent = open('any');
    this.#privateAgent = open('private');
  }

  async close(): Promise<void> {
    await Promise.all([this.#publicAgent.destroy(), this.#anyAgent.destroy(), this.#privateAgent.destroy()]);
  }

  /** How long a transfer of so many bytes may take, ms. */
  allowedMs(bytes: number): number {
    return this.#idleMs + Math.ceil(bytes / slowestBytesPerMs);
  }

  /**
   * Sends one request and follows no redirect.
   * @param url - a link that `checkLink` let through
   * @throws StepFailedError, VendorUnavailableError, or the system's own error of a disk that is full
   */
  async request(url: URL, options: StorageRequest, allowPrivate: boolean): Promise<StorageReply> {
    try {
      return await request(url, { ...options, dispatcher: this.#agentFor(url, allowPrivate) });
    } catch (error) {
      throw toTransferError(error);
    }
  }

  /** The beginning of an answer's body, as far as it comes in time. */
  async readSome(body: StorageReply['body'], maxBytes: number): Promise<string> {
    let text = '';
    const timer = setTimeout(() => body.destroy(), this.#idleMs);
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        text += chunk.toString('utf8');
        if (text.length >= maxBytes) break;
      }
    } catch {
      // Only the status matters; the text is for people.
    } finally {
      clearTimeout(timer);
    }
    return text.slice(0, maxBytes);
  }

  #agentFor(url: URL, allowPrivate: boolean): Agent {
    if (url.protocol === 'http:') return this.#privateAgent;
    return allowPrivate ? this.#anyAgent : this.#publicAgent;
  }
}
