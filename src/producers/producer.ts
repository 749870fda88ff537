import { randomUUID } from 'node:crypto';
import type { Queue } from 'bullmq';
import * as z from 'zod';
import { IdTakenError, InvalidSubmissionError, RedisUnavailableError, type TakenId } from '../core/errors.ts';
import type { Fault, JsonObject } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import { readRun } from '../core/run-id.ts';
import type { Resolution } from '../core/submission.ts';
import { whyOperationNameIsRefused, whyVendorNameIsRefused } from '../core/vendor-names.ts';
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
import { compareRequests, toJson, type ComparedRequest } from './compare-requests.ts';

/** What a caller submits. */
export interface SubmitRequest<Input> {
  /** The operation's input. */
  input: Input;
  /**
   * Your idempotency key and the submission's id. Submitting it again while the first is kept does nothing; with another
   * operation, input, account or `replyTo` it is refused. Default: a unique id.
   */
  id?: string;
  /** The configured account to use. Default: `default`. */
  account?: string;
  /** Poll options; any subset. */
  poll?: Partial<PollOptions>;
  /** The queue that receives the completion event. Default: `results`. */
  replyTo?: string;
  /** Copied into the event; at most 16 KiB as JSON. */
  metadata?: JsonObject;
}

export interface Submitted {
  submissionId: string;
  /** False if this id was submitted before and is still kept: nothing was enqueued, and the first one continues. */
  created: boolean;
  /** With `created: false`: fields in which the first one differs and which it keeps, such as `metadata` and `poll`. */
  ignored?: readonly string[];
}

/** A submission that passed the checks. */
interface CheckedJob {
  jobId: string;
  /** True if the caller chose the id, so that it may be known already. */
  isChosen: boolean;
  data: object;
}

/** What a producer knows of a vendor: what each operation takes. Every adapter is one. */
export interface KnownVendor {
  readonly operations: Readonly<Record<string, { readonly input: z.ZodType }>>;
}

export type Vendors = Readonly<Record<string, KnownVendor>>;
export type OperationName<V extends KnownVendor> = Extract<keyof V['operations'], string>;
export type InputOf<V extends KnownVendor, Name extends OperationName<V>> = z.input<V['operations'][Name]['input']>;

export interface ProducerOptions<V extends Vendors> {
  /**
   * The vendors whose operations are known, for types and checks. Left out, any vendor and operation can be named, and only
   * the workers check the input: what does not fit ends as `rejected`. A submission to a vendor that no worker serves waits.
   */
  vendors?: V;
  /** `redis://…`; see `parseRedisUrl` for all forms. */
  redisUrl: string;
  /** For `rediss://`: the certificate authority to trust, and a client certificate with its key, as PEM texts. */
  tls?: RedisTls;
  /** BullMQ's key prefix. Default: `bull`. */
  prefix?: string;
  /**
   * The queues that submissions may reply to, as in the configuration of the workers, which check them in any case. If
   * omitted, the producer checks only that the name is valid and is not one of the product's queues.
   */
  replyTo?: { allow: readonly string[] };
  /** Called with connection errors, which repeat while Redis is unreachable. */
  onError?: (error: Error) => void;
}

/** Time limit of every call while Redis is unreachable, ms. */
const failFastMs = 2_000;
const chunkSize = 500;
const anyInput = z.unknown();

/** A chunk of a bulk submission failed. Submitting the same list again is safe, because the ids are the same. */
export class BulkSubmitError extends RedisUnavailableError {
  /** How many submissions were certainly enqueued, from the beginning of the list. */
  readonly enqueued: readonly Submitted[];
  /** The ids of all submissions of the call, in order; give them as `id` when submitting again. */
  readonly submissionIds: readonly string[];

  constructor(enqueued: readonly Submitted[], submissionIds: readonly string[], cause: unknown) {
    super(`${enqueued.length} of ${submissionIds.length} submissions were enqueued before Redis failed`, { cause });
    this.enqueued = enqueued;
    this.submissionIds = submissionIds;
  }
}

