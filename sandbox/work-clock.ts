/** One stretch of time in which the speed did not change. */
interface Stretch {
  readonly wallMs: number;
  readonly workMs: number;
  readonly speed: number;
}

/**
 * Maps wall time to work time: how long a vendor's workers have been busy. At speed 20 a wall second is twenty work
 * seconds. A document's walk through its statuses is laid out in work time and read off this clock on request,
 * so ten thousand waiting documents need no timer at all. Links, rate windows and server deadlines are wall time: a
 * client cannot see the speed, and a link that dies early would be a fault that was not asked for.
 */
export class WorkClock {
  #stretches: [Stretch, ...Stretch[]];

  constructor(speed: number) {
    this.#stretches = [{ wallMs: Date.now(), workMs: 0, speed: checked(speed) }];
  }

  /** Work seconds per wall second. */
  get speed(): number {
    return this.#latest.speed;
  }

  /** Changes the speed from now on; documents under way go on from where they stand. */
  setSpeed(speed: number): void {
    const wallMs = Date.now();
    this.#stretches.push({ wallMs, workMs: this.workAt(wallMs), speed: checked(speed) });
  }

  /** Work time at a wall instant (Unix ms) of the latest stretch, ms. */
  workAt(wallMs: number): number {
    const latest = this.#latest;
    return latest.workMs + (wallMs - latest.wallMs) * latest.speed;
  }

  /** The wall instant (Unix ms) at which work time reached, or will reach, `workMs`. */
  wallAt(workMs: number): number {
    let stretch = this.#stretches[0];
    for (const candidate of this.#stretches) {
      if (candidate.workMs <= workMs) stretch = candidate;
    }
    return stretch.wallMs + (workMs - stretch.workMs) / stretch.speed;
  }

  get #latest(): Stretch {
    return this.#stretches.at(-1) ?? this.#stretches[0];
  }
}

function checked(speed: number): number {
  if (!Number.isFinite(speed) || speed < 0.001 || speed > 1e9) {
    throw new RangeError(`sandbox speed must be a number from 0.001 to 1e9, got ${speed}`);
  }
  return speed;
}
