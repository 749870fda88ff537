import type { Fault, Json } from './json.ts';
import type { ErrorInfo } from './submission.ts';

/**
 * Every error code that is ours, with what it means. Vendors' own codes pass through beside these.
 * A test keeps this table equal to docs/errors.md.
 */
export const errorCodes = {
  invalid_submission: 'The job data does not fit: `details.faults` names every fault with its path.',
  vendor_rejected: 'The vendor refused the request permanently and gave no code.',
  vendor_unauthorized: 'The vendor does not accept the credentials of the account; its jobs wait.',
  vendor_forbidden:
    'The credentials of the account lack a right that the request needs: its submits, or its look-ups, wait; one submission that is refused while others pass is rejected.',
  vendor_quota_exhausted:
    'The account has no credit or quota left: its submits, or its look-ups, wait; one submission that is refused while others pass is rejected.',
  vendor_throttled: 'The vendor asked to slow down.',
  vendor_unavailable: 'The vendor could not be reached, timed out or answered 5xx.',
  vendor_contract: 'The vendor answered something that its documentation does not know.',
  submit_ambiguous: 'It is not known whether the vendor took the submit, and it will not be sent twice.',
  vendor_job_failed: 'The vendor job failed and the vendor gave no code.',
  vendor_job_canceled: 'The vendor job was canceled at the vendor.',
  vendor_job_lost: 'The vendor no longer knows the job, past the grace period.',
  outcome_contradicted: 'The vendor says that the work is done, and the resource says otherwise.',
  deadline_exceeded: 'The deadline passed; the vendor may still be working.',
  not_submitted_in_time: 'The vendor did not accept it within `submitWithinMs`; it was not sent, or surely not taken.',
  canceled: 'A caller canceled the submission.',
  job_removed: 'The job of the submission was removed from its queue by hand; the vendor may go on working.',
  file_unreadable: 'The file of a submission could not be read below JOBFERRY_FILES_DIR.',
  upload_refused: 'The storage behind the vendor refused the upload.',
  upload_expired: 'The upload link expired before the upload was done.',
  checksum_mismatch: 'The downloaded result does not have the checksum that the vendor gave.',
  result_too_large: 'The result is larger than the configured limit.',
  result_unavailable: 'The result could not be downloaded.',
  address_refused: 'A link leads to an address that is not public, or to a public one by plain http.',
  partial_failure: 'Some vendor jobs of the submission ended badly.',
  step_timeout: 'A step of the vendor module never ended and was given up.',
  internal_error: 'The engine failed; the message says how.',
  config_invalid: 'The configuration is wrong; one line per fault.',
  redis_unavailable: 'Redis did not answer in time; nothing was enqueued, or that is not known.',
  id_taken:
    'A submission of this id was enqueued before with other input; that one goes on, and nothing else was enqueued.',
  job_id_refused: 'BullMQ would lose or be damaged by this job id.',
} as const;
export type ErrorCode = keyof typeof errorCodes;

/** Which request an error came of. For people who look for its cause; holds no secret. */
export interface RequestOrigin {
  /** Such as `POST /v1/jobs`. */
  request: string;
  /** Host and port that were asked. */
  host: string;
  /** Tells keys apart without giving them away: the first 8 hex digits of the SHA-256 of the secret. */
  key?: string;
}

/** Marks our errors for other copies of this library in the same process. */
const brand = Symbol.for('jobferry.error');

/**
 * What the errors of this product have in common: a literal `name`, a stable `code`, fields instead of prose.
 *
 * `instanceof` knows them by brand and name as well: a vendor's module may have loaded a copy of this library of its
 * own, and its `VendorRejectedError` must not be taken for a fault of ours, which would be reconciled.
 */
export abstract class JobferryError extends Error {
  abstract override readonly name: string;
  readonly code: string;
  declare readonly details: Json | undefined;
  /** Set by the HTTP client; in no event. */
  declare origin?: RequestOrigin;

  /** On the prototype: of an error that ends a program, Node prints every property of its own. */
  get [brand](): true {
    return true;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    if (typeof value !== 'object' || value === null || !(brand in value)) return false;
    if (this === JobferryError || (value as { name?: unknown }).name === this.name) return true;
    // A subclass of the other copy's class, under a name of its own.
    for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      if ((at.constructor as { name?: string } | undefined)?.name === this.name) return true;
    }
    return false;
  }

  constructor(code: string, message: string, options: { cause?: unknown; details?: Json } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    if (options.details !== undefined) this.details = options.details;
  }

  toInfo(): ErrorInfo {
    return { code: this.code, message: this.message, ...(this.details === undefined ? {} : { details: this.details }) };
  }
}

/** The submission itself is wrong. Nothing was sent. */
export class InvalidSubmissionError extends JobferryError {
  override readonly name = 'InvalidSubmissionError';
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    const shown = faults.map((fault) => `${fault.path === '' ? 'job data' : fault.path}: ${fault.message}`);
    super('invalid_submission', shown.join('; '), { details: { faults: faults.map((fault) => ({ ...fault })) } });
    this.faults = faults;
  }
}

export interface VendorErrorOptions {
  code?: string;
  httpStatus?: number;
  details?: Json;
  cause?: unknown;
}

export interface VendorRejectedOptions extends VendorErrorOptions {
  /**
   * Of a look-up: the vendor documents this refusal as one of the vendor job that was asked for. Without it a refused
   * look-up counts as that only while other look-ups of the account are answered.
   */
  isAboutVendorJob?: boolean;
}

