import { Queue } from 'bullmq';
import type { CompletionEvent } from '../core/completion-event.ts';
import type { Clock } from '../ports/clock.ts';
import { backendOnClock } from './bullmq-internals/clock.ts';
import type { RedisConnection } from './connection.ts';
import { resultJobId } from './job-ids.ts';

/**
 * BullMQ writes three stream events per re-delay and keeps 10,000 by default, megabytes a queue. The value lives in
 * Redis and the last writer wins, so every writing queue of ours sets it.
 */
const maxStreamEvents = 1_000;
/** Of a submit queue, whose stream tells when jobs were really added (`enqueue-times.ts`). */
const maxSubmitEvents = 10_000;

/**
 * For connections whose commands may fail. BullMQ asks for the server's version first, and a queue that gets no answer
 * then fails every call for good, also when Redis is back.
 */
const neverWaiting = { skipWaitingForReady: true, skipVersionCheck: true };

/**
 * A queue of ours for writing.
 * @param options - `failFast` lets commands fail while Redis is away instead of waiting for it; with a `clock` the queue
 * takes the time from it, and not from the process.
 */
export function openQueue(
  name: string,
  connection: RedisConnection,
  prefix: string,
  options: { failFast?: boolean; clock?: Clock } = {},
): Queue {
  const queueOptions = {
    connection,
    prefix,
    streams: { events: { maxLen: name.endsWith('.submit') ? maxSubmitEvents : maxStreamEvents } },
    // Workers ask for the version; what else BullMQ says at that moment is no JSON, and goes to the console.
    skipVersionCheck: true,
    ...(options.failFast === true ? neverWaiting : {}),
  };
  return options.clock === undefined
    ? new Queue(name, queueOptions)
    : new Queue(name, queueOptions, backendOnClock(options.clock));
}

/** A queue for looking: changes none of the queue's own settings. */
export function openQueueForReading(name: string, connection: RedisConnection, prefix: string): Queue {
  return new Queue(name, { connection, prefix, skipMetasUpdate: true, ...neverWaiting });
}

/** Sends completion events. One queue object per name, opened when first needed. */
export class ResultQueues {
  readonly #queues = new Map<string, Queue>();
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #keepSeconds: number;
  readonly #clock: Clock;

  /** @param keepSeconds - how long consumed events stay, which is how long a second delivery is no second job. */
  constructor(connection: RedisConnection, prefix: string, keepSeconds: number, clock: Clock) {
    this.#clock = clock;
    this.#connection = connection;
    this.#prefix = prefix;
    this.#keepSeconds = keepSeconds;
  }

  async deliver(queueName: string, event: CompletionEvent): Promise<void> {
    let queue = this.#queues.get(queueName);
    if (queue === undefined) {
      queue = openQueue(queueName, this.#connection, this.#prefix, { clock: this.#clock });
      queue.on('error', () => undefined);
      this.#queues.set(queueName, queue);
    }
    await queue.add(event.type, event, {
      jobId: resultJobId(event.id),
      // For the consumer's failures: a handler that throws gets the event again.
      attempts: 10,
      backoff: { type: 'exponential', delay: 1_000 },
      removeOnComplete: { age: this.#keepSeconds },
    });
  }

  /** The queues that events were put on so far. */
  get names(): readonly string[] {
    return [...this.#queues.keys()];
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }
}
