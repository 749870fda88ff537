/**
 * The library: submit work, read how it ended, teach the engine another vendor.
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
import { readRedisEnvironment } from './queues/redis-environment.ts';
import { catalogue, type Catalogue } from './vendors/catalogue.ts';

export { startWorkers, type RunningWorkers, type StartWorkersOptions } from './app.ts';
export { completionEvent, type CompletionEvent } from './core/completion-event.ts';
export * from './core/errors.ts';
export type { Fault, Json, JsonObject } from './core/json.ts';
export type { PollOptions } from './core/poll-schedule.ts';
export { outcomes, type ErrorInfo, type Outcome, type VendorJob, type VendorJobStatus } from './core/submission.ts';
export {
  onCompletion,
  type CompletionHandler,
  type EventOf,
  type OnCompletionOptions,
} from './consumers/on-completion.ts';
export type { Logger } from './ports/logger.ts';
export type * from './ports/vendor-adapter.ts';
export {
  BulkSubmitError,
  createProducer,
  Producer,
  type ProducerOptions,
  type Submitted,
  type SubmitRequest,
} from './producers/producer.ts';
export type { RedisTls } from './queues/connection.ts';
export type { CancelResult, SubmissionStatus } from './queues/submission-reader.ts';
export { catalogue } from './vendors/catalogue.ts';
export {
  defineOperation,
  defineVendor,
  statusWords,
  type DefinedVendor,
  type LookupSpec,
  type OperationSpec,
  type VendorSpec,
} from './vendors/define-vendor.ts';

type VendorName = keyof Catalogue;

let shared: Producer<Catalogue> | undefined;

/** The producer behind `submit`, opened on first use from `REDIS_URL` and its companions, and `JOBFERRY_PREFIX`. */
function producer(): Producer<Catalogue> {
  if (shared !== undefined) return shared;
  const { target: redis } = readRedisEnvironment(process.env);
  if (redis === undefined) {
    const message = 'is not set; expected redis://host:port (createProducer takes an address instead)';
    throw new ConfigError([{ path: 'REDIS_URL', message }]);
  }
  const prefix = process.env['JOBFERRY_PREFIX'];
  shared = new Producer({ vendors: catalogue, redis, ...(prefix === undefined ? {} : { prefix }) });
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
export async function submit<Vendor extends VendorName, Name extends OperationName<Catalogue[Vendor]>>(
  vendor: Vendor,
  operation: Name,
  request: SubmitRequest<InputOf<Catalogue[Vendor], Name>>,
): Promise<Submitted> {
  return producer().submit(vendor, operation, request);
}

/** Enqueues many submissions of one operation, in pipelined chunks; all are checked before the first is sent. */
export async function submitMany<Vendor extends VendorName, Name extends OperationName<Catalogue[Vendor]>>(
  vendor: Vendor,
  operation: Name,
  requests: readonly SubmitRequest<InputOf<Catalogue[Vendor], Name>>[],
): Promise<Submitted[]> {
  return producer().submitMany(vendor, operation, requests);
}

/** Asks for a submission to be canceled. */
export async function cancel(vendor: VendorName, submissionId: string): ReturnType<Producer<Catalogue>['cancel']> {
  return producer().cancel(vendor, submissionId);
}

/** How a submission stands. */
export async function status(vendor: VendorName, submissionId: string): ReturnType<Producer<Catalogue>['status']> {
  return producer().status(vendor, submissionId);
}

/** Closes the connection that `submit` and its companions opened, so that the process can end. */
export async function disconnect(): Promise<void> {
  const open = shared;
  shared = undefined;
  await open?.close();
}
