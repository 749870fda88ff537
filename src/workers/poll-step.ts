import { describeSpan, lastAnswerBy, nextBound } from '../core/deadline.ts';
import { decideOnLookup, judgeLastLook, type LastLook } from '../core/decide.ts';
import { describeDuration, describeState } from '../core/describe.ts';
import { AccountHeldError, StepFailedError, VendorThrottledError, VendorUnavailableError } from '../core/errors.ts';
import { backoffMs, clamp, floorHint, longestHintMs, nextPollAt } from '../core/poll-schedule.ts';
import { printableLine } from '../core/printable.ts';
import { redactText } from '../core/redact.ts';
import { toSafeErrorInfo, toSafeInfo } from '../core/safe-error.ts';
import { advance } from '../core/state-machine.ts';
import { isOver, terminalStatuses, type VendorJob } from '../core/submission.ts';
import type { ConfirmReply, VendorHttp, VendorReport } from '../ports/vendor-adapter.ts';
import type { Look } from './lookup-gate.ts';
import type { Move, Turn } from './turn.ts';
import { untilCanceled } from './until-canceled.ts';

const defaultGraceMs = 30_000;
const defaultConfirmGraceMs = 15_000;
/** A vendor job that is missing is asked for more than once before it counts as lost, however long a poll takes. */
const confirmRetryMs = 2_000;
/** Stages of one operation. The most of those that we know is two. */
const maxStages = 20;

/**
 * `polling`: asks once for every vendor job that is not over.
 *
 *   polling ──some are not over──► polling, later
 *      │    ──all are over──► confirming
 *      └────deadline passed──► one last look-up ──answered, or forbidden by the vendor's hint──► settled as expired
 *                                    └──the vendor can not be asked──► polling, for as long as the deadline once more
 */
