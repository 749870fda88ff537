import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { StepTimeoutError } from '../core/errors.ts';
import { clamp, maxTimerMs } from '../core/poll-schedule.ts';
import type { Logger } from '../ports/logger.ts';

/** How long a step may go without visible activity, ms, unless it says otherwise. */
export const defaultStepLimitMs = 60_000;
/** The limit is counted in tenths: a process that stood still for an hour has missed one of them, not all. */
const ticks = 10;
/** Requests and transfers of one step. Those of ours make a few thousand at most, for inputs of the largest size. */
const maxRequests = 20_000;

/** One step of a vendor module, named for logs and errors. */
export interface WatchedStep {
  vendor: string;
  /** The operation, or the look-up. */
  of: string;
  /** `preflight`, `submit` … */
  step: string;
  limitMs: number;
  /** True where it is about several vendor jobs. */
  isShared?: boolean;
}

/** What of a step can be seen from outside: requests and transfers, all of which have bounds of their own. */
export class StepWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #onGivenUp: (after: string) => void;
  #requests = 0;
  #inFlight = 0;
  #quietTicks = 0;
  #isGivenUp = false;

  /** @param onGivenUp - told after what. */
  constructor(limitMs: number, onGivenUp: (after: string) => void) {
    this.#onGivenUp = onGivenUp;
    const tick = (): void => {
      if (this.#inFlight > 0) return;
      this.#quietTicks += 1;
      // The first of them may have begun before the quiet did.
      if (this.#quietTicks > ticks) this.#giveUp(`${limitMs} ms without activity`);
    };
    this.#timer = setInterval(tick, clamp(limitMs / ticks, 1, maxTimerMs)).unref();
  }

  /** Stops the clock until this has ended. A step that was given up sends nothing more. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#requests += 1;
    if (this.#requests > maxRequests) this.#giveUp(`${maxRequests} requests`);
    if (this.#isGivenUp) await this.#refuseLate();
    this.#inFlight += 1;
    try {
      return await work();
    } finally {
      this.#inFlight -= 1;
      this.#quietTicks = 0;
    }
  }

  /** Lets the clock run while the module is asked for something in the middle of a request. */
  async except<T>(ask: () => Promise<T>): Promise<T> {
    this.#inFlight -= 1;
    try {
      const answer = await ask();
      if (this.#isGivenUp) await this.#refuseLate();
      return answer;
    } finally {
      this.#inFlight += 1;
      this.#quietTicks = 0;
    }
  }

  async *chunks<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const chunk of source) {
      this.#quietTicks = 0;
      yield chunk;
    }
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #giveUp(after: string): void {
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.end();
    this.#onGivenUp(after);
  }

  async #refuseLate(): Promise<never> {
    // A module that tries for ever must not keep the process from everything else.
    await sleep(1_000, undefined, { ref: false });
    throw new Error('the step was given up: it sends nothing more');
  }
}

/** By the signal that they were given: how many steps are under way. */
const underWay = new WeakMap<AbortSignal, number>();

/** Whether something that was given this signal is in a step: that ends, however long an upload takes. */
export function isInStep(signal: AbortSignal): boolean {
  return (underWay.get(signal) ?? 0) > 0;
}

/** Runs something that counts as a step of those that were given this signal. */
export async function asStepOf<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  underWay.set(signal, (underWay.get(signal) ?? 0) + 1);
  try {
    return await work();
  } finally {
    underWay.set(signal, (underWay.get(signal) ?? 0) - 1);
  }
}

/**
 * Runs one step, and gives it up when it shows no activity for too long. What an abandoned step returns later is ignored:
 * the submission has gone on without it.
 * @param begin - given a signal that aborts with `signal`, and when the step is given up.
 * @throws StepTimeoutError
 */
export async function runWatched(
  { vendor, of, step, limitMs, isShared }: WatchedStep,
  { signal, logger }: { signal: AbortSignal; logger: Logger },
  begin: (watch: StepWatch, signal: AbortSignal) => unknown,
): Promise<unknown> {
  const where = { vendor, operation: of, step };
  const startedAt = performance.now();
  const abort = new AbortController();
  const forward = (): void => abort.abort();
  // All look-ups of an account listen to one signal.
  setMaxListeners(0, signal);
  if (signal.aborted) forward();
  else signal.addEventListener('abort', forward, { once: true });
  let isGivenUp = false;
  let giveUp: (error: StepTimeoutError) => void = () => undefined;
  const timeout = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const watch = new StepWatch(limitMs, (after) => {
    isGivenUp = true;
    const elapsedMs = Math.round(performance.now() - startedAt);
    logger.error({ ...where, limitMs, elapsedMs, after }, 'a step of the vendor module never ended and is given up');
    giveUp(new StepTimeoutError(`${vendor} ${of}: ${step}`, after, isShared));
    abort.abort();
  });
  const running = (async () => begin(watch, abort.signal))();
  const onEnd = (): void => {
    if (isGivenUp) logger.warn(where, 'a step that was given up has ended after all: it changes nothing');
  };
  running.then(onEnd, onEnd);
  try {
    return await asStepOf(signal, () => Promise.race([running, timeout]));
  } finally {
    watch.end();
    signal.removeEventListener('abort', forward);
  }
}
