import type { FaultCatalogue } from './faults/catalogue.ts';
import type { ActiveFault, BoundFault, Refusal } from './faults/definition.ts';
import type { Call } from './http/call.ts';
import type { Reply } from './http/reply.ts';
import type { RequestKind } from './ledger-entry.ts';
import type { VendorSettings } from './vendor-settings.ts';

/** What a vendor's double says about a request before anything happens. */
export interface Admission {
  /** A route name of the vendor, or `unknown`. */
  readonly route: string;
  /** The vendor job that the request names. */
  readonly jobId: string | null;
  readonly dataId: string | null;
  /** Source URL or file name, on creates. */
  readonly source: string | null;
  readonly apiKey: string | undefined;
  /** What the request is for, where the route's name does not say (`create`, `lookup`). */
  readonly kind?: RequestKind | undefined;
  /** Jobs that a batched look-up asks for. */
  readonly jobIds?: readonly string[] | undefined;
  /** Faults of the job that the request names, or of the marked text that it submits. */
  readonly faults: readonly BoundFault[];
}

/** The faults that the vendor's own code has to act on, in one request. Those of a job are drawn where the job is made. */
export interface VendorFaults {
  readonly active: readonly ActiveFault[];
}

/** A job as the control routes show it; the same for every vendor. */
export interface JobView {
  readonly vendor: string;
  readonly id: string;
  readonly status: string;
  readonly isTerminal: boolean;
  readonly createdAt: string;
  readonly endedAt: string | null;
  readonly dataId: string | null;
  readonly source: string | null;
  /** Look-ups of this one job answered so far, batched ones included. */
  readonly lookups: number;
  /** Names of the faults that belong to it. */
  readonly faults: readonly string[];
}

/** Every given field must match. */
export interface JobFilter {
  readonly vendor?: string | undefined;
  readonly status?: string | undefined;
  readonly dataId?: string | undefined;
  /** A part of the source. */
  readonly source?: string | undefined;
  readonly isTerminal?: boolean | undefined;
  /** Default 100, newest first. */
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

/** How a job is ended by hand. `code` and `message` go into the job's error. */
export interface JobEnding {
  readonly outcome: 'done' | 'failed';
  readonly code?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * Answers a control route.
 * @param body - the parsed JSON body; `{}` when there is none
 * @throws VendorSettingError or a ZodError when the request does not fit
 */
export type VendorControl = (body: unknown, call: Call, id: string) => Promise<Reply> | Reply;

/**
 * One vendor's API, played by us. The frame around it takes requests, decides on faults, keeps the ledger and sends
 * replies; a double only knows its vendor. Adding a vendor is one folder with one of these, and a line in `vendors.ts`.
 */
export interface VendorDouble {
  readonly name: string;
  /** First path segments that lead here; the first one is the vendor's base URL. */
  readonly basePaths: readonly [string, ...string[]];
  readonly catalogue: FaultCatalogue;
  readonly settings: Pick<VendorSettings<object>, 'current' | 'change' | 'reset'>;
  /** Names route and job of a request. May read the body; changes nothing. */
  admit(call: Call): Promise<Admission> | Admission;
  /** Does what the vendor would do. */
  handle(call: Call, admission: Admission, faults: VendorFaults): Promise<Reply> | Reply;
  /** Puts a refusal into the vendor's own words. */
  refuse(refusal: Refusal, call: Call, admission: Admission): Reply;
  /** Gives a job's fault to a job that exists; false when there is none. */
  attachFault(jobId: string, fault: BoundFault): boolean;
  jobs(filter: JobFilter): { total: number; jobs: JobView[] };
  job(jobId: string): JobView | null;
  /** Ends a job by hand; false when there is none, or it has ended already. */
  finish(jobId: string, ending: JobEnding): boolean;
  /** Control routes of this vendor alone, keyed like `POST /_control/<vendor>/…`; `:id` takes one segment. */
  readonly controlRoutes?: Readonly<Record<string, VendorControl>> | undefined;
  /** Forgets everything: jobs, counted requests, uploaded files. */
  clear(): Promise<void>;
}
