import { randomUUID } from 'node:crypto';
import type { Queue } from 'bullmq';
import type * as z from 'zod';
import { InvalidSubmissionError, RedisUnavailableError } from '../core/errors.ts';
import type { Fault, JsonObject } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import { readRun } from '../core/run-id.ts';
import type { Resolution } from '../core/submission.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import {
  openFailFastConnection,
  parseRedisUrl,
  requireFitPrefix,
  type RedisConnection,
  type RedisTarget,
  type RedisTls,
} from '../queues/connection.ts';
import { isNumberedId, whyJobIdIsUnsafe } from '../queues/job-ids.ts';
import { defaultPrefix, stageQueue } from '../queues/names.ts';
import { openQueue } from '../queues/open-queue.ts';
import type { ReplyRules } from '../queues/reply-queues.ts';
import {
  SubmissionReader,
  type CancelResult,
  type ResolveResult,
  type RetryResult,
  type SubmissionStatus,
} from '../queues/submission-reader.ts';
import { parseSubmitJob, toFaults } from '../queues/submit-job.ts';

/** What a caller submits. */
export interface SubmitRequest<Input> {
  /** What the operation takes. */
  input: Input;
  /**
   * Your idempotency key, and the submission's id: submitting it again while the first is kept does nothing.
   * Left out, a unique one is made.
   */
  id?: string;
  /** Which configured credentials to use; `default` when left out. */
  account?: string;
  /** How to poll; any subset. */
  poll?: Partial<PollOptions>;
  /** The queue that gets the completion event; `results` when left out. */
  replyTo?: string;
  /** Echoed in the event; at most 16 KiB as JSON. */
  metadata?: JsonObject;
}

export interface Submitted {
  submissionId: string;
}

export type Vendors = Readonly<Record<string, VendorAdapter>>;
export type OperationName<V extends VendorAdapter> = Extract<keyof V['operations'], string>;
export type InputOf<V extends VendorAdapter, Name extends OperationName<V>> = z.input<V['operations'][Name]['input']>;

export interface ProducerOptions<V extends Vendors> {
  /** The vendors whose operations are known, for types and checks. */
  vendors: V;
  /** `redis://…`; see `parseRedisUrl` for all forms. */
  redisUrl: string;
  /** For `rediss://`: the authority to trust, and a client certificate with its key, as PEM texts. */
  tls?: RedisTls;
  /** BullMQ's key prefix; `bull` when left out. */
  prefix?: string;
  /**
   * The queues that submissions may reply to, as in the configuration of the workers, which check them in any case. Left out,
   * the producer checks no more than that a name is one and none of the product's own queues.
   */
  replyTo?: { allow: readonly string[] };
  /** Told of connection errors, which repeat while Redis is away. */
  onError?: (error: Error) => void;
}

/** The bound of every call while Redis is away, ms. */
const failFastMs = 2_000;
const chunkSize = 500;

/** A chunk of a bulk submission did not make it. Submitting the same list again is safe: the ids are the same. */
export class BulkSubmitError extends RedisUnavailableError {
  /** Submissions that are certainly enqueued, from the beginning of the list. */
  readonly enqueued: readonly Submitted[];
  /** The ids of all submissions of the call, in order; give them as `id` when submitting again. */
  readonly submissionIds: readonly string[];

  constructor(enqueued: readonly Submitted[], submissionIds: readonly string[], cause: unknown) {
    super(`${enqueued.length} of ${submissionIds.length} submissions were enqueued before Redis failed`, { cause });
    this.enqueued = enqueued;
    this.submissionIds = submissionIds;
  }
}

/** Enqueues submissions: checks them first, and fails within two seconds when Redis is away. */
export class Producer<V extends Vendors> {
  readonly #vendors: V;
  readonly #replyRules: ReplyRules;
  readonly #prefix: string;
  readonly #connection: RedisConnection;
  readonly #queues = new Map<string, Queue>();
  readonly #reader: SubmissionReader;

