/** A wall clock that can be set while the process runs, as people and time servers set them. Timers are not moved. */

const RealDate = Date;
let offsetMs = 0;

globalThis.Date = class extends RealDate {
  // One signature of many: `new Date()` alone reads the clock.
  constructor(...given: [] | [number]) {
    super(...(given.length === 0 ? ([RealDate.now() + offsetMs] as const) : given));
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
} as DateConstructor;

/** @param ms - how far this process's clock is ahead of the machine's. */
export function shiftClock(ms: number): void {
  offsetMs = ms;
}
