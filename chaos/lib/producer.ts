import { setTimeout as sleep } from 'node:timers/promises';
import type { FlowProducer, Queue } from 'bullmq';
import type { SubmissionReader } from '../../src/queues/submission-reader.ts';
import type { Submitted } from './evidence.ts';
import { bondOf, dataOf, loadOf, nameOf, parentOf, parentQueue, twinOf, type Vendor } from './loads.ts';
import { Random } from './random.ts';

/** How far back a producer pushes again when Redis lost its last writes, ms. */
const pushedAgainMs = 1_500;
/** How far the clock of a producer is off at most, ms: three days. */
const offMs = 259_200_000;
const parentOptions = {
  fail: { failParentOnFailure: true },
  ignore: { ignoreDependencyOnFailure: true },
  remove: { removeDependencyOnFailure: true },
} as const;

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

/** Where it pushes. */
export interface ProducerQueues {
  queues: ReadonlyMap<Vendor, Queue>;
  flows: () => FlowProducer;
  reader: () => SubmissionReader;
}

/** Pushes submissions the way any BullMQ client does, and asks for the end of some. */
export class Producer {
  readonly submissions = new Map<string, Submitted>();
  readonly #queues: ProducerQueues;
  readonly #options: ProducerOptions;
  readonly #repeating = new Set<Promise<void>>();
  /** Submissions that were pushed more than once. */
  readonly #repeated = new Set<string>();
  #noRepeats: Promise<unknown> = Promise.resolve();
  /** What had been pushed by then may be unknown by now. */
  #forgottenAt = 0;
  #begun = 0;

  constructor(queues: ProducerQueues, options: ProducerOptions) {
    this.#queues = queues;
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

  /** A producer whose Redis lost its last writes pushes what it pushed last once more; who is known does not notice. */
  async pushAgain(lostFrom: number): Promise<number> {
    const now = Date.now();
    const last = [...this.submissions.values()].filter(
      ({ pushedAt }) => pushedAt >= lostFrom - pushedAgainMs && pushedAt <= now,
    );
    for (const submitted of last) await this.#push(submitted);
    return last.length;
  }

  /**
   * Does something after which an id that was used is unknown, and may be used for something else.
   * @param forget - given all submissions that were pushed more than once
   */
  async withoutRepeats<T>(forget: (repeated: ReadonlySet<string>) => Promise<T>): Promise<T> {
    const forgetting = (async (): Promise<T> => {
      await Promise.all(this.#repeating);
      const value = await forget(this.#repeated);
      this.#forgottenAt = Date.now();
      return value;
    })();
    this.#noRepeats = forgetting.catch(() => undefined);
    return forgetting;
  }

  async #live(id: string, random: Random): Promise<void> {
    const submitted: Submitted = { id, load: loadOf(random.next()), pushedAt: 0, ...bondOf(random.next()) };
    const clockMs = random.next() < 0.1 ? random.between(-offMs, offMs) : undefined;
    await this.#push(submitted, clockMs);
    // What counts is what Redis has confirmed.
    submitted.pushedAt = Date.now();
    this.submissions.set(id, submitted);
    if (submitted.isDeduplicated === true) await this.#pushTwin(submitted);
    if (random.next() < 0.05) {
      // A caller that is not sure whether its push came through pushes again.
      await sleep(random.between(0, 8_000));
      await this.#repeat(submitted);
    }
    if (random.next() < 0.02) await this.#cancel(submitted, random.between(0, 5_000));
  }

  /** The same work under another id: kept out while the first is under way. */
  async #pushTwin(first: Submitted): Promise<void> {
    const twin: Submitted = { id: twinOf(first.id), load: first.load, pushedAt: 0, twinOf: first.id };
    const added = await this.#add(twin, { deduplication: { id: first.id } });
    if (added !== twin.id) return;
    twin.pushedAt = Date.now();
    this.submissions.set(twin.id, twin);
  }

  async #repeat(submitted: Submitted): Promise<void> {
    await this.#noRepeats;
    if (submitted.pushedAt < this.#forgottenAt) return;
    this.#repeated.add(submitted.id);
    const push = this.#push(submitted);
    this.#repeating.add(push);
    await push.finally(() => this.#repeating.delete(push));
  }

  /** @param clockMs - how far the producer's clock is off */
  async #push(submitted: Submitted, clockMs?: number): Promise<void> {
    const { id, load, parent, isDeduplicated } = submitted;
    const options = {
      ...(clockMs === undefined ? {} : { timestamp: Math.round(Date.now() + clockMs) }),
      ...(isDeduplicated === true ? { deduplication: { id } } : {}),
    };
    if (parent === undefined) return void (await this.#add(submitted, options));
    const child = {
      ...{ name: load.operation, queueName: `${load.vendor}.submit`, data: dataOf(load, id, this.#options.accounts) },
      opts: { jobId: id, ...options, ...parentOptions[parent] },
    };
    const report = { name: 'report', queueName: parentQueue, data: { id }, opts: { jobId: parentOf(id) } };
    // A transaction that was cut off may have been applied: it is repeated under the same ids.
    for (;;) {
      try {
        await this.#queues.flows().add({ ...report, children: [child] });
        return;
      } catch {
        await sleep(200);
      }
    }
  }

  /** @returns the id of the job that is there now. */
  async #add({ id, load }: Submitted, options: object): Promise<string | undefined> {
    const data = dataOf(load, id, this.#options.accounts);
    const job = await this.#queues.queues.get(load.vendor)?.add(load.operation, data, { jobId: id, ...options });
    return job?.id;
  }

  async #cancel(submitted: Submitted, afterMs: number): Promise<void> {
    await sleep(afterMs);
    const result = await this.#queues.reader().cancel(submitted.load.vendor, submitted.id, Date.now());
    if (result === 'requested') submitted.cancelRequestedAt = Date.now();
  }
}
