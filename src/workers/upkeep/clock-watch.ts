import { describeDuration } from '../../core/describe.ts';
import type { Logger } from '../../ports/logger.ts';
import type { ClockSteps } from '../../queues/clock-steps.ts';
import type { RedisClock } from '../../queues/redis-clock.ts';

/** As often as queues are kept up. */
const intervalMs = 3_000;
/** Beyond this an operator is told. */
const noticeMs = 5_000;
/** Beyond this the machine is not to be trusted with work. */
const unfitMs = 60_000;
const repeatMs = 60_000;

export interface ClockWatchOptions {
  clock: RedisClock;
  steps: ClockSteps;
  logger: Logger;
  /** Told when the process may take work, or must not any more. */
  onFitness: (isFit: boolean) => void;
  onError: (error: unknown) => void;
}

/**
 * Keeps the engine's clock measured and compares the machine's own with it.
 *
 *   fit ──(own clock 60 s off Redis')──► unfit: no work is taken ──(within 60 s again)──► fit
 *
 * The engine lives on Redis' time, so lesser offsets do no harm to submissions; they are said for what else is on the machine.
 */
export class ClockWatch {
  readonly #options: ClockWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;
  #isFit = true;
  #isOff = false;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: ClockWatchOptions) {
    this.#options = options;
  }

  /** Measures for the first time, and from then on by itself. */
  async start(): Promise<void> {
    await this.#round();
    this.#timer = setInterval(() => {
      // While Redis is away a round takes as long as that.
      if (this.#isBusy) return;
      this.#isBusy = true;
      void this.#round().finally(() => (this.#isBusy = false));
    }, intervalMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  get isFit(): boolean {
    return this.#isFit;
  }

  /** What is wrong with the machine's clock, in words; undefined while it is within five seconds. */
  trouble(): string | undefined {
    const offset = this.#options.clock.offsetMs();
    if (Math.abs(offset) <= noticeMs) return undefined;
    return `this machine's clock is ${describeDuration(Math.abs(offset))} ${offset > 0 ? 'ahead of' : 'behind'} Redis'`;
  }

  async #round(): Promise<void> {
    const { clock, steps, logger, onError } = this.#options;
    try {
      await clock.measure();
      this.#judge();
      const stepMs = await steps.repairAccounts();
      if (stepMs > 0) logger.warn({ stepMs }, "Redis' clock was set back: holds and throttles were moved along");
    } catch (error) {
      onError(error);
    }
  }

  #judge(): void {
    const { clock, logger, onFitness } = this.#options;
    const clockOffsetMs = clock.offsetMs();
    const isFit = Math.abs(clockOffsetMs) <= unfitMs;
    const trouble = this.trouble();
    const isNews = isFit !== this.#isFit || (trouble !== undefined) !== this.#isOff;
    if (trouble !== undefined && (isNews || performance.now() - this.#saidAt >= repeatMs)) {
      this.#saidAt = performance.now();
      if (isFit) logger.warn({ clockOffsetMs }, `${trouble}; check its time synchronization`);
      else logger.error({ clockOffsetMs }, `${trouble}: no work is taken until that is mended`);
    }
    if (trouble === undefined && this.#isOff) logger.info({ clockOffsetMs }, "this machine's clock is right again");
    this.#isOff = trouble !== undefined;
    if (isFit === this.#isFit) return;
    this.#isFit = isFit;
    onFitness(isFit);
  }
}
