import type { BoundFault } from '../faults/definition.ts';
import { traitOf } from '../faults/traits.ts';
import type { WorkClock } from '../work-clock.ts';
import type { Dialect, KnowhereSettings } from './settings.ts';
import { waitingDeadlineSeconds } from './settings.ts';
import type { WorkingStatus, WorkPlan } from './work-plan.ts';

/** Why a job failed, in the vendor's words. */
export interface JobFailure {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What came in for a job: an upload on disk, or nothing but a URL. */
export interface Material {
  readonly bytes: number;
  readonly pages: number;
  /** File in the sandbox's temporary folder; null for URL jobs. */
  readonly path: string | null;
  /** Set when the document itself cannot be parsed. */
  readonly defect: string | null;
}

/** How a job ended. */
export interface JobEnd {
  readonly atMs: number;
  readonly failure: JobFailure | null;
}

/** A job as the vendor keeps it. How it stands is computed from the clock, by `standing`. */
export interface KnowhereJob {
  readonly id: string;
  /** Dialect it was created in: sets its walk and the layout of its ZIP. */
  readonly dialect: Dialect;
  readonly user: string;
  readonly sourceType: 'url' | 'file';
  readonly sourceUrl: string | null;
  readonly fileName: string;
  /** Lower case, without the dot. */
  readonly extension: string;
  readonly dataId: string | null;
  readonly namespace: string;
  /** Existing document that this job parses anew; null for a new one. */
  readonly documentId: string | null;
  readonly model: string;
  readonly ocrEnabled: boolean;
  /** Position in order of creation. */
  readonly index: number;
  readonly createdAtMs: number;
  /** Present on file jobs: what the upload must carry. */
  readonly upload: { readonly contentType: string } | null;
  faults: readonly BoundFault[];
  material: Material | null;
  /** Null until the work begins. */
  plan: WorkPlan | null;
  ended: JobEnd | null;
  deletedAtMs: number | null;
  lookups: number;
  /** Look-ups since the work began. */
  workLookups: number;
  /** Look-ups that said `done`. */
  doneLookups: number;
  deadLinks: Set<string> | null;
  archive: { readonly sha256: string; readonly bytes: number } | null;
}

/** How a job stands at one moment. */
export type Standing =
  | { readonly status: WorkingStatus; /** 0 to 1 of the present phase. */ readonly part: number }
  | { readonly status: 'done' | 'failed'; readonly end: JobEnd };

/**
 * Reads off the clock how a job stands, and keeps the end once it is there: a later change of speed must not bring a
 * finished job back to life.
 *
 * waiting-file → pending → [converting →] running → done | failed, by elapsed work time; a plan that has not begun is
 * `waiting-file`. Server deadlines run in wall time, counted from the last change of status.
 */
export function standing(job: KnowhereJob, nowMs: number, clock: WorkClock, settings: KnowhereSettings): Standing {
  if (job.ended !== null) return { status: job.ended.failure === null ? 'done' : 'failed', end: job.ended };
  const waitMs = waitingDeadlineSeconds(settings, job.dialect) * 1_000;
  const { plan } = job;
  if (plan === null) {
    if (nowMs <= job.createdAtMs + waitMs) return { status: 'waiting-file', part: 0 };
    return end(job, job.createdAtMs + waitMs, expired('UPLOAD_EXPIRED', 'Upload was not completed in time'));
  }

  const stall = traitOf(job.faults, 'stall');
  const endsAfterLookups = traitOf(job.faults, 'done-after');
  if (endsAfterLookups !== undefined && stall === undefined) {
    const wanted = Number(endsAfterLookups);
    if (job.workLookups >= wanted) return end(job, nowMs, outcome(job));
    return { status: job.workLookups * 2 < wanted ? 'pending' : 'running', part: job.workLookups / wanted };
  }

  let begins = plan.startsAtWorkMs;
  const work = clock.workAt(nowMs);
  const lastIndex = plan.phases.length - 1;
  for (const [index, { status, lengthMs }] of plan.phases.entries()) {
    const stallsHere = stall !== undefined && (stall === status || index === lastIndex);
    if (stallsHere || work < begins + lengthMs) {
      const shown = stallsHere ? (stall as WorkingStatus) : status;
      const isWaiting = shown === 'waiting-file' || shown === 'pending';
      const dueMs = clock.wallAt(begins) + (isWaiting ? waitMs : settings.runningDeadlineSeconds * 1_000);
      if (nowMs > dueMs) return end(job, dueMs, expired('JOB_EXPIRED', 'Job exceeded its processing deadline'));
      return { status: shown, part: stallsHere ? 0.42 : Math.max(0, (work - begins) / lengthMs) };
    }
    begins += lengthMs;
  }
  return end(job, Math.min(nowMs, clock.wallAt(begins)), outcome(job));
}

/** Ends a job, for good. */
export function end(job: KnowhereJob, atMs: number, failure: JobFailure | null): Standing {
  job.ended = { atMs: Math.max(atMs, job.createdAtMs), failure };
  return { status: failure === null ? 'done' : 'failed', end: job.ended };
}

function outcome(job: KnowhereJob): JobFailure | null {
  const isFailing =
    traitOf(job.faults, 'fail-without-error') !== undefined || traitOf(job.faults, 'fail-with-text') !== undefined;
  const code = traitOf(job.faults, 'fail') ?? (isFailing ? 'INTERNAL_ERROR' : undefined);
  if (code !== undefined) return scriptedFailure(code);
  const defect = job.material?.defect ?? null;
  return defect === null ? null : { code: 'INVALID_ARGUMENT', message: defect };
}

/** A failure with the message that goes with its code. */
export function scriptedFailure(code: string, message?: string): JobFailure {
  const messages: Record<string, string> = {
    INVALID_ARGUMENT: 'Unable to parse document: file appears to be corrupted',
    PAYMENT_REQUIRED: 'Insufficient credits to process this document',
    NOT_FOUND: 'Source file could not be found',
    PERMISSION_DENIED: 'Source file is not accessible',
    UNAVAILABLE: 'A required service is temporarily unavailable',
    DEADLINE_EXCEEDED: 'Processing took too long',
    JOB_EXPIRED: 'Job exceeded its processing deadline',
    UPLOAD_EXPIRED: 'Upload was not completed in time',
  };
  const failure = {
    code,
    message: message ?? messages[code] ?? 'An internal error occurred while processing the document',
  };
  return code === 'PAYMENT_REQUIRED' ? { ...failure, details: { required_credits: 10, current_balance: 0 } } : failure;
}

function expired(code: string, message: string): JobFailure {
  return { code, message };
}
