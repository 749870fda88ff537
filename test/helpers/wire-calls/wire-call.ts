import type { Intent, VendorJob } from '../../../src/core/submission.ts';
import type { LookupJob, StepContext, VendorAdapter } from '../../../src/ports/vendor-adapter.ts';

/** An answer as it went out, and what it says when read by other means than the adapters'. */
export interface Served {
  status: number;
  /** The bytes of the body. */
  body: Buffer;
  /** The JSON in it; undefined where there is none. */
  json: unknown;
}

export interface Good {
  status?: number;
  json?: unknown;
  body?: string;
  headers?: Record<string, string>;
}

/**
 * One request of one step of an adapter, under attack: its answers are hostile, those of the other requests of the
 * step are good. What the vendor really said is told by functions that share no code with the adapters.
 */
export interface WireCall {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- adapters of three accounts stand in one list
  adapter: VendorAdapter<any>;
  account: Record<string, string>;
  /** `<operation>.<step>`, `lookups.<name>` or `http.credential`. */
  step: string;
  /** Tells two attacks on one step apart. */
  variant?: string;
  /** `POST /v1/jobs`; `*` takes one segment. */
  route: string;
  /** Good answers, at random one of them is damaged. */
  bodies: (url: string) => unknown[];
  /** Success has this status; 200 when left out. */
  status?: number;
  others?: (url: string) => Record<string, Good>;
  context?: (url: string) => Partial<StepContext<unknown, unknown>>;
  intent?: Intent;
  /** For a look-up. */
  jobs?: LookupJob[];
  /**
   * Of a look-up or a confirmation: does this answer, read strictly, say that the work is done well?
   * Of a preparation: that the vendor has the file? Of a reconciliation: that this is our work? Of a preflight: that
   * the submission can never work?
   */
  says?: (served: Served) => boolean;
  /** The status line says it all; whatever becomes of the body is of no account. */
  isHeadEnough?: boolean;
  /** Every answer leads to an error. */
  isHopeless?: boolean;
  /** Of a submit: the ids of vendor jobs that this answer names. */
  names?: (served: Served) => unknown[];
  /** Of a submit: ids that do not come from the answer. */
  ownIds?: readonly string[];
  /** Of a submit: an answer with an error status that says all the same that work was begun. */
  beganDespite?: (served: Served) => boolean;
  /** Of a submit: an answer with an error status that says for sure that nothing was begun. */
  surelyNot?: (served: Served) => boolean;
  /** Of a submit: an empty answer says that the vendor took it. */
  isEmptyTaken?: boolean;
}

export const uuid = '3f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f';
export const other = '11111111-2222-4333-8444-555555555555';
export const third = '99999999-8888-4777-8666-123456789012';
export const when = '2026-11-22T10:00:00.000Z';
export const before = '2026-11-01T10:00:00.000Z';

export function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

export const rows = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** A text; empty for everything else, also for what can not be turned into one. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

export const isSame = (one: unknown, another: string): boolean => textOf(one).toLowerCase() === another.toLowerCase();

export function vendorJob(id: string, kind: string, rest: Partial<VendorJob> = {}): VendorJob {
  return { id, kind, status: 'succeeded', outcome: 'succeeded', ...rest };
}

export const nameOf = (call: WireCall): string =>
  `${call.adapter.name} ${call.step}${call.variant === undefined ? '' : ` (${call.variant})`}, ${call.route}`;
