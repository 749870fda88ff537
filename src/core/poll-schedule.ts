/**
 * When to look next. Pure: everything that decides is an argument, so that later knowledge (progress, learned
 * durations) is one more argument and no rebuild.
 */

/** Node fires timers above this at once, and a BullMQ delay beyond it helps nobody. */
export const maxTimerMs = 2_147_483_647;

/** Whatever a submission asks for, look-ups of one job come no closer than this. */
const leastDelayMs = 20;

export interface PollOptions {
  /** Wait before the first look-up, ms. */
  initialDelayMs: number;
  /** Growth of the wait from one look-up to the next. */
  factor: number;
  /** Ceiling for the wait between healthy look-ups, ms. */
  maxDelayMs: number;
  /** How long the vendor's work may take, ms, counted from when it accepted the submission. */
  deadlineMs: number;
  /** How long a submission may wait to be accepted, ms, counted from when it was enqueued and held back no more. */
  submitWithinMs: number;
}

export interface ScheduleInput {
  options: Pick<PollOptions, 'initialDelayMs' | 'factor' | 'maxDelayMs'>;
  /** Look-ups made so far. */
  polls: number;
  now: number;
  /** No wait is longer, epoch ms: a hint forbids a look-up, and time decides all the same. */
  deadlineAt: number;
  /** The vendor asked to wait this long, ms: a floor, which jitter only lengthens. */
  hintMs?: number | undefined;
  /** 0 ≤ r < 1. */
  random: number;
}

/**
 * @returns the time to come back, epoch ms: always finite, never before now, never after the deadline. Before the hint
 * has passed there is no look-up, and at the deadline the submission ends without one.
 */
export function nextPollAt(input: ScheduleInput): number {
  const { options, now, random } = input;
  const grown = options.initialDelayMs * options.factor ** Math.min(input.polls, 1_000);
  const ceiling = Math.max(options.maxDelayMs, leastDelayMs);
  const own = jitter(clamp(grown, leastDelayMs, ceiling), ceiling, random);
  const delay = input.hintMs === undefined ? own : Math.max(own, floorHint(input.hintMs, random));
  return Math.max(now, Math.min(now + delay, input.deadlineAt));
}

/**
 * Wait after a failure, ms: exponential with full spread in its upper half, so that a thousand jobs that failed
 * together do not come back together.
 */
export function backoffMs(failures: number, random: number, options = { baseMs: 1_000, maxMs: 60_000 }): number {
  const ceiling = clamp(options.baseMs * 2 ** Math.min(Math.max(failures, 1) - 1, 30), options.baseMs, options.maxMs);
  return Math.round(ceiling * (0.5 + random / 2));
}

/** No hint is believed beyond this, ms. */
export const longestHintMs = 3_600_000;

/** A vendor's hint made safe: finite, not negative, at most `maxMs`; jitter only lengthens it. */
export function floorHint(hintMs: number, random: number, maxMs = longestHintMs): number {
  const safe = clamp(hintMs, 0, maxMs);
  return Math.ceil(safe + random * Math.min(safe * 0.1 + 100, 5_000));
}

/** Never NaN, never infinite: BullMQ runs a job with a NaN delay at once, again and again. */
export function clamp(value: number, min: number, max: number): number {
  if (Number.isNaN(value)) return max;
  return Math.min(Math.max(value, min), Math.max(min, Math.min(max, maxTimerMs)));
}

/** Lengthens while there is room below the ceiling, else shortens: waits spread and the ceiling still holds. */
function jitter(delay: number, max: number, random: number): number {
  return Math.round(delay < max ? Math.min(delay * (1 + 0.1 * random), max) : max * (1 - 0.1 * random));
}
