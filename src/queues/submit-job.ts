import * as z from 'zod';
import { findHostileJson, type Fault, type Json, type JsonObject } from '../core/json.ts';
import { maxTimerMs, type PollOptions } from '../core/poll-schedule.ts';
import { defaultResultQueue, resultQueuePattern } from './names.ts';
import { whyReplyIsRefused, type ReplyRules } from './reply-queues.ts';

/** The most that one job's data may hold, bytes of JSON. Larger inputs belong into files. */
export const maxJobDataBytes = 1_048_576;
/** The most that `metadata` may hold, bytes of JSON. */
export const maxMetadataBytes = 16_384;

const jsonValue: z.ZodType<Json> = z.json();

/** A submission's own poll options: any subset. What a field leaves out comes from the operation. */
export const pollOverrides = z
  .strictObject({
    initialDelayMs: z
      .number()
      .int()
      .min(0)
      .max(maxTimerMs)
      .describe('Wait before the first look-up, ms. Too low spends vendor quota, too high delays short work.'),
    factor: z.number().min(1).max(10).describe('Growth of the wait from one look-up to the next.'),
    maxDelayMs: z.number().int().min(1).max(maxTimerMs).describe('Ceiling for the wait between look-ups, ms.'),
    deadlineMs: z
      .number()
      .int()
      .min(1)
      .max(maxTimerMs)
      .describe(
        'Limit for the vendor’s work, ms, counted from its acceptance of the submission. After that the submission ends as `expired`. Time spent waiting to be sent does not count.',
      ),
    submitWithinMs: z
      .number()
      .int()
      .min(1)
      .max(maxTimerMs)
      .describe(
        'Limit until the vendor has accepted the submission, ms, counted from enqueueing. After that the submission ends as `expired`, unsent. Too low expires submissions that an outage or a long queue delays.',
      ),
  })
  .partial()
  .superRefine((poll, context) => {
    contradictions({ ...poll }).forEach((fault) => {
      context.addIssue({ code: 'custom', path: [fault.path], message: fault.message });
    });
  });

/** What poll options contradict each other in. */
function contradictions(poll: { [Key in keyof PollOptions]?: PollOptions[Key] | undefined }): Fault[] {
  const { initialDelayMs, maxDelayMs } = poll;
  const faults: Fault[] = [];
  if (initialDelayMs !== undefined && maxDelayMs !== undefined && initialDelayMs > maxDelayMs) {
    faults.push({ path: 'initialDelayMs', message: `${initialDelayMs} exceeds maxDelayMs, which is ${maxDelayMs}` });
  }
  return faults;
}

/** The data of a submit job, as any BullMQ client pushes it. The operation checks `input` itself. */
export const submitJobData = z.strictObject({
  input: z
    .record(z.string(), jsonValue)
    .describe('The operation’s input; `jobferry vendors <vendor>.<operation> --json` prints its schema.'),
  account: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must match ^[A-Za-z0-9._-]{1,64}$')
    .default('default')
    .describe('The configured account to use.'),
  poll: pollOverrides.optional().describe('Poll options of this submission; any subset.'),
  replyTo: z
    .string()
    .regex(resultQueuePattern, `must match ${resultQueuePattern.source}`)
    .default(defaultResultQueue)
    .describe(
      'The queue that receives the completion event. It must match `replyTo.allow` of the configuration and cannot be one of the product’s queues.',
    ),
  metadata: z
    .record(z.string(), jsonValue)
    .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= maxMetadataBytes, {
      message: `is larger than ${maxMetadataBytes} bytes of JSON`,
    })
    .optional()
    .describe('Copied into the event; at most 16 KiB as JSON.'),
});

export interface SubmitJob {
  input: JsonObject;
  account: string;
  poll: { [Key in keyof PollOptions]?: PollOptions[Key] | undefined };
  replyTo: string;
  metadata: JsonObject | null;
}

export type ParsedSubmitJob = { ok: true; job: SubmitJob } | { ok: false; faults: Fault[]; salvaged: SalvagedJob };

/** What can still be used of data that does not fit: where to send the refusal, and what to echo in it. */
export interface SalvagedJob {
  account: string;
  replyTo: string;
  metadata: JsonObject | null;
}

/**
 * Checks the data of a submit job, whoever pushed it. Never throws.
 * @param rules - which queues may be replied to.
 */
