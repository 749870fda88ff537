/** One answer that is being read. */
export interface Reader {
  /**
   * Counts bytes that were read. Waits while all answers together hold too much, unless this is the oldest of them.
   * @throws what `signal` was aborted with
   */
  take(bytes: number, signal: AbortSignal): Promise<void>;
  /** The answer is read, or given up. */
  close(): void;
}

/**
 * Bounds what the answers that are read at the same time hold together, so that a vendor of many large answers fills no
 * memory. What waits is not read from its socket. The oldest never waits, so that something always ends.
 */
export class ByteBudget {
  readonly #limit: number;
  readonly #readers = new Set<Reader>();
  readonly #waiting = new Set<() => void>();
  #held = 0;

  /** @param limit - bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  open(): Reader {
    let own = 0;
    const reader: Reader = {
      take: async (bytes, signal) => {
        own += bytes;
        this.#held += bytes;
        while (this.#held > this.#limit && !this.#isOldest(reader)) await this.#untilLess(signal);
      },
      close: () => {
        this.#held -= own;
        own = 0;
        this.#readers.delete(reader);
        for (const wake of this.#waiting) wake();
      },
    };
    this.#readers.add(reader);
    return reader;
  }

  #isOldest(reader: Reader): boolean {
    return this.#readers.values().next().value === reader;
  }

  async #untilLess(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', abort);
      };
      const wake = (): void => {
        end();
        resolve();
      };
      const abort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}
