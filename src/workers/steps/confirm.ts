import { lastAnswerBy, nextBound } from '../../core/deadline.ts';
import { decideOnLookup, judgeLastLook } from '../../core/decide.ts';
import { AccountHeldError, StepFailedError, VendorThrottledError, VendorUnavailableError } from '../../core/errors.ts';
import { clamp, longestHintMs } from '../../core/poll-schedule.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import * as story from '../../core/story.ts';
import { isOver } from '../../core/submission.ts';
import type { ConfirmReply } from '../../ports/vendor-adapter.ts';
import { through } from '../accounts/through.ts';
import { advanced, waitAfterFailure, type Move, type Step, type Turn } from '../turn.ts';
import { expire, waitForAccount } from './expire.ts';
import { untilCanceled } from './until-canceled.ts';

const defaultConfirmGraceMs = 15_000;
/** Wait before a confirmation that gave no time of its own is asked for again, ms. */
const confirmRetryMs = 2_000;
/** Undefined after a cancel. */
type Confirmed = { value: ConfirmReply | undefined } | undefined;

/** Stages of one operation. The most of those that we know is two. */
const maxStages = 20;

/**
 * `confirming`: reads the outcome back where a status is not the outcome, and fetches results where asked to.
 *
 *   confirming ──confirmed──► settled
 *        ├──not yet──► confirming, later
 *        ├──contradicted past its grace──► settled as failed
 *        ├──next stage──► received
 *        └──deadline passed──► as in `polling`
 */
export async function confirmStep(turn: Turn): Promise<Step> {
  const { state, request } = turn;
  const { operation, account } = request;
  if (operation.confirm === undefined) return turn.settleByJobs();
  if (state.notBefore !== undefined && state.notBefore > turn.now()) {
    if (turn.now() >= state.deadlineAt) return expire(turn, 'forbidden');
    return { kind: 'again', at: Math.min(state.notBefore, state.deadlineAt) };
  }
  const passage = await through(
    account,
    {
      scope: 'status',
      asker: { submission: state.id },
      // A storage host that is down says nothing of the vendor's API.
      tellsOfAccount: (error) => error instanceof AccountHeldError || error instanceof VendorThrottledError,
      // Only an answer of the vendor shows that the account works.
      showsThatItWorks: (confirmed: Confirmed, isAsked) => confirmed?.value !== undefined && isAsked,
    },
    async (http): Promise<Confirmed> => {
      delete state.notBefore;
      state.confirmingSince ??= turn.now();
      return untilCanceled(turn, async (signal) => operation.confirm?.(turn.context({ http, signal })));
    },
  );
  switch (passage.kind) {
    case 'not-admitted':
      return waitForAccount(turn, [passage]);
    case 'failed':
      return onConfirmError(turn, passage.error);
    case 'done':
      return passage.value?.value === undefined ? advanced : onReply(turn, passage.value.value);
  }
}

async function onReply(turn: Turn, reply: ConfirmReply): Promise<Step> {
  const { state, request } = turn;
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
      await turn.save(story.nextStage(turn.elapsed(), reply.stage));
      return advanced;
    case 'not-yet':
      if (state.jobs.some((job) => !isOver(job))) advance(state, 'not-over');
      return confirmLater(turn, reply.reason, reply.afterMs);
    case 'contradicted': {
      const graceMs = request.operation.confirmGraceMs ?? defaultConfirmGraceMs;
      const sinceMs = turn.now() - (state.confirmingSince ?? turn.now());
      if (sinceMs < graceMs && turn.now() < state.deadlineAt) {
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
  const wait = waitAfterFailure(turn, error);
  const hint = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
  if (hint !== undefined) state.notBefore = now + Math.ceil(clamp(hint, 0, longestHintMs));
  return {
    kind: 'again',
    at: Math.min(now + wait, nextBound(state, now)),
    line: story.notConfirmed(turn.elapsed(), info.message, wait),
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
    line: story.notConfirmed(turn.elapsed(), reason, at - now),
  };
}