export async function pollStep(turn: Turn): Promise<Move | undefined> {
  const { state, request } = turn;
  const open = state.jobs.filter((job) => !isOver(job));
  if (open.length === 0) {
    advance(state, 'all-over');
    return undefined;
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
  const trouble = applyLooks(turn, asked);
  if (state.jobs.every(isOver)) {
    advance(state, 'all-over');
    return undefined;
  }
  if (isLast) {
    const last = combine(looks.filter(([job]) => !isOver(job)).map(([, look]) => judge(look)));
    if (trouble !== undefined) state.lastError = toSafeErrorInfo(trouble);
    if (last !== 'unanswered' || now >= lastAnswerBy(state)) return expire(turn, last);
  }
  // Where the deadline passed during this look, the last one follows at once.
  return nextLook(turn, asked, trouble, isLast ? lastAnswerBy(state) : state.deadlineAt);

  function lookAt({ request: { account } }: Turn, job: VendorJob): Promise<Look> {
    const gate = account.lookups.get(job.kind);
    if (gate === undefined) {
      const error = new StepFailedError('internal_error', `${turn.vendor.adapter.name} has no look-up for ${job.kind}`);
      return Promise.resolve({ kind: 'failed', error });
    }
    return gate.look({ id: job.id, extra: job.extra });
  }

  /** @returns the first failure among the looks. */
  function applyLooks({ logger }: Turn, found: readonly (readonly [VendorJob, Look])[]): unknown {
    let failure: unknown;
    const graceMs = request.operation.graceMs ?? defaultGraceMs;
    const isAnswering = found.some(([, look]) => look.kind === 'report');
    for (const [job, look] of found) {
      if (look.kind === 'report') applyReport(job, look.report);
      else if (look.kind === 'refused') {
        failure ??= look.error;
        delete job.missingSince;
        const error = toSafeErrorInfo(look.error);
        const { since } = (job.refused = { since: job.refused?.since ?? now, error });
        // A vendor that refuses every look-up is at fault itself, and may tell later.
        const isItsOwn = look.error.isAboutVendorJob || isAnswering || (look.passedAt ?? 0) >= since;
        if (!isItsOwn || now - since < graceMs) continue;
        job.outcome = 'failed';
        job.error = error;
        delete job.refused;
        logger.warn({ vendorJobId: job.id, errorCode: error.code }, 'the vendor refuses to tell of a vendor job');
      } else if (look.kind === 'missing') {
        delete job.refused;
        job.missingSince ??= now;
        // One answer without it proves little: vendors show new jobs late and forget them on a fault.
        if (now - job.missingSince >= graceMs) {
          job.outcome = 'lost';
          job.error = {
            code: 'vendor_job_lost',
            message: `the vendor has not known it for ${describeDuration(now - job.missingSince)}`,
          };
          logger.warn({ vendorJobId: job.id }, 'vendor job lost');
        }
      } else if (look.kind === 'failed') {
        failure ??= look.error;
      }
    }
    return failure;
  }
}

type Refusal = Pick<Extract<Look, { kind: 'not-admitted' }>, 'until' | 'why' | 'forbiddenByHint'>;

/** Nothing could be asked. */
async function waitForAccount(turn: Turn, refusals: readonly Refusal[]): Promise<Move> {
  const now = turn.now();
  const { state } = turn;
  const [first] = refusals;
  if (first === undefined) throw new Error('no vendor job to wait for');
  const move = turn.wait(Math.max(...refusals.map((refusal) => refusal.until)), first.why);
  if (now < state.deadlineAt) return move;
  const last = combine(refusals.map((refusal) => (refusal.forbiddenByHint === true ? 'forbidden' : 'unanswered')));
  return last === 'unanswered' && now < lastAnswerBy(state) ? move : expire(turn, last);
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

/** The submission may end once there is nothing left to wait for. */
function combine(looks: readonly LastLook[]): LastLook {
  if (looks.includes('unanswered')) return 'unanswered';
  return looks.includes('forbidden') ? 'forbidden' : 'answered';
}

/** Notes a report on a vendor job. A terminal status is kept for good. */
function applyReport(job: VendorJob, report: VendorReport): void {
  delete job.missingSince;
  delete job.refused;
  job.status = report.status;
  // Kept only where it says more: a record waits in Redis as long as its vendor works.
  if (report.vendorStatus === undefined || report.vendorStatus === report.status) delete job.vendorStatus;
  else job.vendorStatus = printableLine(redactText(report.vendorStatus));
  if (report.progress === undefined) delete job.progress;
  else job.progress = report.progress;
  if (report.extra !== undefined) job.extra = report.extra;
  if (report.result !== undefined) job.result = report.result;
  if (report.error !== undefined) job.error = toSafeInfo(report.error);
  if (report.completedAt !== undefined) job.completedAt = report.completedAt;
  if (!terminalStatuses.has(report.status)) return;
  delete job.progress;
  switch (report.status) {
    case 'succeeded':
      job.outcome = 'succeeded';
      break;
    case 'canceled':
      job.outcome = 'canceled';
      job.error ??= { code: 'vendor_job_canceled', message: 'the vendor job was canceled at the vendor' };
      break;
    case 'failed':
    case 'pending':
    case 'running':
      job.outcome = 'failed';
      job.error ??= { code: 'vendor_job_failed', message: 'the vendor gave no reason' };
  }
}

/** When to look again, and the line that says so. */
function nextLook(
  turn: Turn,
  asked: readonly (readonly [VendorJob, Look])[],
  failure: unknown,
  notLaterThan: number,
): Move {
  const { state, request } = turn;
  const now = turn.now();
  const notices = tellNotices(turn, asked);
  const hintMs = longestHint(asked, failure);
  let at = nextPollAt({
    options: request.poll,
    polls: state.polls - (state.earlierPolls ?? 0),
    now,
    deadlineAt: notLaterThan,
    hintMs,
    random: turn.random(),
  });
  if (hintMs !== undefined) state.notBefore = now + Math.ceil(clamp(hintMs, 0, longestHintMs));
  let trouble = '';
  if (failure === undefined) {
    delete state.failures;
    delete state.lastError;
  } else {
    const info = toSafeErrorInfo(failure);
    state.lastError = info;
    trouble = `${info.code}: ${info.message}; `;
    const decision = decideOnLookup(failure);
    if (decision === 'hold' || decision === 'throttle') {
      // No attempt is spent: the account decides when.
      at = Math.max(at, Math.min(turn.retryAt('status'), notLaterThan));
    } else {
      state.failures = (state.failures ?? 0) + 1;
      at = Math.max(at, Math.min(now + backoffMs(state.failures, turn.random()), notLaterThan));
    }
    turn.logger.warn({ errorCode: info.code, error: info.message, polls: state.polls }, 'look-up failed');
  }
  const open = state.jobs.filter((job) => !isOver(job));
  const missingSince = open.flatMap((job) => job.missingSince ?? []);
  if (hintMs === undefined) {
    // The end of a grace period is a time worth looking at.
    const graceMs = request.operation.graceMs ?? defaultGraceMs;
    const graceEnds = [...missingSince, ...open.flatMap((job) => job.refused?.since ?? [])]
      .map((since) => since + graceMs)
      .filter((end) => end > now);
    at = Math.max(Math.min(at, now + 250), Math.min(at, ...graceEnds));
  }
  const due = describeDuration(at - now);
  const because = hintMs === undefined ? '' : ' (asked by the vendor)';
  const seen =
    missingSince.length > 0
      ? 'not visible at the vendor'
      : describeState({ ...state, phase: 'polling' }).replace(/^polling: /, '');
  return {
    kind: 'again',
    at,
    line: `poll ${state.polls} at ${turn.elapsed()}: ${notices}${trouble === '' ? `${seen}, ` : trouble}next in ${due}${because}`,
  };
}

/** @returns what the looks found worth telling people, for the board; the log gets each of them. */
function tellNotices(turn: Turn, asked: readonly (readonly [VendorJob, Look])[]): string {
  const notices = asked.flatMap(([job, look]) => {
    if (look.kind !== 'report' || look.report.notice === undefined) return [];
    const notice = printableLine(redactText(look.report.notice));
    turn.logger.warn({ vendorJobId: job.id, notice }, 'notice');
    return [notice];
  });
  if (notices.length === 0) return '';
  const shown = notices.slice(0, 3).join('; ');
  return notices.length > 3 ? `${shown} and ${notices.length - 3} more like this; ` : `${shown}; `;
}

function longestHint(asked: readonly (readonly [VendorJob, Look])[], failure: unknown): number | undefined {
  const hints = asked.flatMap(([, look]) => (look.kind === 'report' ? (look.report.pollAfterMs ?? []) : []));
  const isHinting = failure instanceof VendorThrottledError || failure instanceof VendorUnavailableError;
  if (isHinting && failure.retryAfterMs !== undefined) hints.push(failure.retryAfterMs);
  return hints.length === 0 ? undefined : Math.max(...hints);
}

async function expire(turn: Turn, last: LastLook): Promise<Move> {
  const { state } = turn;
  for (const job of state.jobs) {
    if (!isOver(job) && job.refused !== undefined) job.error = job.refused.error;
  }
  const cause = state.lastError;
  const why = {
    answered: '',
    forbidden: ', and the vendor asked not to be asked then',
    unanswered: `, and the vendor could not be asked for another ${describeDuration(lastAnswerBy(state) - state.deadlineAt)}`,
  }[last];
  const [what, rest] = state.jobs.every(isOver)
    ? ['the outcome was not confirmed', '']
    : ['not over', '; the vendor may still be working'];
  return turn.settle('expired', {
    code: 'deadline_exceeded',
    message: `${what} ${describeSpan(state)}${why}${rest}`,
    ...(cause === undefined ? {} : { details: { lastError: { code: cause.code, message: cause.message } } }),
  });
}

/**
 * `confirming`: reads the outcome back where a status is not the outcome, and fetches results where asked to.
 *
 *   confirming ──confirmed──► settled
 *        ├──not yet──► confirming, later
 *        ├──contradicted past its grace──► settled as failed
 *        ├──next stage──► received
 *        └──deadline passed──► as in `polling`
 */
export async function confirmStep(turn: Turn): Promise<Move | undefined> {
  const { state, request } = turn;
  const { operation, account } = request;
  if (operation.confirm === undefined) return turn.settleByJobs();
  if (state.notBefore !== undefined && state.notBefore > turn.now()) {
    if (turn.now() >= state.deadlineAt) return expire(turn, 'forbidden');
    return { kind: 'again', at: Math.min(state.notBefore, state.deadlineAt) };
  }
  const admission = await account.gate.admit('status', { submission: state.id });
  if (!admission.admitted) return waitForAccount(turn, [admission]);
  delete state.notBefore;
  state.confirmingSince ??= turn.now();
  let reply: ConfirmReply;
  let isAsked = false;
  const status = account.http.forScope('status');
  const http: VendorHttp = {
    request: (request) => {
      isAsked = true;
      return status.request(request);
    },
  };
  try {
    const confirmed = await untilCanceled(turn, async (signal) => operation.confirm?.(turn.context({ http, signal })));
    if (confirmed?.value === undefined) {
      await account.gate.abandon(admission);
      return undefined;
    }
    reply = confirmed.value;
  } catch (error) {
    // A storage host that is down says nothing of the vendor's API.
    if (error instanceof AccountHeldError || error instanceof VendorThrottledError)
      await account.gate.settle(admission, error);
    else await account.gate.abandon(admission);
    return onConfirmError(turn, error);
  }
  // Only an answer of the vendor shows that the account works.
  if (isAsked) await account.gate.settle(admission, undefined);
  else await account.gate.abandon(admission);
  turn.mergeJobs(reply.jobs);
  delete state.lastError;
  switch (reply.kind) {
    case 'confirmed': {
      const dropped = new Set(reply.drop);
      state.jobs = state.jobs.filter((job) => !dropped.has(job.id));
      return turn.settleByJobs();
    }
    case 'next':
      state.stages = (state.stages ?? 0) + 1;
      if (state.stages > maxStages) {
        const message = `the operation has begun ${maxStages} stages and asks for another: it goes in circles`;
        return turn.settle('failed', { code: 'internal_error', message });
      }
      state.stage = reply.stage;
      if (reply.carry === undefined) delete state.carry;
      else state.carry = reply.carry;
      state.earlierPolls = state.polls;
      advance(state, 'next-stage');
      await turn.save(`next stage at ${turn.elapsed()}: ${reply.stage}`);
      return undefined;
    case 'not-yet':
      if (state.jobs.some((job) => !isOver(job))) advance(state, 'not-over');
      return confirmLater(turn, reply.reason, reply.afterMs);
    case 'contradicted': {
      const graceMs = operation.confirmGraceMs ?? defaultConfirmGraceMs;
      if (turn.now() - state.confirmingSince < graceMs && turn.now() < state.deadlineAt) {
        return confirmLater(turn, reply.error.message, confirmRetryMs);
      }
      state.jobs = state.jobs.map((job) =>
        job.outcome === 'succeeded' ? { ...job, outcome: 'failed', error: reply.error } : job,
      );
      return turn.settle('failed', reply.error);
    }
  }
}

async function onConfirmError(turn: Turn, error: unknown): Promise<Move> {
  const { state } = turn;
  const info = toSafeErrorInfo(error);
  if (error instanceof StepFailedError) {
    state.jobs = state.jobs.map((job) =>
      job.outcome === 'succeeded' ? { ...job, outcome: 'failed', error: info } : job,
    );
    return turn.settleByJobs();
  }
  state.lastError = info;
  turn.logger.warn({ errorCode: info.code, error: info.message }, 'outcome could not be confirmed yet');
  const decision = decideOnLookup(error);
  const now = turn.now();
  const last = judgeLastLook(error);
  if (now >= state.deadlineAt && (last !== 'unanswered' || now >= lastAnswerBy(state))) return expire(turn, last);
  if (decision === 'hold' || decision === 'throttle') return turn.wait(turn.retryAt('status'), info);
  state.failures = (state.failures ?? 0) + 1;
  const hint = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
  if (hint !== undefined) state.notBefore = now + Math.ceil(clamp(hint, 0, longestHintMs));
  const wait = Math.max(
    backoffMs(state.failures, turn.random()),
    hint === undefined ? 0 : floorHint(hint, turn.random()),
  );
  return {
    kind: 'again',
    at: Math.min(now + wait, nextBound(state, now)),
    line: `not confirmed at ${turn.elapsed()}: ${info.message}; again in ${describeDuration(wait)}`,
  };
}

async function confirmLater(turn: Turn, reason: string, afterMs: number | undefined): Promise<Move> {
  const { state } = turn;
  const now = turn.now();
  if (now >= state.deadlineAt) return expire(turn, 'answered');
  const wait = clamp(afterMs ?? confirmRetryMs, 250, turn.request.poll.maxDelayMs);
  const at = Math.min(now + wait * (1 + 0.1 * turn.random()), state.deadlineAt);
  return {
    kind: 'again',
    at,
    line: `not confirmed at ${turn.elapsed()}: ${reason}; again in ${describeDuration(at - now)}`,
  };
}
