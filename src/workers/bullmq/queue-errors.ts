import { clip } from '../../core/json.ts';
import { redactText } from '../../core/redact.ts';
import type { Logger } from '../../ports/logger.ts';

/** BullMQ and ioredis repeat an error at every try; once in this time is enough, ms. */
const repeatMs = 5_000;
/** Different errors that are remembered. */
const maxErrors = 100;

/** Logs the errors of a queue, each once in a while, and passes them on to what repairs the queue. */
export class QueueErrors {
  readonly #logger: Logger;
  readonly #onError: (message: string) => void;
  /** When each error was last logged, by the monotonic clock. */
  readonly #loggedAt = new Map<string, number>();

  /** @param onError - is given every error, also those that are not logged again */
  constructor(logger: Logger, onError: (message: string) => void) {
    this.#logger = logger;
    this.#onError = onError;
  }

  /** Passes on what is logged elsewhere. */
  note(message: string): void {
    this.#onError(message);
  }

  report(error: unknown): void {
    const said = redactText(error instanceof Error ? error.message : String(error));
    this.#onError(said);
    // Without the script hash: it makes one error look like many.
    const message = said.replace(/\.? script: [0-9a-f]{40}, on .*$/, '');
    const now = performance.now();
    if (now - (this.#loggedAt.get(message) ?? -Infinity) < repeatMs) return;
    if (this.#loggedAt.size >= maxErrors) this.#loggedAt.clear();
    this.#loggedAt.set(message, now);
    // The connection that all queues share reports an outage of Redis, once for all of them.
    const level = isOutage(error) ? 'debug' : 'error';
    this.#logger[level]({ error: clip(message, 500) }, 'queue error');
  }
}

const outageCodes: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

function isOutage(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return outageCodes.has(code) || message === 'Connection is closed.';
}
