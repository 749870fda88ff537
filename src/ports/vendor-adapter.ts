import type * as z from 'zod';
import type { VendorReport } from '../core/looks.ts';
import type { Json, JsonObject } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { ErrorInfo, Intent, VendorJob, VendorJobStatus } from '../core/submission.ts';
import type { Logger } from './logger.ts';

/**
 * A vendor, as the engine sees it: a declaration. The adapter declares what the vendor can do; the engine does it, with
 * the protection that the declaration allows. Vendors differ here, never by name in the engine.
 *
 * An adapter reports a failure by throwing one of the classes of core/errors.ts. `VendorHttp` throws the right one for
 * every HTTP failure, so an adapter mostly describes requests and reads replies.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- one list holds adapters of different accounts
export interface VendorAdapter<Account = any> {
  /** `^[a-z][a-z0-9-]*$`; names the queues `<name>.submit` and `<name>.poll`. */
  readonly name: string;
  /** One line for `jobferry vendors`. */
  readonly summary: string;
  /** The settings of one account: credentials, base URL, ids. Secrets arrive resolved. */
  readonly account: z.ZodType<Account>;
  /** Environment variables of the account called `default`: field of `account` → variable. */
  readonly environment: Readonly<Record<string, string>>;
  /** The fields of `account` that are secrets. They are kept out of every log and error. */
  readonly secrets: readonly string[];
  /** The vendor is started only if at least one of these fields of `account` is set. */
  readonly credentials: readonly string[];
  readonly http: HttpOptions<Account>;
  readonly lookups: Readonly<Record<string, Lookup<Account>>>;
  readonly operations: Readonly<Record<string, Operation<Account>>>;
  /**
   * Lists the jobs that the vendor has recorded for the account, including those that other programs started, for
   * `jobferry vendor-jobs`. Changes nothing; the engine never calls it. Omit it if the vendor has no such list.
   * @throws as `VendorHttp`
   */
  listVendorJobs?(context: LookupContext<Account>): Promise<readonly ListedVendorJob[]>;
}

/** One row of a vendor's own list of jobs. */
export interface ListedVendorJob {
  id: string;
  status: VendorJobStatus;
  /** The vendor's own word. */
  vendorStatus?: string;
  /** Further facts for people, such as the ids that the vendor's support asks for. */
  details?: JsonObject;
}

export interface HttpOptions<Account> {
  baseUrl(account: Account): string;
  /**
   * Obtains the credential that signs requests. Called once per account and process, again shortly before `expiresAt`,
   * and once after a 401, for all requests that fail together. Not needed if the account itself contains the key.
   * @param realm - the realm of the request; '' if it names none. Each realm has its own credential.
   */
  credential?(account: Account, http: VendorHttp, realm: string): Promise<Credential>;
  /** Statuses after which the credential is renewed and the request is repeated once. Default: 401. */
  readonly renewOn?: readonly number[];
  /** Headers that authorise a request. */
  headers(account: Account, credential: Credential | undefined): Record<string, string>;
  /**
   * Reads what an error answer says beyond its status code: message, code, details, and `as` where the vendor means
   * something else than `reply.meaning`. The common table turns the reading into one of our error classes.
   * @returns only what differs; undefined where nothing does.
   * @example readError: ({ body }) => (codeOf(body) === 'BUSY' ? { as: 'not-taken' } : undefined)
   */
  readError?(reply: ErrorReply): ErrorReading | undefined;
  /**
   * Reads the limits that the vendor announces on any answer.
   * @param reply - `now` is the current time, epoch ms, for headers that name a moment
   */
  readLimits?(reply: { status: number; headers: Headers; now: number }): LimitReport | undefined;
}

export interface Credential {
  token: string;
  /** Epoch ms, by this machine's clock. */
  expiresAt?: number;
  /** True if a renewal would yield the same credential, so that its refusal is final. */
  fixed?: boolean;
}

/** An answer whose status is not 2xx. */
export interface ErrorReply {
  method: string;
  path: string;
  status: number;
  headers: Headers;
  /** Parsed JSON, or the text if it is not JSON, clipped. */
  body: unknown;
  /** The wait that common headers ask for, ms. */
  retryAfterMs: number | undefined;
  /** What the status means by the common table. */
  meaning: ErrorMeaning;
  /** Request and status, to begin a message with: `POST /v1/jobs answered 422`. */
  answered: string;
}

