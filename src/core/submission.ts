import type { Json, JsonObject } from './json.ts';

/**
 * How a submission ended: the eight words of the public contract.
 */
export const outcomes = [
  'succeeded',
  'failed',
  'partial',
  'rejected',
  'expired',
  'canceled',
  'lost',
  'unconfirmed',
] as const;
export type Outcome = (typeof outcomes)[number];

/** How a vendor job stands, in our closed set. An adapter maps its vendor's words to these at its door. */
export const vendorJobStatuses = ['pending', 'running', 'succeeded', 'failed', 'canceled'] as const;
export type VendorJobStatus = (typeof vendorJobStatuses)[number];

/** The statuses after which a vendor job never changes again. The one place that says so. */
export const terminalStatuses: ReadonlySet<VendorJobStatus> = new Set(['succeeded', 'failed', 'canceled']);

/** How a vendor job ended for us: its terminal status, or `lost` when the vendor stopped knowing it. */
export type VendorJobOutcome = 'succeeded' | 'failed' | 'canceled' | 'lost';

/** What went wrong, as it stands in events and records. Never holds a secret. */
export interface ErrorInfo {
  /** Stable, machine-readable; ours are listed in docs/errors.md, a vendor's own codes pass through. */
  code: string;
  message: string;
  details?: Json;
}

/**
 * The states of a submission (docs/state-machine.md):
 *
 *   received ─► intended ─► accepted ─► polling ─► confirming ─► settled
 *                  └─► reconciling ──────┘             └─► received (next stage)
 *
 * - received: parsed and validated, nothing was sent. Also between two parts or stages.
 * - intended: written before the vendor is called. Whoever finds it without an answer must not simply send again.
 * - reconciling: the fate of a submit is unknown and is being looked up.
 * - accepted: every vendor job id is stored; repeatable preparation (an upload) may still run.
 * - polling: look-ups are made until every vendor job is terminal.
 * - confirming: all are terminal; resources are read back, results are fetched. Repeatable.
 * - settled: the outcome is written and never changes; only the event is still delivered.
 */
export const phases = ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming', 'settled'] as const;
export type Phase = (typeof phases)[number];

/** One piece of long-running work at the vendor, and the last thing it said of it. */
export interface VendorJob {
  /** The vendor's id, opaque to us. */
  id: string;
  /** Which of the adapter's look-ups asks for it. */
  kind: string;
  status: VendorJobStatus;
  /** The vendor's own word for the status, as last seen. */
  vendorStatus?: string;
  /** Set once it is over. */
  outcome?: VendorJobOutcome;
  result?: Json;
  error?: ErrorInfo;
  /** When the vendor says that it ended, epoch ms. */
  completedAt?: number;
  progress?: { done: number; total: number };
  /** Since when look-ups do not find it, epoch ms; gone again when it is found. */
  missingSince?: number;
  /** The vendor refuses to tell how it stands: since when, epoch ms, and why; gone again when it tells. */
  refused?: { since: number; error: ErrorInfo };
  /** Small facts that the adapter keeps with the job, such as what it looked like before. */
  extra?: JsonObject;
}

/** How a submission ended; written once, before its event is sent, so that every delivery says the same. */
export interface Settlement {
  outcome: Outcome;
  error: ErrorInfo | null;
  /** Epoch ms. */
  at: number;
}

/** A submit that was begun: written before the vendor is called. */
export interface Intent {
  /** 1 for the first try of this part. */
  attempt: number;
  /** When the call was about to be made, epoch ms. */
  at: number;
  /** SHA-256 of what was about to be sent, 16 hex digits: tells two submits of one submission apart. */
  fingerprint: string;
}

/** What is known of requests for one submission that were refused as the account's fault (401, 402, 403). Epoch ms. */
export interface Refusals {
  /** The last one. */
  at: number;
  /** The first one for that reason: when it was sent, and when it was refused. */
  first: { sentAt: number; at: number; reason: 'unauthorized' | 'forbidden' | 'quota' };
}

/** What a person decided about a submit whose fate is unknown. */
export type Resolution = { kind: 'adopt'; vendorJobId: string } | { kind: 'resend' } | { kind: 'give-up' };

/** What reconciling knows so far. */
export interface Reconciliation {
  /** When the submit was seen to fail, or, where nobody saw it, when it was about to be made; epoch ms. */
  since: number;
  /** Until when a request that nobody saw the end of may still reach the vendor, epoch ms. */
  landsUntil: number;
  /** Look-ups that answered, and did not find it. */
  absent: number;
  /** The vendor asked for no other submit before this, epoch ms. */
  notBefore?: number;
}

/**
 * The record of one submission: all that the engine knows, saved at every arrow.
 * It lives in a hash field of ours of the BullMQ job that carries the submission at the moment (core/record.ts), which no
 * call of a BullMQ client reaches. Times are epoch ms.
 */
