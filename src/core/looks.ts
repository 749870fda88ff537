import { judgeLastLook, type LastLook } from './decide.ts';
import { describeDuration } from './describe.ts';
import { VendorThrottledError, VendorUnavailableError, type VendorRejectedError } from './errors.ts';
import type { Json, JsonObject } from './json.ts';
import { nextPollAt, type PollOptions } from './poll-schedule.ts';
import { printableLine } from './printable.ts';
import { redactText } from './redact.ts';
import { toSafeErrorInfo, toSafeInfo } from './safe-error.ts';
import {
  isOver,
  terminalStatuses,
  type ErrorInfo,
  type SubmissionState,
  type VendorJob,
  type VendorJobStatus,
} from './submission.ts';

/** What one look-up reports about one vendor job. A job that it omits is "not visible", which is not terminal. */
export interface VendorReport {
  status: VendorJobStatus;
  /** The vendor's own word. An unknown word is `running`. */
  vendorStatus?: string;
  progress?: { done: number; total: number };
  /**
   * The event's result for the vendor job. For a running job: what the event should contain if the deadline passes, such
   * as the ids that the vendor's support asks for. Kept until a later report replaces it.
   */
  result?: Json;
  /** Set by a terminal status. */
  error?: ErrorInfo;
  /** Epoch ms. */
  completedAt?: number;
  /** The vendor's hint: no look-up before this time, ms from now. */
  pollAfterMs?: number;
  extra?: JsonObject;
  /** A message for people that ends nothing. Each one is logged, so report it once. */
  notice?: string;
}

/** What one look-up says of one vendor job to one submission. */
export type Look =
  | { kind: 'report'; report: VendorReport }
  /** The vendor answered and did not mention it, or says that it does not know it. */
  | { kind: 'missing'; message: string }
  /** The vendor refuses to tell how it stands; `passedAt` is when it last answered another look-up of the account. */
  | { kind: 'refused'; error: VendorRejectedError; passedAt: number | undefined }
  | { kind: 'failed'; error: unknown }
  /** Nothing was asked: the account is throttled or held, or Redis failed. */
  | { kind: 'not-admitted'; until: number; why: ErrorInfo; /** By the vendor's own hint. */ forbiddenByHint?: true };

/** One answer without a vendor job proves little: vendors show new jobs late and forget them on a fault. */
interface Grace {
  now: number;
  /** How long a vendor job may be missing or refused before that counts, ms. */
  graceMs: number;
  /** The vendor answered a look-up of another vendor job of the submission. */
  isAnswering: boolean;
}

/** The vendor job after a look-up of it. Over once nothing more can be learned of it. */
export function afterLook(job: VendorJob, look: Look, grace: Grace): VendorJob {
  const { missingSince, refused, ...known } = job;
  switch (look.kind) {
    case 'report':
      return afterReport(known, look.report);
    case 'missing': {
      const since = missingSince ?? grace.now;
      const missingMs = grace.now - since;
      if (missingMs < grace.graceMs) return { ...known, missingSince: since };
      const message = `the vendor has not known it for ${describeDuration(missingMs)}`;
      return { ...known, missingSince: since, outcome: 'lost', error: { code: 'vendor_job_lost', message } };
    }
    case 'refused': {
      const since = refused?.since ?? grace.now;
      const error = toSafeErrorInfo(look.error);
      // A vendor that refuses every look-up is at fault itself, and may tell later.
      const isItsOwn = look.error.isAboutVendorJob || grace.isAnswering || (look.passedAt ?? 0) >= since;
      if (!isItsOwn || grace.now - since < grace.graceMs) return { ...known, refused: { since, error } };
      return { ...known, outcome: 'failed', error };
    }
    case 'failed':
    case 'not-admitted':
      return job;
  }
}

/** A terminal status is kept for good. */
function afterReport(job: VendorJob, report: VendorReport): VendorJob {
  const { vendorStatus: _word, progress: _progress, ...known } = job;
  const after: VendorJob = { ...known, status: report.status };
  // Kept only where it says more: a record waits in Redis as long as its vendor works.
  if (report.vendorStatus !== undefined && report.vendorStatus !== report.status)
    after.vendorStatus = printableLine(redactText(report.vendorStatus));
  if (report.extra !== undefined) after.extra = report.extra;
  if (report.result !== undefined) after.result = report.result;
  if (report.error !== undefined) after.error = toSafeInfo(report.error);
  if (report.completedAt !== undefined) after.completedAt = report.completedAt;
  if (!terminalStatuses.has(report.status)) {
    if (report.progress !== undefined) after.progress = report.progress;
    return after;
  }
  switch (report.status) {
    case 'succeeded':
      return { ...after, outcome: 'succeeded' };
    case 'canceled':
      return { ...after, outcome: 'canceled', error: after.error ?? canceledAtVendor };
    case 'failed':
    case 'pending':
    case 'running':
      return { ...after, outcome: 'failed', error: after.error ?? withoutReason };
  }
}

const canceledAtVendor = { code: 'vendor_job_canceled', message: 'the vendor job was canceled at the vendor' };
const withoutReason = { code: 'vendor_job_failed', message: 'the vendor gave no reason' };

/** What look-ups at the deadline came to. The submission may end once there is nothing left to wait for. */
export function lastLookOf(looks: readonly Look[]): LastLook {
  const judged = looks.map(judge);
  if (judged.includes('unanswered')) return 'unanswered';
  return judged.includes('forbidden') ? 'forbidden' : 'answered';
}

function judge(look: Look): LastLook {
  switch (look.kind) {
    case 'report':
    case 'missing':
      return 'answered';
    case 'refused':
    case 'failed':
      return judgeLastLook(look.error);
    case 'not-admitted':
      return look.forbiddenByHint === true ? 'forbidden' : 'unanswered';
  }
}

/** The longest wait that the vendor asked for, ms; undefined where it asked for none. */
export function longestHint(looks: readonly Look[], failure: unknown): number | undefined {
  const hints = looks.flatMap((look) => (look.kind === 'report' ? (look.report.pollAfterMs ?? []) : []));
  const isHinting = failure instanceof VendorThrottledError || failure instanceof VendorUnavailableError;
  if (isHinting && failure.retryAfterMs !== undefined) hints.push(failure.retryAfterMs);
  return hints.length === 0 ? undefined : Math.max(...hints);
}

interface NextLook {
  state: SubmissionState;
  options: PollOptions;
  now: number;
  notLaterThan: number;
  hintMs: number | undefined;
  /** What a failure asks for beside the schedule, epoch ms. */
  notBefore: number;
  graceMs: number;
  random: number;
}

/** When to look again, epoch ms: by schedule, hint and failure; at the end of a grace period, where that comes sooner. */
export function nextLookAt({
  state,
  options,
  now,
  notLaterThan,
  hintMs,
  notBefore,
  graceMs,
  random,
}: NextLook): number {
  const polls = state.polls - (state.earlierPolls ?? 0);
  const scheduled = nextPollAt({ options, polls, now, deadlineAt: notLaterThan, hintMs, random });
  const at = Math.max(scheduled, Math.min(notBefore, notLaterThan));
  if (hintMs !== undefined) return at;
  const graceEnds = state.jobs
    .filter((job) => !isOver(job))
    .flatMap((job) => [job.missingSince ?? [], job.refused?.since ?? []].flat())
    .map((since) => since + graceMs)
    .filter((end) => end > now);
  return Math.max(Math.min(at, now + 250), Math.min(at, ...graceEnds));
}