/**
 * What an error answer means. Each is one of our error classes; docs/errors.md says what the engine makes of it.
 *
 * | meaning | by the common table | class |
 * |---|---|---|
 * | `rejected`: refused permanently, nothing was taken in | other 4xx | `VendorRejectedError` |
 * | `unauthorized`: the key of the account is at fault | 401 | `AccountHeldError` |
 * | `forbidden`: the account lacks a right | 403 | `AccountHeldError` |
 * | `quota`: the account has no credit or quota left | 402 | `AccountHeldError` |
 * | `throttled`: too many requests, nothing was taken in | 425, 429 | `VendorThrottledError` |
 * | `not-taken`: not possible now, and provably not taken in; it is sent again | never | `VendorUnavailableError`, taken `no` |
 * | `unavailable`: not possible now; it may have been taken in | 408, 5xx | `VendorUnavailableError`, taken `maybe` |
 * | `unexpected`: no answer that the vendor documents; it may have been taken in | below 400 | `VendorContractError` |
 */
export type ErrorMeaning =
  'rejected' | 'unauthorized' | 'forbidden' | 'quota' | 'throttled' | 'not-taken' | 'unavailable' | 'unexpected';

/** What a vendor says in an error answer, where the common table does not know it. */
export interface ErrorReading {
  /** Where it means something else than `ErrorReply.meaning`. A `not-taken` that is not true submits work twice. */
  as?: ErrorMeaning | undefined;
  /** The whole message, for people. When left out: request, status, and the text of the usual envelopes. */
  message?: string | undefined;
  /** The vendor's own code, shown in events in place of ours. */
  code?: string | undefined;
  /** What else people can use, small and without secrets. */
  details?: Json | undefined;
  /**
   * The wait that the vendor asks for, ms. When left out, that of the headers, but where `as` makes it something else
   * than `throttled`: then say `retryAfterMs: reply.retryAfterMs` where the headers hold for that too.
   */
  retryAfterMs?: number | undefined;
  /** Of a look-up that is `rejected`: the vendor documents the refusal as one of that vendor job. */
  isAboutVendorJob?: boolean | undefined;
}

/** What an answer's headers say about the budget it drew on. */
export interface LimitReport {
  remaining: number;
  /** Time until the budget is restored, ms from now. */
  resetMs: number;
  /** Which budget. Default: on a 429 the budget of the request, otherwise every budget of the account. */
  scope?: Scope;
}

/** Which budget of the account a request draws on. A throttled create must not stop the look-ups that free its slot. */
export type Scope = 'submit' | 'status';

export interface HttpRequest<Reply> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the base URL, without a leading slash; pass parts from outside through `encodeURIComponent`. */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  /** A JSON body. */
  json?: unknown;
  /** Any other body, with its headers; called again at each try. */
  body?: () => Promise<{ body: RequestBody; headers?: Record<string, string> }>;
  headers?: Record<string, string>;
  /** Parses a 2xx body; a body that does not fit is a `VendorContractError`. */
  reply: z.ZodType<Reply>;
  /** Default 30 s. */
  timeoutMs?: number;
  /** Limit for the body, counted after decompression. Default: 8 MiB; 1 MiB in scope `status`. */
  maxBytes?: number;
  /** Sends no credentials: for the request that obtains them. */
  anonymous?: boolean;
  /** Which of the account's credentials signs it, if each covers only a part of the account. */
  realm?: string;
  /** Aborts the request before its timeout: for long requests, when the worker has lost the job. */
  signal?: AbortSignal;
}

export type RequestBody = string | Uint8Array | Blob | FormData | ReadableStream<Uint8Array>;

export interface HttpReply<Reply> {
  status: number;
  headers: Headers;
  body: Reply;
}

/** HTTP to the vendor of one account: bounded, authorised, without redirects to other hosts, errors already classified. */
export interface VendorHttp {
  /**
   * @throws VendorRejectedError, AccountHeldError, VendorThrottledError, VendorUnavailableError, VendorContractError
   */
  request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>>;
}

/** The same per budget that requests draw on: a refusal that mentions limits is about that budget. */
export interface ScopedHttp {
  /** @param timeoutMs - for requests without their own `timeoutMs`. Default: 30 s. */
  forScope(scope: Scope, timeoutMs?: number): VendorHttp;
}

