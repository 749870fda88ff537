import type { Queue } from 'bullmq';
import { redactText } from '../../core/redact.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';

/** Events that one look removes at most; the next look goes on. */
const mostPerLook = 1_000;

/**
 * Removes events that wait for longer than the configuration lets them: without a limit, what no consumer takes stays for
 * ever, with its metadata and links. Only where the configuration asks for it, as an event that is removed is lost.
 */
export class UnreadEvents {
  readonly #keepMs: number;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(keepSeconds: number, clock: Clock, logger: Logger) {
    this.#keepMs = keepSeconds * 1_000;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** @returns how many events were removed */
  async removeFrom(queue: Queue): Promise<number> {
    // The oldest alone tells whether the list is worth a walk. Those of a paused queue stand in the same list.
    const [oldest] = await queue.getJobs(['wait'], 0, 0, true);
    if (oldest === undefined || this.#clock.now() - oldest.timestamp < this.#keepMs) return 0;
    // BullMQ reckons from this machine's clock, which may differ from the one that events are dated by.
    const grace = Date.now() - this.#clock.now() + this.#keepMs;
    const removed = (await queue.clean(grace, mostPerLook, 'wait')).length;
    if (removed > 0) {
      const fields = { queue: redactText(queue.name), removed, olderThanSeconds: this.#keepMs / 1_000 };
      this.#logger.warn(fields, 'completion events were removed that nothing had taken');
    }
    return removed;
  }
}
