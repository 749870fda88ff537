import type * as z from 'zod';
import type { VendorReport } from '../core/looks.ts';
import type { Json, JsonObject } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { ErrorInfo, Intent, VendorJob, VendorJobStatus } from '../core/submission.ts';
import type { Logger } from './logger.ts';

/**
 * What a vendor is to the engine: a declaration. The adapter says what it can do; the engine does it, with the
 * protection that the declaration allows. Vendors differ here, never by name in the engine.
 *
 * An adapter reports failure by throwing one of the classes of core/errors.ts; `VendorHttp` throws the right one for
 * everything that HTTP can do, so an adapter mostly describes requests and reads replies.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- adapters of different accounts stand in one list
export interface VendorAdapter<Account = any> {
  /** `^[a-z][a-z0-9-]*$`; names the queues `<name>.submit` and `<name>.poll`. */
  readonly name: string;
  /** One line for `jobferry vendors`. */
  readonly summary: string;
  /** What one configured account holds: credentials, base URL, ids. Secrets arrive resolved. */
  readonly account: z.ZodType<Account>;
  /** Environment variables that make up the account called `default`: field of `account` → variable. */
  readonly environment: Readonly<Record<string, string>>;
  /** The fields of `account` that are secrets: kept out of every log and error. */
  readonly secrets: readonly string[];
  /** The fields of `account` of which at least one must be set for the vendor to be started at all. */
  readonly credentials: readonly string[];
  readonly http: HttpOptions<Account>;
  readonly lookups: Readonly<Record<string, Lookup<Account>>>;
  readonly operations: Readonly<Record<string, Operation<Account>>>;
  /**
   * Lists what the vendor has recorded for the account, whoever started it: for `jobferry vendor-jobs`. Changes nothing,
   * and the engine never calls it. Left out where the vendor has no such list.
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
  /** What else people can use, such as the ids that the vendor's support asks for. */
  details?: JsonObject;
}

export interface HttpOptions<Account> {
  baseUrl(account: Account): string;
  /**
   * Obtains what requests are signed with. Called once per account and process, again shortly before `expiresAt`, and
   * once after a 401, for all requests that fail together. Not needed where the account itself holds the key.
   * @param realm - the realm of the request that needs it; '' where it names none. Each realm has its own credential.
   */
  credential?(account: Account, http: VendorHttp, realm: string): Promise<Credential>;
  /** Statuses after which the credential is renewed and the request is made once more; 401 when left out. */
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
   * How the vendor announces its limits on any answer.
   * @param reply - `now` is the time to count from where a header names a moment, epoch ms
   */
  readLimits?(reply: { status: number; headers: Headers; now: number }): LimitReport | undefined;
}

export interface Credential {
  token: string;
  /** Epoch ms, by the clock of this machine. */
  expiresAt?: number;
  /** True where asking anew would only yield the same: a refusal of it is final. */
  fixed?: boolean;
}

/** An answer whose status is not 2xx. */
export interface ErrorReply {
  method: string;
  path: string;
  status: number;
  headers: Headers;
  /** Parsed JSON, or the text when it is none, clipped. */
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
 * | `rejected`: refused for good, nothing was taken in | other 4xx | `VendorRejectedError` |
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

/** What an answer's headers say of the budget it drew on. */
export interface LimitReport {
  remaining: number;
  /** Until the budget is whole again, ms from now. */
  resetMs: number;
  /** Which budget; when left out, that of the request where it was refused with 429, else every one of the account. */
  scope?: Scope;
}

/** Which budget of the account a request draws on. A throttled create must not stop the look-ups that free its slot. */
export type Scope = 'submit' | 'status';

export interface HttpRequest<Reply> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the base URL, no leading slash; parts from outside go through `encodeURIComponent`. */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  /** A JSON body. */
  json?: unknown;
  /** Any other body, with its headers; asked for anew at each try. */
  body?: () => Promise<{ body: RequestBody; headers?: Record<string, string> }>;
  headers?: Record<string, string>;
  /** Parses a 2xx body; what does not fit is a `VendorContractError`. */
  reply: z.ZodType<Reply>;
  /** Default 30 s. */
  timeoutMs?: number;
  /** Counted after decompression. 8 MiB when left out; 1 MiB for what tells how work stands (scope `status`). */
  maxBytes?: number;
  /** Asks without credentials, for the request that obtains them. */
  anonymous?: boolean;
  /** Which of the account's credentials signs it, where one is good for a part of the account only. */
  realm?: string;
  /** Cuts the request off, beside its timeout: for long ones, when the worker has lost the job. */
  signal?: AbortSignal;
}

export type RequestBody = string | Uint8Array | Blob | FormData | ReadableStream<Uint8Array>;

export interface HttpReply<Reply> {
  status: number;
  headers: Headers;
  body: Reply;
}

/** One account's way to its vendor: bounded, authorised, never followed to another host, errors already classified. */
export interface VendorHttp {
  /**
   * @throws VendorRejectedError, AccountHeldError, VendorThrottledError, VendorUnavailableError, VendorContractError
   */
  request<Reply>(request: HttpRequest<Reply>): Promise<HttpReply<Reply>>;
}