/** Files and links. Size and time are bounded; links are followed only to permitted addresses. */
export interface Transfers {
  /**
   * Opens a file below the files folder for streaming.
   * @throws InvalidSubmissionError when it is missing, empty, a folder, unreadable or outside the folder
   */
  openFile(path: string): Promise<OpenFile>;
  /**
   * PUTs a file to a link with exactly the given headers and without the account's credentials.
   * @param link - `vendorUrl` is the account's base URL: a vendor on a private address may link to private storage.
   * @throws VendorUnavailableError, StepFailedError
   */
  upload(
    link: { url: string; headers: Record<string, string>; vendorUrl: string },
    file: string,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Streams a link into the artifacts folder and computes its SHA-256 while doing so.
   * @throws LinkExpiredError, StepFailedError, VendorUnavailableError
   */
  download(request: DownloadRequest, signal: AbortSignal): Promise<Artifact>;
}

export interface OpenFile {
  size: number;
  stream(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface DownloadRequest {
  url: string;
  vendor: string;
  account: string;
  submissionId: string;
  fileName: string;
  /** Lower-case hex; undefined if the vendor gave none. */
  sha256: string | undefined;
  /**
   * The first bytes of such files, as Latin-1: `PK` for a ZIP. Without a checksum, a file that begins differently is a
   * page sent in its place, and the link counts as dead.
   */
  startsWith?: string;
}

export interface Artifact {
  /** Absolute path. */
  path: string;
  bytes: number;
  sha256: string;
  /** True when the vendor gave a checksum and it is this one. */
  verified: boolean;
}

/** What every step of an operation receives. */
export interface StepContext<Account, Input> {
  readonly submissionId: string;
  readonly account: Account;
  readonly accountName: string;
  readonly input: Input;
  /** The stage of the submission; undefined in the first. */
  readonly stage: string | undefined;
  /** Index of the request to make, if one submit takes several. */
  readonly part: number;
  /** What the previous stage left. */
  readonly carry: Json | undefined;
  /** What `preflight` returned, saved with the intent. */
  readonly snapshot: Json | undefined;
  /** Every vendor job of this submission as last seen, those of earlier parts and stages included. */
  readonly jobs: readonly VendorJob[];
  readonly http: VendorHttp;
  readonly transfers: Transfers;
  readonly now: number;
  /**
   * The deadline that applies now, epoch ms. A confirmation that returns "not yet" is repeated once when it has passed;
   * if that does not settle the submission, it ends as `expired`.
   */
  readonly deadlineAt: number;
  /** 1 for the first try of this request. */
  readonly attempt: number;
  /** How many earlier submits of this request are ambiguous. Above 0, an answer may show the effect of one of them. */
  readonly doubts: number;
  /** When the submission was enqueued, epoch ms. */
  readonly enqueuedAt: number;
  readonly logger: Logger;
  /** Aborts when the worker shuts down or has lost the job; an abort is not a vendor failure. */
  readonly signal: AbortSignal;
  /**
   * Claims a vendor job for this submission, so that no other adopts it. Needed if the identification of a job at the
   * vendor is not unique to one submission.
   * @returns false if another submission owns it.
   */
  claim(vendorJobId: string): Promise<boolean>;
}

/** A vendor job that the vendor has just accepted, or that was found. */
export interface VendorRef {
  id: string;
  /** The name of its look-up in `lookups`; empty if the vendor never started the job. */
  kind: string;
  vendorStatus?: string;
  /** With a terminal status the engine does not poll and confirms the outcome at once. */
  status?: VendorJobStatus;
  extra?: JsonObject;
  /** With a terminal status. */
  result?: Json;
  /** With a terminal status other than `succeeded`. */
  error?: ErrorInfo;
}

export interface SubmitReply {
  /** The vendor jobs to wait for; empty if the vendor names none. */
  jobs: VendorRef[];
  /** True if this submit needs another request: `submit` is called again with `part + 1`, after this one is stored. */
  more?: boolean;
}

export type ReconcileReply =
  /** The vendor took it: these are its jobs. */
  | { found: SubmitReply }
  /** The vendor answered, and the work is not there (so far). */
  | { found: 'absent' }
  /** The vendor took it, but it can never run: submitting again costs nothing. */
  | { found: 'unusable'; reason: string }
  /** The vendor offers no way to find out. */
  | { found: 'unknowable'; reason: string };

export type ConfirmReply =
  | {
      kind: 'confirmed';
      /** Vendor jobs that changed by confirming; omitted ones stay as they are. */
      jobs?: readonly VendorJob[];
      /** Ids of vendor jobs that turned out to represent no separate work; they leave the record. */
      drop?: readonly string[];
    }
  | { kind: 'not-yet'; reason: string; afterMs?: number; jobs?: readonly VendorJob[] }
  | { kind: 'contradicted'; error: ErrorInfo; jobs?: readonly VendorJob[] }
  /** The work continues in another stage: back to `submit`, with the same protection. */
  | { kind: 'next'; stage: string; carry?: Json; jobs?: readonly VendorJob[] };

/**
 * One kind of work that a vendor offers.
 *
 * `resend` declares how safe it is to send an ambiguous submit again:
 * - `safe`: repeating has the same effect; it is sent again
 * - `lookup`: `reconcile` can find it; it is sent again only if it is proven absent
 * - `none`: it ends as `unconfirmed`
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- one record holds operations of different inputs
export interface Operation<Account = any, Input = any> {
  readonly summary: string;
  /** The schema of the job's `input`; strict, every field described. */
  readonly input: z.ZodType<Input>;
  readonly resend: ResendSafety | ((input: Input, account: Account) => ResendSafety);
  readonly poll?: Partial<PollOptions>;
  /** How long the vendor may not know a vendor job before it is lost, or refuse its look-up before it is failed, ms. */
  readonly graceMs?: number;
  /**
   * How long the vendor may take to answer a submit, ms. Default: 30 s. A slower answer makes the submit ambiguous, so
   * allow more if the answer is the only way to the id. Other workers wait that much longer if the sender died.
   */
  readonly submitTimeoutMs?: number;
  /**
   * How long one submit may be in flight, ms, given what `preflight` returned: a large upload takes longer. Until then
   * an unanswered submit may still arrive. Default: the engine's limit.
   */
  inFlightMs?(snapshot: Json | undefined): number;
  /**
   * How long a step may show no activity before it is abandoned, ms. Default: 60 s. The clock stops while an `http`
   * request or a transfer is under way. Needed only if a step waits in another client, which the engine cannot see.
   */
  readonly stepLimitMs?: number;
  /** How long a confirmation may return "not yet" or a contradiction before it counts, ms. */
  readonly confirmGraceMs?: number;
  /**
   * Local checks, and reads of the state before the submit. Runs before the intent is written, so it must change
   * nothing. Its result is saved with the intent.
   * @throws InvalidSubmissionError for input that can never work
   */
  preflight?(context: StepContext<Account, Input>): Promise<Json | undefined>;
  /** The look-up for a vendor job that a person adopts. Default: the adapter's first. */
  readonly jobKind?: string;
  /** True if `submit` makes no request and only names vendor jobs that run already. */
  readonly adopts?: boolean;
  /** One request that starts work. */
  submit(context: StepContext<Account, Input>): Promise<SubmitReply>;
  /** Finds out what became of a submit; changes nothing. Required if `resend` can be `lookup`. */
  reconcile?(context: StepContext<Account, Input>, intent: Intent): Promise<ReconcileReply>;
  /**
   * For submits that take several requests: records the items of a request that was refused or is ambiguous, so that
   * the other requests continue. Called for the request at `part`; makes no request.
   * @returns the items with an empty `kind` and their error, and `more` as `submit` would return it.
   */
  giveUp?(context: StepContext<Account, Input>, error: ErrorInfo): SubmitReply;
  /**
   * The work between acceptance and the vendor's start, such as an upload. Must be repeatable.
   * @returns vendor jobs that changed; omitted ones stay as they are.
   * @throws StepFailedError when it can never work
   */
  prepare?(context: StepContext<Account, Input>): Promise<readonly VendorJob[]>;
  /**
   * Asks the vendor to stop these jobs, if it offers a way. The submission ends as `canceled` in any case, and its event
   * says whether the vendor stopped. Must be repeatable.
   * @param jobs - those of the submission's vendor jobs that are not over.
   */
  cancel?(context: StepContext<Account, Input>, jobs: readonly VendorJob[]): Promise<void>;
  /** Reads the outcome back once all vendor jobs are terminal. Must be repeatable. */
  confirm?(context: StepContext<Account, Input>): Promise<ConfirmReply>;
}

export type ResendSafety = 'safe' | 'lookup' | 'none';

export type { VendorReport } from '../core/looks.ts';

export interface LookupContext<Account> {
  readonly account: Account;
  readonly http: VendorHttp;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Epoch ms. */
  readonly now: number;
}

/** A kind of status request for vendor jobs. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
export interface Lookup<Account = any> {
  /** The most vendor jobs that one request can cover; 1 if the vendor has no batches. */
  readonly maxBatch: number | ((account: Account) => number);
  /** Vendor jobs with different keys never share a request, such as two workspaces. */
  batchKey?(job: LookupJob): string;
  /**
   * One request; changes nothing. Several submissions may wait for one vendor job, each with its own `extra`: `jobs`
   * names the job once, with the `extra` of one of them.
   * @returns per vendor job id a report, or a function that makes one; an omitted job is not visible at the moment.
   * @throws VendorRejectedError: for a batch, one of its jobs is at fault and the engine narrows it down; for a single
   * job with status 404 or 410, the vendor does not know it.
   */
  look(jobs: readonly LookupJob[], context: LookupContext<Account>): Promise<ReadonlyMap<string, LookupAnswer>>;
  /** As that of an operation. */
  readonly stepLimitMs?: number;
}

/**
 * How a vendor job stands.
 * - a report: applies to submissions whose `extra` equals that of `jobs`; the others cost further requests
 * - a function: called with each submission's `extra`, to read this one answer for all of them. Use it whenever a report
 *   depends on `extra`. Undefined means that the job is not visible.
 */
export type LookupAnswer = VendorReport | ((job: LookupJob) => VendorReport | undefined);

export interface LookupJob {
  readonly id: string;
  readonly extra: JsonObject | undefined;
}