export interface SubmissionState {
  v: 1;
  id: string;
  /**
   * Tells one use of the submission id from the next, after the first was forgotten; part of the event id. Missing in
   * records that the version before settled.
   */
  use?: string;
  phase: Phase;
  enqueuedAt: number;
  /** The end of the span that the submission is in, epoch ms; see core/deadline.ts. */
  deadlineAt: number;
  /** When the vendor had accepted the whole of the first stage; null before, missing in records of older versions. */
  acceptedAt?: number | null;
  /** The operation's stage; the first has none. */
  stage?: string;
  /** Index of the request to make next where one submit takes several; the first has none. */
  part?: number;
  /** What one stage left for the next. */
  carry?: Json;
  /** What was seen before the submit, kept with the intent. */
  snapshot?: Json;
  intent?: Intent;
  reconciliation?: Reconciliation;
  /** Submits of this request whose fate was unknown so far. */
  doubts?: number;
  /** When the vendor's acceptance of the last submit was stored. */
  submittedAt?: number;
  jobs: VendorJob[];
  /** Status look-ups made for this submission. */
  polls: number;
  /** Those of them that earlier stages made: waits grow anew in each stage. */
  earlierPolls?: number;
  /** Failures since the last thing that worked; drives backoff only. */
  failures?: number;
  /** Refusals of the request to make next; gone when the vendor takes it. */
  refused?: Refusals;
  /** Steps in a row that never ended and were given up. */
  stepTimeouts?: number;
  /** Stages that a confirmation has asked for. */
  stages?: number;
  /** The vendor asked not to be asked before this. */
  notBefore?: number;
  /** When confirming began, for its grace period. */
  confirmingSince?: number;
  /** Set while a submit of unknown fate waits for a person: why it could not be told. */
  awaitsDecision?: string;
  resolution?: Resolution;
  /** When a caller asked for it to be canceled. */
  cancelRequestedAt?: number;
  /** The last thing that went wrong, for the event if time runs out. */
  lastError?: ErrorInfo;
  settled?: Settlement;
}

/** The record of a submission that was just taken from its queue. @param deadlineAt - when it must be accepted */
export function receive(id: string, use: string | undefined, enqueuedAt: number, deadlineAt: number): SubmissionState {
  return {
    v: 1,
    id,
    ...(use === undefined ? {} : { use }),
    phase: 'received',
    enqueuedAt,
    deadlineAt,
    acceptedAt: null,
    jobs: [],
    polls: 0,
  };
}

/** Names one use of a submission id. Chance keeps two uses apart that begin in the same millisecond. */
export function nameUse(now: number, random: number): string {
  return `${Math.floor(now).toString(36)}${Math.floor(random * 36 ** 4)
    .toString(36)
    .padStart(4, '0')}`;
}

/** @returns undefined when the value is not a record of this engine. */
export function readState(value: unknown): SubmissionState | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const candidate = value as Partial<SubmissionState>;
  if (candidate.v !== 1 || typeof candidate.id !== 'string' || !Array.isArray(candidate.jobs)) return undefined;
  if (!phases.includes(candidate.phase as Phase)) return undefined;
  return candidate as SubmissionState;
}

/** A record that the version before left in `progress`; not the words that stand there now (`progressOf`). */
export function readOldRecord(progress: unknown): SubmissionState | undefined {
  const state = readState(progress);
  return state === undefined || (state.phase === 'settled' && state.settled === undefined) ? undefined : state;
}

/** A cancel that a client of the version before left in the `progress` field. */
export function readCancelRequest(progress: unknown): number | undefined {
  if (typeof progress !== 'object' || progress === null) return undefined;
  const at = (progress as { cancelRequestedAt?: unknown }).cancelRequestedAt;
  return typeof at === 'number' && Number.isFinite(at) ? at : undefined;
}

/** True once nothing more can be learned of this vendor job. */
export function isOver(job: VendorJob): boolean {
  return job.outcome !== undefined;
}

/**
 * What the ends of all vendor jobs make of the submission.
 * @param jobs - every one of them over; an empty list is work that needed no waiting.
 */
export function combineOutcomes(jobs: readonly VendorJob[]): 'succeeded' | 'failed' | 'partial' | 'lost' {
  const ended = new Set(jobs.map((job) => job.outcome));
  if (ended.size === 0) return 'succeeded';
  if (ended.has('succeeded')) return ended.size === 1 ? 'succeeded' : 'partial';
  return ended.size === 1 && ended.has('lost') ? 'lost' : 'failed';
}

/** Progress over all vendor jobs as a fraction of the work, or undefined where no vendor tells. */
export function overallProgress(state: SubmissionState): { done: number; total: number } | undefined {
  if (state.jobs.length > 1) {
    return { done: state.jobs.filter(isOver).length, total: state.jobs.length };
  }
  return state.jobs[0]?.progress;
}