/** The same way, by the budget that requests draw on: what a refusal says of limits is about that budget. */
export interface ScopedHttp {
  /** @param timeoutMs - for requests that name no time of their own; 30 s when left out. */
  forScope(scope: Scope, timeoutMs?: number): VendorHttp;
}

/** Where bytes come from and go to. All of it bounded; links are followed only where they may lead. */
export interface Transfers {
  /**
   * Opens a file below the files folder for streaming.
   * @throws InvalidSubmissionError when it is missing, empty, a folder, unreadable or outside the folder
   */
  openFile(path: string): Promise<OpenFile>;
  /**
   * PUTs a file to a link with exactly the given headers and no credentials of ours.
   * @param link - `vendorUrl` is the account's base URL: a vendor on a private address may link to private storage.
   * @throws VendorUnavailableError, StepFailedError
   */
  upload(
    link: { url: string; headers: Record<string, string>; vendorUrl: string },
    file: string,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Streams a link into the artifacts folder and takes its SHA-256 on the way.
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
  /** Lower-case hex; undefined where the vendor gave none. */
  sha256: string | undefined;
  /**
   * What files of this kind begin with, as Latin-1: `PK` for a ZIP. Without a checksum, anything else is a page that was
   * sent in the file's place, and the link counts as dead.
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

/** What every step of an operation is given. */
export interface StepContext<Account, Input> {
  readonly submissionId: string;
  readonly account: Account;
  readonly accountName: string;
  readonly input: Input;
  /** The stage the submission is in; undefined in the first. */
  readonly stage: string | undefined;
  /** Index of the request to make, where one submit takes several. */
  readonly part: number;
  /** What the stage before left. */
  readonly carry: Json | undefined;
  /** What `preflight` saw, saved with the intent. */
  readonly snapshot: Json | undefined;
  /** Every vendor job of this submission as last seen, those of earlier parts and stages included. */
  readonly jobs: readonly VendorJob[];
  readonly http: VendorHttp;
  readonly transfers: Transfers;
  readonly now: number;
  /**
   * The end of the span that the submission is in, epoch ms. A confirmation that says "not yet" is asked once more when
   * it has come, and what it does not settle then ends as `expired`.
   */
  readonly deadlineAt: number;
  /** 1 for the first try of this request. */
  readonly attempt: number;
  /** Earlier submits of this request whose fate is unknown: above 0, an answer may tell of the effect of one of them. */
  readonly doubts: number;
  /** When the submission was enqueued, epoch ms. */
  readonly enqueuedAt: number;
  readonly logger: Logger;
  /** Aborts when the worker shuts down or lost the job; an abort is not a vendor failure. */
  readonly signal: AbortSignal;
  /**
   * Claims a vendor job for this submission, so that no other adopts it. Needed where what identifies a job at the
   * vendor is not ours alone.
   * @returns false when another submission owns it.
   */
  claim(vendorJobId: string): Promise<boolean>;
}

/** A vendor job that the vendor has just taken in, or that was found. */
export interface VendorRef {
  id: string;
  /** Which of `lookups` asks for it; empty for what the vendor never started. */
  kind: string;
  vendorStatus?: string;
  /** A terminal one says that there is nothing to wait for: the outcome is confirmed at once. */
  status?: VendorJobStatus;
  extra?: JsonObject;
  /** With a terminal status. */
  result?: Json;
  /** With a terminal status other than `succeeded`. */
  error?: ErrorInfo;
}

export interface SubmitReply {
  /** The vendor jobs to wait for; empty where the vendor has nothing to wait for. */
  jobs: VendorRef[];
  /** True when this submit needs another request: `submit` is called again with `part + 1`, after this one is stored. */
  more?: boolean;
}

export type ReconcileReply =
  /** The vendor took it: these are its jobs. */
  | { found: SubmitReply }
  /** The vendor answered, and it is not there (yet). */
  | { found: 'absent' }
  /** The vendor took it, and it can never run: submitting anew costs nothing. */
  | { found: 'unusable'; reason: string }
  /** The vendor has no way to tell. */
  | { found: 'unknowable'; reason: string };

export type ConfirmReply =
  | {
      kind: 'confirmed';
      /** Vendor jobs with what confirming learned; those left out stay as they are. */
      jobs?: readonly VendorJob[];
      /** Ids of vendor jobs that stand for no work of their own, as it turned out; they leave the record. */
      drop?: readonly string[];
    }
  | { kind: 'not-yet'; reason: string; afterMs?: number; jobs?: readonly VendorJob[] }
  | { kind: 'contradicted'; error: ErrorInfo; jobs?: readonly VendorJob[] }
  /** The work goes on in a further stage: back to `submit` under the same protection. */
  | { kind: 'next'; stage: string; carry?: Json; jobs?: readonly VendorJob[] };

/**
 * One kind of work that a vendor offers.
 *
 * How safe is a resend after a submit whose fate is unknown?
 * - `safe`: repeating has the same effect; it is sent again
 * - `lookup`: it can be found again; `reconcile` looks, and only what is surely absent is sent again
 * - `none`: it ends as `unconfirmed`
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- operations of different inputs stand in one record
export interface Operation<Account = any, Input = any> {
  readonly summary: string;
  /** What the job's `input` must be; strict, every field described. */
  readonly input: z.ZodType<Input>;
  readonly resend: ResendSafety | ((input: Input, account: Account) => ResendSafety);
  readonly poll?: Partial<PollOptions>;
  /** How long the vendor may not know a vendor job before it is lost, or refuse to tell of it before it is failed, ms. */
  readonly graceMs?: number;
  /**
   * How long the vendor may take to answer a submit, ms; 30 s when left out. Worth more where its answer is the only way to
   * the id: what takes longer is of unknown fate. Another worker waits as much longer for a submit whose worker died.
   */
  readonly submitTimeoutMs?: number;
  /**
   * How long one submit may be under way, ms, given what `preflight` saw: an upload takes as long as its file is large.
   * Until then a submit that nobody answered for may still arrive. The engine's own bound when left out.
   */
  inFlightMs?(snapshot: Json | undefined): number;
  /**
   * How long a step may go without visible activity, ms, before it is given up; 60 s when left out. While a request of
   * `http` or a transfer is under way the clock stands. Needed only where steps wait in clients of their own.
   */
  readonly stepLimitMs?: number;
  /** How long a confirmation may say "not yet" or contradict before it counts, ms. */
  readonly confirmGraceMs?: number;
  /**
   * Local checks, and look-ups of how things stand before the submit. Runs before the intent is written, so it must
   * change nothing. What it returns is saved with the intent.
   * @throws InvalidSubmissionError for input that can never work
   */
  preflight?(context: StepContext<Account, Input>): Promise<Json | undefined>;
  /** Which look-up asks for a vendor job that a person adopts; the adapter's first when left out. */
  readonly jobKind?: string;
  /** True where `submit` makes no request and only names vendor jobs that run already. */
  readonly adopts?: boolean;
  /** One request that starts work. */
  submit(context: StepContext<Account, Input>): Promise<SubmitReply>;
  /** Finds out what became of a submit; changes nothing. Required where `resend` can be `lookup`. */
  reconcile?(context: StepContext<Account, Input>, intent: Intent): Promise<ReconcileReply>;
  /**
   * Where one submit takes several requests: what to note for the pieces of a request that was refused, or whose fate
   * can not be told, so that the other requests go on. Called for the request at `part`; makes no request itself.
   * @returns the pieces under an empty `kind` with their error, and `more` as `submit` would have.
   */
  giveUp?(context: StepContext<Account, Input>, error: ErrorInfo): SubmitReply;
  /**
   * What must still be done after acceptance before the vendor starts, such as an upload. May run again at will.
   * @returns vendor jobs that changed by it; those left out stay as they are.
   * @throws StepFailedError when it can never work
   */
  prepare?(context: StepContext<Account, Input>): Promise<readonly VendorJob[]>;
  /**
   * Tells the vendor that nobody waits for these jobs any more, where it can be told. The submission ends as `canceled`
   * whatever comes of it, and its event says what that was. May run again at will.
   * @param jobs - those of the submission's vendor jobs that are not over.
   */
  cancel?(context: StepContext<Account, Input>, jobs: readonly VendorJob[]): Promise<void>;
  /** Reads the outcome back once all vendor jobs are terminal. May run again at will. */
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

/** A way to ask for the status of vendor jobs. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
export interface Lookup<Account = any> {
  /** The most vendor jobs that one request may ask for; 1 where the vendor has no batch. */
  readonly maxBatch: number | ((account: Account) => number);
  /** Vendor jobs with different keys never share a request, such as two workspaces. */
  batchKey?(job: LookupJob): string;
  /**
   * One request; changes nothing. Several submissions may wait for one vendor job, each with notes (`extra`) of its own:
   * `jobs` names it once, with the notes of one of them.
   * @returns per vendor job id a report, or a function that makes one; a job left out is not visible at the moment.
   * @throws VendorRejectedError: of a batch, one of its jobs is at fault and the engine narrows it down; of a single
   * job with status 404 or 410, the vendor does not know it.
   */
  look(jobs: readonly LookupJob[], context: LookupContext<Account>): Promise<ReadonlyMap<string, LookupAnswer>>;
  /** As that of an operation. */
  readonly stepLimitMs?: number;
}

/**
 * How a vendor job stands.
 * - a report: for all whose notes equal those of `jobs`; others are asked for in further requests
 * - a function: reads what this one request brought for each who asks, with their notes. Better wherever `extra` decides
 *   what a report says. Undefined where the job is not visible.
 */
export type LookupAnswer = VendorReport | ((job: LookupJob) => VendorReport | undefined);

export interface LookupJob {
  readonly id: string;
  readonly extra: JsonObject | undefined;
}
