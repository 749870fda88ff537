/**
 * Runs functions that are asked for one after the other some places ahead, so that cases which mostly wait overlap
 * under any test framework.
 */
export class ReadAhead {
  readonly #functions: readonly (() => Promise<void>)[];
  readonly #width: number;
  readonly #started = new Map<number, Promise<void>>();
  #next = 0;
  #running = 0;
  #last = -1;

  /** @param width - how many run at a time. */
  constructor(functions: readonly (() => Promise<void>)[], width: number) {
    this.#functions = functions;
    this.#width = Math.max(1, width);
  }

  /** The result of one of them, which may have been started already. */
  async run(index: number): Promise<void> {
    this.#last = Math.max(this.#last, index + this.#width - 1);
    this.#next = Math.max(this.#next, index);
    const own = this.#start(index);
    this.#fill();
    return own;
  }

  /** Only what is near the one asked for: with a filter, the others stay alone. */
  #fill(): void {
    while (this.#running < this.#width && this.#next < this.#functions.length && this.#next <= this.#last) {
      void this.#start(this.#next).catch(() => undefined);
      this.#next += 1;
    }
  }

  #start(index: number): Promise<void> {
    const known = this.#started.get(index);
    if (known !== undefined) return known;
    this.#running += 1;
    const run = (this.#functions[index]?.() ?? Promise.resolve()).finally(() => {
      this.#running -= 1;
      this.#fill();
    });
    // Who asks for it gets the failure; until somebody does, it must not count as unhandled.
    run.catch(() => undefined);
    this.#started.set(index, run);
    return run;
  }
}
