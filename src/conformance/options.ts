import type { Outcome } from '../core/submission.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import type { ConformanceDouble, Route } from './double.ts';

/** What `conformance` is told: the adapter, its double, and what differs from vendor to vendor. */
export interface ConformanceOptions<Double extends ConformanceDouble = ConformanceDouble> {
  adapter: VendorAdapter;
  /** A Redis for tests; every case works under a key prefix of its own and removes it. */
  redisUrl: string | (() => string);
  /** Starts a double. Every case gets one of its own, so that cases can run side by side. */
  double: () => Double | Promise<Double>;
  /**
   * The variables that make up the account `default`.
   * Left out, each of the adapter's credentials is a made-up text, and `baseUrl` is the double's.
   */
  env?: (double: Double) => Record<string, string>;
  /** Every operation of the adapter, by name; several entries where one has several ways to go. */
  operations: Readonly<Record<string, OperationCases<Double> | readonly OperationCases<Double>[]>>;
  /** Every look-up of the adapter, by the name it has there. */
  lookups: Readonly<Record<string, LookupCases>>;
  /** Cases that run at a time; 12 when left out. */
  concurrency?: number;
  /** How long one case may take, ms; 45,000 when left out. */
  timeoutMs?: number;
}

/** What an input is made from. */
export interface Given<Double> {
  double: Double;
  /** Where `file` inputs are read from: write the file here and name it by its relative path. */
  filesDir: string;
  /** Another number for each input of a case. */
  n: number;
}

export const submitCases = [
  'happy-path',
  'refused-input',
  'bad-request',
  'unauthorized',
  'forbidden',
  'rate-limited',
  'rate-limited-without-hint',
  'rate-limited-at-once',
  'unavailable',
  'cut-before',
  'cut-after',
  'server-error-after',
  'unreadable',
  'slow-reply',
  'huge-reply',
  'odd-errors',
  'hostile-error',
  'others-forbidden',
  'others-rate-limited',
] as const;
export type SubmitCase = (typeof submitCases)[number];

/** What befalls files, of operations that have an `upload` or a `result`. */
export const fileCases = ['upload-link-dead', 'result-late', 'result-link-dead', 'page-for-result'] as const;
export type FileCase = (typeof fileCases)[number];

export interface OperationCases<Double = ConformanceDouble> {
  /** Tells several entries of one operation apart. */
  title?: string;
  /** An input that works; each call asks for another piece of work. */
  input(given: Given<Double>): unknown;
  /** The request that starts the work. Left out where the operation declares `adopts`. */
  submit?: Route;
  /** How many of them one submission takes; 1 when left out. */
  submits?: number;
  /** The request that uploads the file of an input. Left out where there is none. */
  upload?: Route;
  /** The request that downloads the result. Left out where there is none. */
  result?: Route;
  /**
   * How many pieces of work there are at the double. One is wanted, however often it was asked: this is what shows
   * that a resend which is declared `safe` is not. It can be left out where the double can not tell.
   */
  made?(double: Double): number | Promise<number>;
  /**
   * How a submit of unknown fate ends here, where that is not what the declared resend safety alone would lead to,
   * and why.
   */
  afterDoubt?: { outcome: Outcome; submits: number; because: string };
  /** Cases that make no sense here, each with the reason. */
  notApplicable?: Partial<Record<SubmitCase | FileCase, string>>;
}

export const lookupCases = [
  'unauthorized',
  'rate-limited',
  'rate-limited-without-hint',
  'server-error',
  'unavailable-for-long',
  'cut-before',
  'unreadable',
  'huge-reply',
  'slow-reply',
  'empty',
  'unknown-status',
  'gone',
  'partial',
  'duplicate-rows',
  'reordered-rows',
  'poison',
  'refused',
  'odd-word',
  'other-case',
  'empty-error',
  'text-error',
  'shared-job',
] as const;
export type LookupCase = (typeof lookupCases)[number];

export interface LookupCases {
  /** The operation whose vendor jobs are looked up. */
  via: string;
  /** The `title` of its entry, where it has several. */
  title?: string;
  route: Route;
  /** Every status word that ends a vendor job, and what becomes of the submission. */
  ends: Readonly<Record<string, Outcome>>;
  /** What becomes of a submission whose vendor job the vendor does not know any more; `lost` when left out. */
  gone?: Outcome;
  /** What becomes of a submission whose vendor job makes the vendor refuse its whole batch; as `gone` when left out. */
  poisoned?: Outcome;
  /** What becomes of a submission whose vendor job the vendor refuses to tell of, while it tells of others; `failed`. */
  refused?: Outcome;
  /** Cases that make no sense here, each with the reason. */
  notApplicable?: Partial<Record<LookupCase, string>>;
}

/** One case, ready to run under any test framework or none. */
export interface ConformanceCase {
  /** What it is about: an operation, a look-up, or the declaration as a whole. */
  group: string;
  name: string;
  /** @throws AssertionError */
  run(): Promise<void>;
}
