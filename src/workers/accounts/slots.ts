/** At most so many at a time; the one that has waited longest goes first. */
export class Slots {
  readonly #size: number;
  readonly #queued: (() => void)[] = [];
  #taken = 0;

  constructor(size: number) {
    this.#size = size;
  }

  async take(): Promise<void> {
    if (this.#taken < this.#size) {
      this.#taken += 1;
      return;
    }
    await new Promise<void>((resolve) => {
      this.#queued.push(resolve);
    });
  }

  giveBack(): void {
    const next = this.#queued.shift();
    if (next === undefined) this.#taken -= 1;
    else next();
  }
}
