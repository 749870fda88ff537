/** A request is not started with less of its time left: it would be cut off half-way, and its outcome be unknown. */
const leastShare = 1 / 3;

/** The time of one request, its credential and its replay included. */
export class TimeBudget {
  readonly totalMs: number;
  readonly #startedAt = performance.now();
  readonly #startedOn = Date.now();

  constructor(totalMs: number) {
    this.totalMs = totalMs;
  }

  /** How long a request may take to be sent at all, ms. */
  get sendWithinMs(): number {
    return Math.round(this.totalMs * (1 - leastShare));
  }

  leftMs(): number {
    return Math.max(0, this.totalMs - this.#spentMs());
  }

  /** How long the request may still wait for a credential or a connection. */
  untilSendMs(): number {
    return Math.max(0, this.totalMs * (1 - leastShare) - this.#spentMs());
  }

  /** One clock stands still while the machine is suspended, the other can be set back. */
  #spentMs(): number {
    return Math.max(performance.now() - this.#startedAt, Date.now() - this.#startedOn);
  }
}
