/**
 * Items waiting for their instants, soonest first: a binary heap. What should happen at a time is put here and carried
 * out by the next request that comes after it, so that ten thousand jobs need no timer.
 */
export class DueQueue<T> {
  #heap: { readonly at: number; readonly serial: number; readonly item: T }[] = [];
  #serial = 0;

  /** @param at - instant on any rising clock; equal instants keep their order */
  add(at: number, item: T): void {
    this.#serial += 1;
    const heap = this.#heap;
    heap.push({ at, serial: this.#serial, item });
    for (let child = heap.length - 1; child > 0;) {
      const parent = (child - 1) >> 1;
      if (!this.#isBefore(child, parent)) break;
      this.#swap(child, parent);
      child = parent;
    }
  }

  /** Takes out the soonest item if its instant has come. */
  next(now: number): { readonly at: number; readonly item: T } | undefined {
    const heap = this.#heap;
    const [top] = heap;
    if (top === undefined || top.at > now) return undefined;
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) {
      heap[0] = last;
      this.#sink();
    }
    return top;
  }

  clear(): void {
    this.#heap = [];
  }

  #sink(): void {
    const { length } = this.#heap;
    for (let parent = 0; ;) {
      const left = parent * 2 + 1;
      if (left >= length) return;
      const child = left + 1 < length && this.#isBefore(left + 1, left) ? left + 1 : left;
      if (!this.#isBefore(child, parent)) return;
      this.#swap(child, parent);
      parent = child;
    }
  }

  #isBefore(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return false;
    return a.at === b.at ? a.serial < b.serial : a.at < b.at;
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return;
    this.#heap[one] = b;
    this.#heap[other] = a;
  }
}