/** Checks and enqueues submissions, and fails within two seconds when Redis is unreachable. */
export class Producer<V extends Vendors> {
  readonly #vendors: Vendors | undefined;
  readonly #replyRules: ReplyRules;
  readonly #prefix: string;
  readonly #connection: RedisConnection;
  readonly #queues = new Map<string, Queue>();
  readonly #reader: SubmissionReader;

  constructor(options: Omit<ProducerOptions<V>, 'redisUrl' | 'tls'> & { redis: RedisTarget }) {
    this.#vendors = options.vendors;
    this.#replyRules = { vendors: Object.keys(options.vendors ?? {}), allow: options.replyTo?.allow };
    this.#prefix = options.prefix ?? defaultPrefix;
    requireFitPrefix(this.#prefix, options.redis);
    this.#connection = openFailFastConnection(options.redis, options.onError ?? (() => undefined));
    this.#reader = new SubmissionReader(this.#connection, this.#prefix);
  }

  /**
   * Enqueues one submission.
   * @returns `created: false` if its id was submitted before, with the same input
   * @throws InvalidSubmissionError with every fault and its path; nothing was enqueued
   * @throws IdTakenError if its id was submitted before with other input; nothing was enqueued
   * @throws RedisUnavailableError after at most 2 s; pass an `id` to make a retry safe
   */
  async submit<Vendor extends Extract<keyof V, string>, Operation extends OperationName<V[Vendor]>>(
    vendor: Vendor,
    operation: Operation,
    request: SubmitRequest<InputOf<V[Vendor], Operation>>,
  ): Promise<Submitted> {
    const faults: Fault[] = [];
    const job = this.#check(vendor, operation, request, '', faults);
    if (job === undefined) throw new InvalidSubmissionError(faults);
    const found = await bounded(this.#enqueue(vendor, operation, [job]));
    const [submitted] = refuseTaken(found);
    return submitted ?? { submissionId: job.jobId, created: true };
  }

  /**
   * Enqueues many submissions of one operation, in pipelined chunks. All are checked before the first is sent.
   * @throws InvalidSubmissionError with paths such as `[17].input.sourceUrl`; nothing was enqueued
   * @throws IdTakenError naming every id that was submitted before with other input, also earlier in this list. Nothing
   * was enqueued, unless another caller took the id at the same moment: then all others were.
   * @throws BulkSubmitError with the number of submissions that were enqueued
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
    refuseTaken(this.#compareWithin(vendor, operation, jobs));
    const chunks = Array.from({ length: Math.ceil(jobs.length / chunkSize) }, (_, index) =>
      jobs.slice(index * chunkSize, (index + 1) * chunkSize),
    );
    const known: Found[] = [];
    for (const chunk of chunks) known.push(...(await bounded(this.#findKnown(vendor, operation, chunk))).values());
    refuseTaken(known);
    const all: Found[] = [];
    for (const chunk of chunks) {
      try {
        all.push(...(await bounded(this.#enqueue(vendor, operation, chunk))));
      } catch (error) {
        const ids = jobs.map((job) => job.jobId);
        throw new BulkSubmitError(withoutTaken(all), ids, error);
      }
    }
    return refuseTaken(all);
  }

  /**
   * Reads the state of a submission.
   * @returns undefined if it is unknown, or was settled so long ago that it is no longer kept
   */
  async status(vendor: Extract<keyof V, string>, submissionId: string): Promise<SubmissionStatus | undefined> {
    return bounded(this.#reader.status(vendor, submissionId));
  }

  /** Requests a cancel of a submission; its event says how it ended. */
  async cancel(vendor: Extract<keyof V, string>, submissionId: string): Promise<CancelResult> {
    return bounded(this.#reader.cancel(vendor, submissionId, Date.now()));
  }

  /** Stores a person's decision for an ambiguous submission that waits for one. */
  async resolve(
    vendor: Extract<keyof V, string>,
    submissionId: string,
    resolution: Resolution,
  ): Promise<ResolveResult> {
    return bounded(this.#reader.resolve(vendor, submissionId, resolution));
  }

  /**
   * Starts a settled submission again under a new id, `…#2`, linked to the first by its event. Safe to repeat: while a
   * run is under way, no other is started.
   * @param options - `force` also retries a submission that succeeded or was retried before.
   */
  async retry(
    vendor: Extract<keyof V, string>,
    submissionId: string,
    options: { force?: boolean } = {},
  ): Promise<RetryResult> {
    return bounded(this.#reader.retry(vendor, submissionId, () => this.#queue(vendor), options.force));
  }

  /** Closes the connection to Redis; submissions remain. */
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
  ): CheckedJob | undefined {
    const before = faults.length;
    const prefixed = (path: string): string => (at === '' ? path : path === '' ? at : `${at}.${path}`);
    const schema = this.#inputSchema(vendor, operationName, faults);
    if (schema === undefined) return undefined;
    const { id, ...given } = request;
    const data = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const unsafe = id === undefined ? undefined : whyJobIdIsUnsafe(id);
    if (unsafe !== undefined) faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} ${unsafe}` });
    else if (id !== undefined && isNumberedId(id, vendor)) {
      faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} has the form that jobs without an id get` });
    } else if (id !== undefined && readRun(id).run > 1) {
      faults.push({ path: prefixed('id'), message: `${JSON.stringify(id)} has the form that a retry gets` });
    }
    const parsed = parseSubmitJob(data, { ...this.#replyRules, vendors: [...this.#replyRules.vendors, vendor] });
    if (!parsed.ok) faults.push(...parsed.faults.map((fault) => ({ ...fault, path: prefixed(fault.path) })));
    const input = schema.safeParse(given.input);
    if (!input.success) faults.push(...toFaults(input.error, prefixed('input')));
    if (faults.length > before) return undefined;
    return { jobId: id ?? `s-${randomUUID()}`, isChosen: id !== undefined, data };
  }

  /** @returns undefined where there is no such vendor or operation; `faults` says so */
  #inputSchema(vendor: string, operation: string, faults: Fault[]): z.ZodType | undefined {
    if (this.#vendors === undefined) {
      const [why, at] = [whyVendorNameIsRefused(vendor), whyOperationNameIsRefused(operation)];
      if (why !== undefined) faults.push({ path: 'vendor', message: `${JSON.stringify(vendor)}: ${why}` });
      if (at !== undefined) faults.push({ path: 'operation', message: `${JSON.stringify(operation)}: ${at}` });
      return why === undefined && at === undefined ? anyInput : undefined;
    }
    const known = Object.hasOwn(this.#vendors, vendor) ? this.#vendors[vendor] : undefined;
    if (known === undefined) {
      const names = Object.keys(this.#vendors).join(', ');
      faults.push({ path: 'vendor', message: `${JSON.stringify(vendor)} is unknown; known: ${names}` });
      return undefined;
    }
    const declared = Object.hasOwn(known.operations, operation) ? known.operations[operation] : undefined;
    if (declared === undefined) {
      const names = Object.keys(known.operations).join(', ');
      faults.push({
        path: 'operation',
        message: `${vendor} has no operation ${JSON.stringify(operation)}; it has ${names}`,
      });
    }
    return declared?.input;
  }

  /**
   * Enqueues the submissions that are not known yet, and returns what became of each. It reads before and after the add:
   * if several callers use one id at the same moment, BullMQ takes the first, and all get the same answer.
   */
  async #enqueue(vendor: string, operation: string, jobs: readonly CheckedJob[]): Promise<Found[]> {
    const known = await this.#findKnown(vendor, operation, jobs);
    const unknown = jobs.filter(({ jobId }) => !known.has(jobId));
    const addedBy = randomUUID();
    // Our own option. BullMQ keeps it with the job, so it identifies the call whose job was taken.
    const added = unknown.map(({ jobId, data }) => ({ name: operation, data, opts: { jobId, addedBy } }));
    const [only] = added;
    if (only !== undefined && added.length === 1) await this.#queue(vendor).add(only.name, only.data, only.opts);
    else if (added.length > 1) await this.#queue(vendor).addBulk(added);
    const taken = await this.#findKnown(vendor, operation, unknown, addedBy);
    const seen = new Set<string>();
    return jobs.map(({ jobId }) => {
      const found = known.get(jobId) ?? taken.get(jobId) ?? { submissionId: jobId, created: true };
      // Twice in one list: the second adds nothing.
      const isRepeated = seen.has(jobId) && 'created' in found && found.created;
      seen.add(jobId);
      return isRepeated ? { ...found, created: false } : found;
    });
  }

  /** @param addedBy - which of our calls may have added them just now. @returns the existing ones, by id */
  async #findKnown(
    vendor: string,
    operation: string,
    jobs: readonly CheckedJob[],
    addedBy?: string,
  ): Promise<Map<string, Found>> {
    const chosen = jobs.filter(({ isChosen }) => isChosen);
    if (chosen.length === 0) return new Map();
    const requests = await this.#reader.requests(
      vendor,
      chosen.map(({ jobId }) => jobId),
    );
    return new Map(
      chosen.flatMap(({ jobId, data }, index): [string, Found][] => {
        const { poll, submit } = requests[index] ?? {};
        const before = poll ?? submit;
        if (before === undefined) return [];
        const found = this.#compare(vendor, jobId, before, { operation, data });
        const isOurs = addedBy !== undefined && (submit === undefined || submit.addedBy === addedBy);
        return [[jobId, isOurs && 'created' in found ? { submissionId: jobId, created: true } : found]];
      }),
    );
  }

  #compareWithin(vendor: string, operation: string, jobs: readonly CheckedJob[]): Found[] {
    const firsts = new Map<string, CheckedJob>();
    return jobs.flatMap((job) => {
      const first = firsts.get(job.jobId);
      if (first === undefined) firsts.set(job.jobId, job);
      const [before, now] = [first, job].map((one) => ({ operation, data: toJson(one?.data) }));
      if (first === undefined || before === undefined || now === undefined) return [];
      return [this.#compare(vendor, job.jobId, before, now)];
    });
  }

  #compare(vendor: string, submissionId: string, before: ComparedRequest, now: ComparedRequest): Found {
    const schema = this.#vendors?.[vendor]?.operations[now.operation]?.input ?? anyInput;
    const { differs, ignored } = compareRequests(before, { ...now, data: toJson(now.data) }, schema);
    if (differs.length > 0) return { submissionId, differs };
    return { submissionId, created: false, ...(ignored.length === 0 ? {} : { ignored }) };
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

/** What became of one submission: enqueued, known with this input, or known with other input. */
type Found = Submitted | TakenId;

/** @throws IdTakenError if one of the ids is taken */
function refuseTaken(found: readonly Found[]): Submitted[] {
  const taken = found.filter((one) => 'differs' in one);
  if (taken.length > 0) throw new IdTakenError(taken);
  return withoutTaken(found);
}

function withoutTaken(found: readonly Found[]): Submitted[] {
  return found.flatMap((one) => ('differs' in one ? [] : [one]));
}

/**
 * Opens a producer. Close it when done: its connection keeps a process alive.
 * @throws ConfigError if the URL is invalid, or the prefix does not fit a cluster
 */
export function createProducer<const V extends Vendors = Vendors>(options: ProducerOptions<V>): Producer<V> {
  return new Producer({ ...options, redis: parseRedisUrl(options.redisUrl, options.tls) });
}

/** Bounds a call: BullMQ and ioredis wait for Redis in several places, and a request handler must not. */
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