export function parseSubmitJob(data: unknown, rules: ReplyRules): ParsedSubmitJob {
  const faults: Fault[] = [];
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    const got = data === null ? 'null' : Array.isArray(data) ? 'an array' : typeof data;
    return {
      ok: false,
      faults: [{ path: '', message: `expected an object, got ${got}` }],
      salvaged: salvage({}, rules),
    };
  }
  faults.push(...findHostileJson(data, { anyKeysIn: 'metadata' }));
  if (faults.length === 0) {
    const bytes = Buffer.byteLength(JSON.stringify(data));
    if (bytes > maxJobDataBytes)
      faults.push({ path: '', message: `is ${bytes} bytes of JSON, at most ${maxJobDataBytes} are accepted` });
  }
  // Data that is hostile or huge is not walked any further.
  if (faults.length > 0) return { ok: false, faults, salvaged: salvage(data, rules) };

  const parsed = parseForeign(submitJobData, data);
  if (!parsed.success) faults.push(...toFaults(parsed.error));
  const replyTo: unknown = (data as { replyTo?: unknown }).replyTo;
  if (typeof replyTo === 'string' && resultQueuePattern.test(replyTo)) {
    const message = whyReplyIsRefused(replyTo, rules);
    if (message !== undefined) faults.push({ path: 'replyTo', message });
  }
  if (!parsed.success || faults.length > 0) return { ok: false, faults, salvaged: salvage(data, rules) };
  const { input, account, poll } = parsed.data;
  return {
    ok: true,
    job: { input, account, poll: poll ?? {}, replyTo: parsed.data.replyTo, metadata: metadataOf(data) },
  };
}

/** The metadata as it was given: a schema's copy would leave keys out, such as `__proto__`. */
function metadataOf(data: object): JsonObject | null {
  const { metadata } = data as { metadata?: JsonObject | [] };
  if (metadata === undefined) return null;
  return Array.isArray(metadata) ? {} : metadata;
}

/**
 * Where the event of a submission goes and what it echoes, read without judging the rest. Where its own queue is refused,
 * that is the default one.
 */
export function salvage(data: unknown, rules: ReplyRules): SalvagedJob {
  const given = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
  const replyTo = submitJobData.shape.replyTo.safeParse(given['replyTo']);
  const account = submitJobData.shape.account.safeParse(given['account']);
  const { metadata } = given;
  const isBounded = findHostileJson({ metadata }, { anyKeysIn: 'metadata' }).length === 0;
  const fits = isBounded && parseForeign(submitJobData.shape.metadata, metadata).success;
  return {
    account: account.success ? account.data : 'default',
    replyTo:
      replyTo.success && whyReplyIsRefused(replyTo.data, rules) === undefined ? replyTo.data : defaultResultQueue,
    metadata: fits ? metadataOf(given) : null,
  };
}

/**
 * Parses what another language wrote: PHP has one kind of array, so an empty one stands for an empty object wherever an
 * object is expected.
 */
export function parseForeign<Output>(schema: z.ZodType<Output>, value: unknown): z.ZodSafeParseResult<Output> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed;
  const empty = parsed.error.issues.filter(
    (issue) =>
      issue.code === 'invalid_type' &&
      (issue.expected === 'object' || issue.expected === 'record') &&
      isEmptyArray(valueAt(value, issue.path)),
  );
  if (empty.length === 0) return parsed;
  return schema.safeParse(empty.reduce((changed, { path }) => withEmptyObject(changed, path), value));
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key], value);
}

function withEmptyObject(value: unknown, [key, ...rest]: readonly PropertyKey[]): unknown {
  if (key === undefined) return {};
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    PropertyKey,
    unknown
  >;
  copy[key] = withEmptyObject(copy[key], rest);
  return copy;
}

/** Zod's issues as faults: one per unknown key, paths as people write them. */
export function toFaults(error: z.ZodError, base = ''): Fault[] {
  return error.issues.flatMap((issue) => {
    const path = joinPath(base, issue.path);
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: joinPath(path, [key]), message: 'is not known here' }));
    }
    return [{ path, message: issue.message }];
  });
}

function joinPath(base: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((joined, part) => {
    if (typeof part === 'number') return `${joined}[${part}]`;
    return joined === '' ? String(part) : `${joined}.${String(part)}`;
  }, base);
}
