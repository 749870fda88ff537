import { isAccepted } from './deadline.ts';
import { StepTimeoutError } from './errors.ts';
import { backoffMs } from './poll-schedule.ts';
import {
  isOver,
  type ErrorInfo,
  type Outcome,
  type Reconciliation,
  type SubmissionState,
  type VendorJob,
} from './submission.ts';

/** Decisions of the engine without its actions: a record and what is known in, what to do out. */

/** How a lost submit is looked for before it counts as proven absent. */
export interface ReconcileOptions {
  /** Waits before the first and the following look-ups, ms; the last one repeats. */
  gapsMs: readonly number[];
  /** Look-ups that must have answered "not there". */
  minAbsentLooks: number;
  /** How long after the vendor could last have taken it in absence counts as proof, ms. */
  absenceMs: number;
  /** How long a request of a worker that died may still be under way, ms. */
  inFlightMs: number;
  /** Submits of one request, each lost and then absent, before it is given up as `unconfirmed`. */
  maxAttempts: number;
}

/** Job lists lag: a late submit needs time to appear before its absence counts, ms. */
const listLagMs = 10_000;
/**
 * Pauses before each resend of a submit proven absent, as multiples of `absenceMs`. A few submits should outlast an outage
 * in which submits fail and look-ups answer, because each may be one that no look-up shows.
 */
const resendRests = [0, 0.5, 5, 30];
/** Steps in a row that never ended, after which the module is not expected to end any. */
export const maxStepTimeouts = 3;

/** What ends a submission before its next step. */
export type Ending =
  | 'none'
  | 'canceled'
  /** Its next request was not made, and its time is over. */
  | 'unsent'
  /** It was accepted and could not be prepared in time: the vendor is looked up once all the same. */
  | 'unprepared';

export function endingOf(state: SubmissionState, now: number): Ending {
  if (state.cancelRequestedAt !== undefined) return 'canceled';
  if (now < state.deadlineAt) return 'none';
  switch (state.phase) {
    case 'received':
      return 'unsent';
    case 'accepted':
      return 'unprepared';
    // These have one last try at the deadline.
    case 'intended':
    case 'reconciling':
    case 'polling':
    case 'confirming':
    case 'settled':
      return 'none';
    default:
      return state.phase satisfies never;
  }
}

/**
 * A look-up answered, and did not find the submit.
 * @param known - with that look-up counted
 */
export function onAbsence(
  known: Reconciliation,
  now: number,
  options: Pick<ReconcileOptions, 'absenceMs' | 'minAbsentLooks' | 'gapsMs'>,
): { kind: 'absent'; overMs: number } | { kind: 'look-again'; inMs: number } {
  const { absenceMs, minAbsentLooks, gapsMs } = options;
  const sureAt = Math.max(known.since + absenceMs, known.landsUntil + Math.min(listLagMs, absenceMs));
  if (known.absent >= minAbsentLooks && now >= sureAt) return { kind: 'absent', overMs: now - known.since };
  return { kind: 'look-again', inMs: gapsMs[Math.min(known.absent, gapsMs.length - 1)] ?? 10_000 };
}

/**
 * A submit is proven absent, or safe to repeat.
 * @param doubts - submits of this request whose outcome was unknown, this one included
 * @param isSafe - repeating has the same effect, so an outage may last as long as the submission may wait
 */
export function onResend(
  doubts: number,
  isSafe: boolean,
  { maxAttempts, absenceMs }: Pick<ReconcileOptions, 'maxAttempts' | 'absenceMs'>,
  random: number,
): { kind: 'resend'; inMs: number } | { kind: 'give-up' } {
  if (!isSafe && doubts >= maxAttempts) return { kind: 'give-up' };
  const restMs = isSafe ? 0 : absenceMs * (resendRests[doubts - 1] ?? 0);
  return { kind: 'resend', inMs: Math.max(backoffMs(doubts, random), restMs) };
}

/** Counts steps that never ended. @returns true once none is expected to end */
export function noteStepTimeout(state: SubmissionState, error: unknown): boolean {
  if (!(error instanceof StepTimeoutError)) {
    delete state.stepTimeouts;
    return false;
  }
  state.stepTimeouts = (state.stepTimeouts ?? 0) + 1;
  return state.stepTimeouts >= maxStepTimeouts;
}

/** How a submission ends of which every request was given up; undefined where one was accepted. */
export function endOfGivenUp(jobs: readonly VendorJob[]): { outcome: Outcome; error: ErrorInfo } | undefined {
  const error = jobs[0]?.error;
  if (error === undefined || jobs.some((job) => job.kind !== '')) return undefined;
  if (jobs.some((job) => job.error?.code === 'submit_ambiguous')) return { outcome: 'unconfirmed', error };
  const unsent = jobs.find((job) => job.error?.code === 'not_submitted_in_time')?.error;
  return unsent === undefined ? { outcome: 'rejected', error } : { outcome: 'expired', error: unsent };
}

/**
 * How far a submission got, for one that can be carried no further.
 * @param isSafe - its resend safety is `safe`; of other submits it was found out that they created nothing, before they
 * are sent again
 */
export function progressOfSubmit(
  { phase, doubts, submittedAt }: SubmissionState,
  isSafe: () => boolean,
): 'unsent' | 'in-doubt' | 'accepted' {
  if (phase === 'intended' || phase === 'reconciling') return 'in-doubt';
  if (phase === 'received' && doubts !== undefined && isSafe()) return 'in-doubt';
  return phase === 'received' && submittedAt === undefined ? 'unsent' : 'accepted';
}

/** Why a submission ends whose next request was not made in time. @param span - as `describeSpan` says it */
export function unsentError(state: SubmissionState, span: string): ErrorInfo {
  const cause = state.lastError === undefined ? {} : { details: { lastError: { ...state.lastError } } };
  return isAccepted(state)
    ? { code: 'deadline_exceeded', message: `not over ${span}: what was to follow is not sent any more`, ...cause }
    : { code: 'not_submitted_in_time', message: `not accepted within ${span}`, ...cause };
}

/** One error for vendor jobs that did not all succeed. */
export function summariseErrors(jobs: readonly VendorJob[]): ErrorInfo {
  const bad = jobs.filter((job) => isOver(job) && job.outcome !== 'succeeded');
  const [first] = bad;
  if (jobs.length === 1 && first?.error !== undefined) return first.error;
  const codes = [...new Set(bad.map((job) => job.error?.code ?? 'vendor_job_failed'))];
  const [only] = codes;
  return {
    code: codes.length === 1 && bad.length === jobs.length ? (only ?? 'vendor_job_failed') : 'partial_failure',
    message: `${bad.length} of ${jobs.length} vendor jobs ended badly`,
    details: { codes },
  };
}
