/**
 * `jobferry/client`: submit work and read how it ended. For services that run no workers: it loads bullmq, ioredis and zod,
 * and no HTTP client, board or command line. `jobferry` exports the same, and more.
 * @packageDocumentation
 */
import { ConfigError } from './core/errors.ts';
import {
  Producer,
  type InputOf,
  type OperationName,
  type Submitted,
  type SubmitRequest,
} from './producers/producer.ts';
import type { Resolution } from './core/submission.ts';
import { readRedisEnvironment } from './queues/redis-environment.ts';
import type { CancelResult, ResolveResult, RetryResult, SubmissionStatus } from './queues/submission-reader.ts';
import { vendors } from './vendors/inputs.ts';

export {
  onCompletion,
  type CompletionHandler,
  type EventOf,
  type OnCompletionOptions,
} from './consumers/on-completion.ts';
export { completionEvent, type CompletionEvent } from './core/completion-event.ts';
export {
  ConfigError,
  IdTakenError,
  InvalidSubmissionError,
  JobferryError,
  RedisUnavailableError,
  type TakenId,
} from './core/errors.ts';
export type { Fault, Json, JsonObject } from './core/json.ts';
export type { PollOptions } from './core/poll-schedule.ts';
export {
  outcomes,
  type ErrorInfo,
  type Outcome,
  type Resolution,
  type VendorJob,
  type VendorJobStatus,
} from './core/submission.ts';
export {
  BulkSubmitError,
  createProducer,
  Producer,
  type InputOf,
  type KnownVendor,
  type OperationName,
  type ProducerOptions,
  type Submitted,
  type SubmitRequest,
  type Vendors,
} from './producers/producer.ts';
export type { RedisTls } from './queues/connection.ts';
export type { CancelResult, ResolveResult, RetryResult, SubmissionStatus } from './queues/submission-reader.ts';
export { vendors } from './vendors/inputs.ts';

type ProductVendors = typeof vendors;
type VendorName = keyof ProductVendors;

let shared: Producer<ProductVendors> | undefined;

/** The producer behind `submit`, opened on first use from `REDIS_URL` and its companions, and `JOBFERRY_PREFIX`. */
function producer(): Producer<ProductVendors> {
  if (shared !== undefined) return shared;
  const { target: redis } = readRedisEnvironment(process.env);
  if (redis === undefined) {
    const message = 'is not set; expected redis://host:port (createProducer takes an address instead)';
    throw new ConfigError([{ path: 'REDIS_URL', message }]);
  }
  const prefix = process.env['JOBFERRY_PREFIX'];
  shared = new Producer({ vendors, redis, ...(prefix === undefined ? {} : { prefix }) });
  return shared;
}

/**
 * Enqueues one submission, typed by vendor and operation. Uses `REDIS_URL`; `createProducer` takes anything else.
 * @example await submit('knowhere', 'parse', { id: 'invoice-2291', input: { sourceType: 'url', sourceUrl } })
 * @returns `created: false` where its id was submitted before, with the same input
 * @throws InvalidSubmissionError with every fault and its path; nothing was enqueued
 * @throws IdTakenError where its id was submitted before with other input; nothing was enqueued
 * @throws RedisUnavailableError after at most 2 s
 */
export async function submit<Vendor extends VendorName, Name extends OperationName<ProductVendors[Vendor]>>(
  vendor: Vendor,
  operation: Name,
  request: SubmitRequest<InputOf<ProductVendors[Vendor], Name>>,
): Promise<Submitted> {
  return producer().submit(vendor, operation, request);
}

/** Enqueues many submissions of one operation, in pipelined chunks; all are checked before the first is sent. */
export async function submitMany<Vendor extends VendorName, Name extends OperationName<ProductVendors[Vendor]>>(
  vendor: Vendor,
  operation: Name,
  requests: readonly SubmitRequest<InputOf<ProductVendors[Vendor], Name>>[],
): Promise<Submitted[]> {
  return producer().submitMany(vendor, operation, requests);
}

/** How a submission stands; undefined when it is unknown, or was settled so long ago that it is forgotten. */
export async function status(vendor: VendorName, submissionId: string): Promise<SubmissionStatus | undefined> {
  return producer().status(vendor, submissionId);
}

/** Asks for a submission to be canceled; its event tells how it ended. */
export async function cancel(vendor: VendorName, submissionId: string): Promise<CancelResult> {
  return producer().cancel(vendor, submissionId);
}

/** Starts a settled submission again under a new id; see `Producer.retry`. */
export async function retry(
  vendor: VendorName,
  submissionId: string,
  options: { force?: boolean } = {},
): Promise<RetryResult> {
  return producer().retry(vendor, submissionId, options);
}

/** Carries a person's decision to a submission of unknown fate that waits for one. */
export async function resolve(
  vendor: VendorName,
  submissionId: string,
  resolution: Resolution,
): Promise<ResolveResult> {
  return producer().resolve(vendor, submissionId, resolution);
}

/** Closes the connection that `submit` and its companions opened, so that the process can end. */
export async function disconnect(): Promise<void> {
  const open = shared;
  shared = undefined;
  await open?.close();
}
