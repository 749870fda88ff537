import { setTimeout as sleep } from 'node:timers/promises';
import type { Queue } from 'bullmq';
import type { SubmissionReader } from '../../src/queues/submission-reader.ts';
import type { Submitted } from './evidence.ts';
import { dataOf, loadOf, nameOf, type Vendor } from './loads.ts';
import { Random } from './random.ts';

/** How far back a producer pushes again when Redis lost its last writes, ms. */
const pushedAgainMs = 1_500;

/**
 * More under way than a minute brings would measure the machine: on one that is too slow, or busy with other things,
 * everything takes longer instead.
 */
const mostUnsettled = 1_000;

export interface ProducerOptions {
  seed: number;
  submissions: number;
  burnMs: number;
  accounts: readonly string[];
  /** How many submissions have ended. */
  countSettled: () => number;
}

/** Pushes submissions the way any BullMQ client does, and asks for the end of some. */
export class Producer {
  readonly submissions = new Map<string, Submitted>();
  readonly #queues: ReadonlyMap<Vendor, Queue>;
  readonly #reader: () => SubmissionReader;
  readonly #options: ProducerOptions;
  #begun = 0;

  constructor(queues: ReadonlyMap<Vendor, Queue>, reader: () => SubmissionReader, options: ProducerOptions) {
    this.#queues = queues;
    this.#reader = reader;
    this.#options = options;
  }

  /** How many of them have been pushed, 0 to 1. */
  get share(): number {
    return this.#begun / this.#options.submissions;
  }

  /** All of them, evenly over the burn. */
  async submitAll(): Promise<void> {
    const { submissions, burnMs, seed, countSettled } = this.#options;
    const random = new Random(seed + 1);
    const pushing = new Set<Promise<void>>();
    const from = Date.now();
    while (this.#begun < submissions) {
      const onTime = Math.ceil(((Date.now() - from) / (burnMs * 0.92)) * submissions);
      const due = Math.min(submissions, onTime, countSettled() + mostUnsettled);
      for (; this.#begun < due; this.#begun += 1) {
        // Drawn in order, whatever the pushes take.
        const life = this.#live(nameOf(this.#begun), new Random(random.below(4_000_000_000)));
        pushing.add(life);
        void life.finally(() => pushing.delete(life));
      }
      await sleep(50);
    }
    await Promise.all(pushing);
  }

  async #live(id: string, random: Random): Promise<void> {
    const submitted: Submitted = { id, load: loadOf(random.next()), pushedAt: 0 };
    await this.#push(submitted);
    // What counts is what Redis has confirmed.
    submitted.pushedAt = Date.now();
    this.submissions.set(id, submitted);
    if (random.next() < 0.05) {
      // A caller that is not sure whether its push came through pushes again.
      await sleep(random.between(0, 8_000));
      await this.#push(submitted);
    }
    if (random.next() < 0.02) await this.#cancel(submitted, random.between(0, 5_000));
  }

  /** A producer whose Redis lost its last writes pushes what it pushed last once more; who is known does not notice. */
  async pushAgain(lostFrom: number): Promise<number> {
    const now = Date.now();
    const last = [...this.submissions.values()].filter(
      ({ pushedAt }) => pushedAt >= lostFrom - pushedAgainMs && pushedAt <= now,
    );
    for (const submitted of last) await this.#push(submitted);
    return last.length;
  }

  async #push({ id, load }: Submitted): Promise<void> {
    const queue = this.#queues.get(load.vendor);
    await queue?.add(load.operation, dataOf(load, id, this.#options.accounts), { jobId: id });
  }

  async #cancel(submitted: Submitted, afterMs: number): Promise<void> {
    await sleep(afterMs);
    const result = await this.#reader().cancel(submitted.load.vendor, submitted.id, Date.now());
    if (result === 'requested') submitted.cancelRequestedAt = Date.now();
  }
}
