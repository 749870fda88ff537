import { Agent, Dispatcher, EnvHttpProxyAgent, fetch, FormData as UndiciFormData, type RequestInit } from 'undici';
import type { RequestBody } from '../../ports/vendor-adapter.ts';
import { confirmedConnector } from './confirmed-connector.ts';

export type OutgoingInit = Omit<RequestInit, 'body' | 'dispatcher'> & { body?: RequestBody };

/** One for the process: all accounts share their connections. Node's own fetch heeds this variable, so we do too. */
const agent: Dispatcher =
  process.env['NODE_USE_ENV_PROXY'] === '1' ? new EnvHttpProxyAgent() : new Agent({ connect: confirmedConnector() });

/**
 * One request on its way to a socket, and whether it got there.
 *
 *   waiting ──about to be written──► sent
 *      └──given up, or too late──► given up: it will never be written
 *
 * undici says when it starts a request on a connected socket, right before the first byte. Whatever fails earlier (name
 * look-up, descriptors, connecting, TLS, a port that fetch refuses) leaves the request unsent, whatever its error code.
 */
export class OutgoingRequest {
  readonly #mayStart: () => boolean;
  #state: 'waiting' | 'sent' | 'given-up' = 'waiting';

  /** @param mayStart - asked right before the first byte; false leaves the request unsent. */
  constructor(mayStart: () => boolean) {
    this.#mayStart = mayStart;
  }

  get isSent(): boolean {
    return this.#state === 'sent';
  }

  /** A request that waits for a connection outlives its fetch: after this it is dropped when it gets one. */
  giveUp(): void {
    if (this.#state === 'waiting') this.#state = 'given-up';
  }

  async fetch(url: URL, init: OutgoingInit): Promise<Response> {
    const { body, ...rest } = init;
    const response = await fetch(url, {
      ...rest,
      ...(body === undefined ? {} : { body: body instanceof FormData ? toUndiciForm(body) : body }),
      dispatcher: new WatchedDispatcher(() => this.#start()),
    });
    return response;
  }

  #start(): boolean {
    if (this.#state === 'waiting') this.#state = this.#mayStart() ? 'sent' : 'given-up';
    return this.#state === 'sent';
  }
}

class WatchedDispatcher extends Dispatcher {
  readonly #start: () => boolean;

  constructor(start: () => boolean) {
    super();
    this.#start = start;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    // fetch makes the handler for this dispatch alone. A wrapper would have every header translated twice.
    const onConnect = handler.onConnect?.bind(handler);
    const onRequestStart = handler.onRequestStart?.bind(handler);
    if (onRequestStart === undefined) {
      handler.onConnect = (abort) => {
        if (this.#start()) onConnect?.(abort);
        else abort(unsent());
      };
    } else {
      handler.onRequestStart = (controller, context) => {
        if (this.#start()) onRequestStart(controller, context);
        else controller.abort(unsent());
      };
    }
    return agent.dispatch(options, handler);
  }
}

const unsent = (): Error => new Error('given up before it was sent');

/** undici's fetch takes Node's own form for a text. */
function toUndiciForm(form: FormData): UndiciFormData {
  const copy = new UndiciFormData();
  for (const [name, value] of form) {
    if (typeof value === 'string') copy.append(name, value);
    else copy.append(name, value, value.name);
  }
  return copy;
}
