import { describeState } from '../../core/describe.ts';
import { lastAnswerBy } from '../../core/deadline.ts';
import { decideOnLookup } from '../../core/decide.ts';
import { StepFailedError } from '../../core/errors.ts';
import { afterLook, lastLookOf, longestHint, nextLookAt, type Look } from '../../core/looks.ts';
import { backoffMs, clamp, longestHintMs } from '../../core/poll-schedule.ts';
import { printableLine } from '../../core/printable.ts';
import { redactText } from '../../core/redact.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import * as story from '../../core/story.ts';
import { isOver, type VendorJob } from '../../core/submission.ts';
import { advanced, type Move, type Step, type Turn } from '../turn.ts';
import { expire, waitForAccount } from './expire.ts';

const defaultGraceMs = 30_000;

type Asked = readonly (readonly [VendorJob, Look])[];

/**
 * `polling`: asks once for every vendor job that is not over.
 *
 *   polling ──some are not over──► polling, later
 *      │    ──all are over──► confirming
 *      └────deadline passed──► one last look-up ──answered, or forbidden by the vendor's hint──► settled as expired
 *                                    └──the vendor cannot be asked──► polling, for as long as the deadline once more
 */
export async function pollStep(turn: Turn): Promise<Step> {
  const { state } = turn;
  const open = state.jobs.filter((job) => !isOver(job));
  if (open.length === 0) {
    advance(state, 'all-over');
    return advanced;
  }
  const now = turn.now();
  const isLast = now >= state.deadlineAt;
  if (state.notBefore !== undefined && state.notBefore > now) {
    // Not even for the last look-up: the vendor's word stands.
    return isLast ? expire(turn, 'forbidden') : { kind: 'again', at: Math.min(state.notBefore, state.deadlineAt) };
  }

  const looks = await Promise.all(open.map(async (job) => [job, await lookAt(turn, job)] as const));
  const asked = looks.filter(([, look]) => look.kind !== 'not-admitted');
  if (asked.length === 0) {
    const refusals = looks.flatMap(([, look]) => (look.kind === 'not-admitted' ? [look] : []));
    return waitForAccount(turn, refusals);
  }
  await turn.engine.checkpoint('looked-up');
  state.polls += 1;
  delete state.notBefore;
  const trouble = applyLooks(turn, asked, now);
  if (state.jobs.every(isOver)) {
    advance(state, 'all-over');
    return advanced;
  }
  if (isLast) {
    const stillOpen = new Set(state.jobs.filter((job) => !isOver(job)).map((job) => job.id));
    const last = lastLookOf(looks.filter(([job]) => stillOpen.has(job.id)).map(([, look]) => look));
    if (trouble !== undefined) state.lastError = toSafeErrorInfo(trouble);
    if (last !== 'unanswered' || now >= lastAnswerBy(state)) return expire(turn, last);
  }
  // Where the deadline passed during this look, the last one follows at once.
  return nextLook(turn, asked, trouble, isLast ? lastAnswerBy(state) : state.deadlineAt);
}

function lookAt({ request: { account }, vendor }: Turn, job: VendorJob): Promise<Look> {
  const gate = account.lookups.get(job.kind);
  if (gate === undefined) {
    const error = new StepFailedError('internal_error', `${vendor.adapter.name} has no look-up for ${job.kind}`);
    return Promise.resolve({ kind: 'failed', error });
  }
  return gate.look({ id: job.id, extra: job.extra });
}

/** Notes what was said of each vendor job. @returns the first failure among the looks */
function applyLooks({ state, request, logger }: Turn, asked: Asked, now: number): unknown {
  const graceMs = request.operation.graceMs ?? defaultGraceMs;
  const isAnswering = asked.some(([, look]) => look.kind === 'report');
  const changed = new Map<string, VendorJob>();
  let failure: unknown;
  for (const [job, look] of asked) {
    if (look.kind === 'failed' || look.kind === 'refused') failure ??= look.error;
    const after = afterLook(job, look, { now, graceMs, isAnswering });
    changed.set(job.id, after);
    if (isOver(after) && look.kind === 'refused')
      logger.warn({ vendorJobId: job.id, errorCode: after.error?.code }, 'the vendor refuses to tell of a vendor job');
    else if (isOver(after) && look.kind === 'missing') logger.warn({ vendorJobId: job.id }, 'vendor job lost');
  }
  state.jobs = state.jobs.map((job) => changed.get(job.id) ?? job);
  return failure;
}

/** When to look again, and the line that says so. */
function nextLook(turn: Turn, asked: Asked, failure: unknown, notLaterThan: number): Move {
  const { state, request } = turn;
  const now = turn.now();
  const hintMs = longestHint(
    asked.map(([, look]) => look),
    failure,
  );
  if (hintMs !== undefined) state.notBefore = now + Math.ceil(clamp(hintMs, 0, longestHintMs));
  const at = nextLookAt({
    state,
    options: request.poll,
    now,
    notLaterThan,
    hintMs,
    notBefore: noteFailure(turn, failure),
    graceMs: request.operation.graceMs ?? defaultGraceMs,
    random: turn.random(),
  });
  const polled = {
    polls: state.polls,
    elapsed: turn.elapsed(),
    notices: logNotices(turn, asked),
    seen: describeLooks(turn),
    // Of this look-up: an earlier one's error is gone by now.
    trouble: state.lastError,
    inMs: at - now,
    isAskedByVendor: hintMs !== undefined,
  };
  return { kind: 'again', at, line: story.polled(polled) };
}

/** @returns what the failure asks for: no look-up before then, epoch ms */
function noteFailure(turn: Turn, failure: unknown): number {
  const { state } = turn;
  if (failure === undefined) {
    delete state.failures;
    delete state.lastError;
    return 0;
  }
  const info = toSafeErrorInfo(failure);
  state.lastError = info;
  turn.logger.warn({ errorCode: info.code, error: info.message, polls: state.polls }, 'look-up failed');
  const decision = decideOnLookup(failure);
  // No attempt is spent: the account decides when.
  if (decision === 'hold' || decision === 'throttle') return turn.retryAt('status');
  state.failures = (state.failures ?? 0) + 1;
  return turn.now() + backoffMs(state.failures, turn.random());
}

function describeLooks({ state }: Turn): string {
  const isMissing = state.jobs.some((job) => !isOver(job) && job.missingSince !== undefined);
  return isMissing
    ? 'not visible at the vendor'
    : describeState({ ...state, phase: 'polling' }).replace(/^polling: /, '');
}

/** @returns what the looks found worth telling people, for the board; the log gets each of them */
function logNotices(turn: Turn, asked: Asked): string[] {
  return asked.flatMap(([job, look]) => {
    if (look.kind !== 'report' || look.report.notice === undefined) return [];
    const notice = printableLine(redactText(look.report.notice));
    turn.logger.warn({ vendorJobId: job.id, notice }, 'notice');
    return [notice];
  });
}