/** The vendor answered that it will not do this. It took nothing in, and asking again would not help. */
export class VendorRejectedError extends JobferryError {
  override readonly name = 'VendorRejectedError';
  readonly httpStatus: number | undefined;
  readonly isAboutVendorJob: boolean;

  constructor(message: string, options: VendorRejectedOptions = {}) {
    super(options.code ?? 'vendor_rejected', message, options);
    this.httpStatus = options.httpStatus;
    this.isAboutVendorJob = options.isAboutVendorJob === true;
  }
}

/**
 * The credentials, rights or credit of the account are at fault, as far as one answer can tell. Nothing was taken in.
 * `unauthorized` holds the account; `forbidden` and `quota` hold the scope of the request that was refused.
 */
export class AccountHeldError extends JobferryError {
  override readonly name = 'AccountHeldError';
  readonly reason: 'unauthorized' | 'forbidden' | 'quota';
  readonly httpStatus: number | undefined;
  /** The vendor's own word, for the event where the refusal turns out to be about one submission. */
  readonly vendorCode: string | undefined;

  constructor(reason: AccountHeldError['reason'], message: string, options: VendorErrorOptions = {}) {
    const own = { unauthorized: 'vendor_unauthorized', forbidden: 'vendor_forbidden', quota: 'vendor_quota_exhausted' };
    super(own[reason], message, options);
    this.reason = reason;
    this.httpStatus = options.httpStatus;
    this.vendorCode = options.code;
  }
}

/** Too many requests. Nothing was taken in; `retryAfterMs` is the vendor's own number, where it gave one. */
export class VendorThrottledError extends JobferryError {
  override readonly name = 'VendorThrottledError';
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: VendorErrorOptions & { retryAfterMs?: number } = {}) {
    super('vendor_throttled', message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * The vendor could not answer: refused connection, timeout, cut socket, 5xx.
 * `taken` says whether a submit may have been taken in all the same: `no` only when it provably never arrived.
 */
export class VendorUnavailableError extends JobferryError {
  override readonly name = 'VendorUnavailableError';
  readonly taken: 'no' | 'maybe';
  readonly httpStatus: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: VendorErrorOptions & { taken: 'no' | 'maybe'; retryAfterMs?: number }) {
    super(options.code ?? 'vendor_unavailable', message, options);
    this.taken = options.taken;
    this.httpStatus = options.httpStatus;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The answer does not fit what the vendor's documentation says. After a submit, the vendor may have taken it. */
export class VendorContractError extends JobferryError {
  override readonly name = 'VendorContractError';
  readonly httpStatus: number | undefined;

  constructor(message: string, options: VendorErrorOptions = {}) {
    super('vendor_contract', message, options);
    this.httpStatus = options.httpStatus;
  }
}

/** A step after acceptance can never work: the vendor job ends badly with this. */
export class StepFailedError extends JobferryError {
  override readonly name = 'StepFailedError';

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Json } = {}) {
    super(code, message, options);
  }
}

/** A step of a vendor module did not end and was given up. It may still be under way. */
export class StepTimeoutError extends JobferryError {
  override readonly name = 'StepTimeoutError';

  /** It was about several vendor jobs, any of which may be the cause. */
  readonly isShared: boolean;

  constructor(step: string, after: string, isShared = false) {
    super('step_timeout', `${step} did not end: given up after ${after}`);
    this.isShared = isShared;
  }
}

/** A link that was good once; the vendor gives a fresh one on asking. */
export class LinkExpiredError extends JobferryError {
  override readonly name = 'LinkExpiredError';

  constructor(message: string) {
    super('result_unavailable', message);
  }
}

/** The configuration is wrong: the process ends with code 78 before any queue is opened. */
export class ConfigError extends JobferryError {
  override readonly name = 'ConfigError';
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super('config_invalid', faults.map((fault) => `${fault.path}: ${fault.message}`).join('\n'));
    this.faults = faults;
  }
}

/** One id, and what its submission was given otherwise before, such as `input.sourceUrl`. */
export interface TakenId {
  submissionId: string;
  differs: readonly string[];
}

/** An id was used before for something else. The first submission goes on as it is. */
export class IdTakenError extends JobferryError {
  override readonly name = 'IdTakenError';
  readonly taken: readonly TakenId[];

  constructor(taken: readonly TakenId[]) {
    const shown = taken.slice(0, 3).map(({ submissionId, differs }) => {
      return `${submissionId} was submitted before with another ${differs.join(', ')}`;
    });
    const more = taken.length > shown.length ? `; and ${taken.length - shown.length} more` : '';
    super('id_taken', `${shown.join('; ')}${more}: give what is new an id of its own`, {
      details: { taken: taken.slice(0, 100).map((one) => ({ ...one, differs: [...one.differs] })) },
    });
    this.taken = taken;
  }
}

/** Redis did not answer within the bound that producers keep. */
export class RedisUnavailableError extends JobferryError {
  override readonly name = 'RedisUnavailableError';

  constructor(message: string, options: { cause?: unknown } = {}) {
    super('redis_unavailable', message, options);
  }
}

/** The request that an error came of, its own or that of one of its causes. */
export function originOf(error: unknown): RequestOrigin | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    const { origin } = at as { origin?: RequestOrigin };
    if (origin !== undefined) return origin;
  }
  return undefined;
}

/** What an unexpected error says in an event or a log: our own codes if it is ours, `internal_error` if not. */
export function toErrorInfo(error: unknown): ErrorInfo {
  try {
    if (error instanceof JobferryError) return error.toInfo();
    return { code: 'internal_error', message: error instanceof Error ? error.message : String(error) };
  } catch {
    return { code: 'internal_error', message: 'an error that cannot be read was thrown' };
  }
}