  constructor(options: Omit<ProducerOptions<V>, 'redisUrl' | 'tls'> & { redis: RedisTarget }) {
    this.#vendors = options.vendors;
    this.#replyRules = { vendors: Object.keys(options.vendors), allow: options.replyTo?.allow };
    this.#prefix = options.prefix ?? defaultPrefix;
    requireFitPrefix(this.#prefix, options.redis);
    this.#connection = openFailFastConnection(options.redis, options.onError ?? (() => undefined));
    this.#reader = new SubmissionReader(this.#connection, this.#prefix);
  }

  /**
   * Enqueues one submission.
   * @throws InvalidSubmissionError with every fault and its path; nothing was enqueued
   * @throws RedisUnavailableError after at most 2 s; give an `id` to make another try safe
   */
  async submit<Vendor extends Extract<keyof V, string>, Operation extends OperationName<V[Vendor]>>(
    vendor: Vendor,
    operation: Operation,
    request: SubmitRequest<InputOf<V[Vendor], Operation>>,
  ): Promise<Submitted> {
    const faults: Fault[] = [];
    const job = this.#check(vendor, operation, request, '', faults);
    if (job === undefined) throw new InvalidSubmissionError(faults);
    await bounded(this.#queue(vendor).add(operation, job.data, { jobId: job.jobId }));
    return { submissionId: job.jobId };
  }

  /**
   * Enqueues many submissions of one operation, in pipelined chunks. All are checked before the first is sent.
   * @throws InvalidSubmissionError with paths such as `[17].input.sourceUrl`; nothing was enqueued
   * @throws BulkSubmitError telling which were enqueued
   */
  async submitMany<Vendor extends Extract<keyof V, string>, Operation extends OperationName<V[Vendor]>>(
    vendor: Vendor,
    operation: Operation,
    requests: readonly SubmitRequest<InputOf<V[Vendor], Operation>>[],
  ): Promise<Submitted[]> {
    const faults: Fault[] = [];
    const jobs = requests.flatMap(
      (request, index) => this.#check(vendor, operation, request, `[${index}]`, faults) ?? [],
    );
    if (faults.length > 0) throw new InvalidSubmissionError(faults.slice(0, 100));
    const all = jobs.map((job) => ({ submissionId: job.jobId }));
    for (let from = 0; from < jobs.length; from += chunkSize) {
      const chunk = jobs.slice(from, from + chunkSize);
      try {
        await bounded(
          this.#queue(vendor).addBulk(chunk.map(({ jobId, data }) => ({ name: operation, data, opts: { jobId } }))),
        );
      } catch (error) {
        const ids = jobs.map((job) => job.jobId);
        throw new BulkSubmitError(all.slice(0, from), ids, error);
      }
    }
    return all;
  }

  /**
   * How a submission stands.
   * @returns undefined when it is unknown, or was settled so long ago that it is forgotten
   */
  async status(vendor: Extract<keyof V, string>, submissionId: string): Promise<SubmissionStatus | undefined> {
    return bounded(this.#reader.status(vendor, submissionId));
  }

  /** Asks for a submission to be canceled; its event tells how it ended. */
  async cancel(vendor: Extract<keyof V, string>, submissionId: string): Promise<CancelResult> {
    return bounded(this.#reader.cancel(vendor, submissionId, Date.now()));
  }

  /** Carries a person's decision to a submission of unknown fate that waits for one. */
  async resolve(
    vendor: Extract<keyof V, string>,
    submissionId: string,
    resolution: Resolution,
  ): Promise<ResolveResult> {
    return bounded(this.#reader.resolve(vendor, submissionId, resolution));
  }

  /**
   * Starts a settled submission anew under a new id, `…#2`, linked to the first by its event. Safe to repeat: while a run
   * is at work, no other is started.
   * @param options - `force` also starts anew what succeeded, or what was retried before.
   */
  async retry(
    vendor: Extract<keyof V, string>,
    submissionId: string,
    options: { force?: boolean } = {},
  ): Promise<RetryResult> {
    return bounded(this.#reader.retry(vendor, submissionId, () => this.#queue(vendor), options.force));
  }

  /** Lets go of Redis; what was submitted stays. */
  async close(): Promise<void> {
    await Promise.allSettled([...[...this.#queues.values()].map((queue) => queue.close()), this.#reader.close()]);
    this.#connection.disconnect();
  }

  #check(
    vendor: string,
    operationName: string,
    request: SubmitRequest<unknown>,
    at: string,
    faults: Fault[],
  ): { jobId: string; data: object } | undefined {
    const before = faults.length;
    const prefixed = (path: string): string => (at === '' ? path : path === '' ? at : `${at}.${path}`);
    const adapter = Object.hasOwn(this.#vendors, vendor) ? this.#vendors[vendor] : undefined;
    if (adapter === undefined) {
      faults.push({
        path: 'vendor',
        message: `${JSON.stringify(vendor)} is unknown; known: ${Object.keys(this.#vendors).join(', ')}`,
      });
      return undefined;
    }
    const operation = Object.hasOwn(adapter.operations, operationName) ? adapter.operations[operationName] : undefined;
    if (operation === undefined) {
      const known = Object.keys(adapter.operations).join(', ');
      faults.push({
        path: 'operation',
        message: `${vendor} has no operation ${JSON.stringify(operationName)}; it has ${known}`,
      });
      return undefined;
    }
    const { id, ...given } = request;
    const data = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const unsafe = id === undefined ? undefined : whyJobIdIsUnsafe(id);
    if (unsafe !== undefined) faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} ${unsafe}` });
    else if (id !== undefined && isNumberedId(id, vendor)) {
      faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} has the form that jobs without an id get` });
    } else if (id !== undefined && readRun(id).run > 1) {
      faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} has the form that a retry gets` });
    }
    const parsed = parseSubmitJob(data, this.#replyRules);
    if (!parsed.ok) faults.push(...parsed.faults.map((fault) => ({ ...fault, path: prefixed(fault.path) })));
    const input = operation.input.safeParse(given.input);
    if (!input.success) faults.push(...toFaults(input.error, prefixed('input')));
    if (faults.length > before) return undefined;
    return { jobId: id ?? `s-${randomUUID()}`, data };
  }

  #queue(vendor: string): Queue {
    let queue = this.#queues.get(vendor);
    if (queue === undefined) {
      queue = openQueue(stageQueue(vendor, 'submit'), this.#connection, this.#prefix, { failFast: true });
      queue.on('error', () => undefined);
      this.#queues.set(vendor, queue);
    }
    return queue;
  }
}

/**
 * Opens a producer. Close it when done: its connection keeps a process alive.
 * @throws ConfigError when the URL is none, or the prefix does not fit a cluster
 */
export function createProducer<const V extends Vendors>(options: ProducerOptions<V>): Producer<V> {
  return new Producer({ ...options, redis: parseRedisUrl(options.redisUrl, options.tls) });
}

/** BullMQ and ioredis wait for Redis in several places; a caller in a request handler must not. */
async function bounded<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new RedisUnavailableError(`Redis did not answer within ${failFastMs} ms`)),
      failFastMs,
    );
  });
  try {
    return await Promise.race([promise, timeout]);
  } catch (error) {
    if (error instanceof RedisUnavailableError) throw error;
    throw new RedisUnavailableError(`Redis: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    promise.catch(() => undefined);
  }
}
