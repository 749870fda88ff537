import { decideOnLookup } from '../../core/decide.ts';
import { describeSpan } from '../../core/deadline.ts';
import { requestTimeoutMs } from '../../core/request-time.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import * as story from '../../core/story.ts';
import type { Intent, Reconciliation, Resolution, SubmissionState } from '../../core/submission.ts';
import { maxStepTimeouts, noteStepTimeout, onAbsence, onResend } from '../../core/verdicts.ts';
import type { Operation, ReconcileReply, ResendSafety } from '../../ports/vendor-adapter.ts';
import { through } from '../accounts/through.ts';
import { advanced, retryLater, type Move, type Step, type Turn } from '../turn.ts';
import { accept, acceptLeft, leftBehind, settleUnconfirmed } from './accept.ts';

/**
 * `intended` and `reconciling`: finds out what became of a submit whose answer is not stored.
 *
 *   reconciling ──found──► accepted
 *        ├──proven absent, or safe to repeat──► received, next attempt
 *        ├──not sent at all, as its worker noted──► received
 *        └──cannot be determined──► settled as unconfirmed, or a person decides
 */
export async function reconcileStep(turn: Turn): Promise<Step> {
  const { state } = turn;
  if (state.phase === 'intended') {
    // The worker that saved the intent stored no answer, and its call may still be under way.
    // Never later than now: an intent of before a step of the clock is as old as it can be.
    const since = Math.min(state.intent?.at ?? turn.now(), turn.now());
    const ownMs = turn.request.operation.inFlightMs?.(state.snapshot) ?? 0;
    beginReconciling(state, { since, landsUntil: since + Math.max(inFlightMsOf(turn), ownMs) });
    turn.logger.warn({ attempt: state.intent?.attempt }, 'found a submit without an answer');
  }
  const left = await leftBehind(turn);
  if (left?.reply !== undefined) return acceptLeft(turn, left.reply);
  if (left?.unsent === true) {
    turn.logger.info({}, 'the submit was not made: its worker had lost the job');
    advance(state, 'never-sent');
    return advanced;
  }
  const isLast = turn.now() >= state.deadlineAt;
  const step = await lookOnce(turn);
  if (!isLast || step.kind !== 'again') return step;
  return settleUnconfirmed(turn, `it could not be found out within ${describeSpan(state)}`);
}

export function beginReconciling(state: SubmissionState, known: Omit<Reconciliation, 'absent'>): void {
  advance(state, 'outcome-unknown');
  state.reconciliation = { ...known, absent: 0 };
}

async function lookOnce(turn: Turn): Promise<Step> {
  const { state, request } = turn;
  const now = turn.now();
  const known = (state.reconciliation ??= { since: now, landsUntil: now, absent: 0 });
  if (state.resolution !== undefined) return resolve(turn, state.resolution);
  // A worker that lost its lock while the vendor answered hands its acceptance over all the same.
  if (turn.stage === 'submit' && (await isHandedOver(turn))) return { kind: 'duplicate' };
  switch (safetyOf(turn)) {
    case 'safe':
      return resend(turn, 'repeating has the same effect');
    case 'none':
      return onceLanded(turn, known, () => unconfirmed(turn, 'the vendor offers no way to find out'));
    case 'lookup': {
      const { operation } = request;
      if (operation.reconcile === undefined || state.intent === undefined)
        return unconfirmed(turn, 'there is no way to find out');
      return lookUp(turn, known, operation.reconcile.bind(operation), state.intent);
    }
  }
}

async function lookUp(
  turn: Turn,
  known: Reconciliation,
  reconcile: NonNullable<Operation['reconcile']>,
  intent: Intent,
): Promise<Step> {
  const { state, engine, request } = turn;
  const passage = await through(request.account, { scope: 'status', asker: { submission: state.id } }, () =>
    reconcile(turn.context(), intent),
  );
  switch (passage.kind) {
    case 'not-admitted':
      return turn.wait(passage.until, passage.why);
    case 'failed':
      return onLookUpError(turn, passage.error);
    case 'done':
  }
  delete state.failures;
  delete state.stepTimeouts;
  const reply: ReconcileReply = passage.value;
  if (typeof reply.found === 'object') {
    const { jobs } = reply.found;
    turn.logger.info({ vendorJobIds: jobs.map((job) => job.id) }, 'lost submit found and adopted');
    return accept(turn, reply.found, story.found(turn.elapsed(), jobs));
  }
  switch (reply.found) {
    case 'unknowable':
      return onceLanded(turn, known, () => unconfirmed(turn, reply.reason));
    case 'unusable':
      return onceLanded(turn, known, () => resend(turn, reply.reason));
    case 'absent': {
      known.absent += 1;
      const verdict = onAbsence(known, turn.now(), engine.reconcile);
      if (verdict.kind === 'absent') return resend(turn, story.absent(known.absent, verdict.overMs));
      return {
        kind: 'again',
        at: Math.min(turn.now() + verdict.inMs, state.deadlineAt),
        line: story.notListed(turn.elapsed(), known.absent),
      };
    }
    default:
      // A word that the port does not have, from a module that nothing checked: the rounds of the turn are counted.
      return advanced;
  }
}

/** A request that may still reach the vendor is waited for. */
async function onceLanded(turn: Turn, known: Reconciliation, next: () => Promise<Step>): Promise<Step> {
  if (turn.now() >= known.landsUntil) return next();
  return { kind: 'again', at: Math.min(known.landsUntil, turn.state.deadlineAt) };
}

async function onLookUpError(turn: Turn, error: unknown): Promise<Step> {
  const { state } = turn;
  const info = toSafeErrorInfo(error);
  if (noteStepTimeout(state, error)) {
    state.lastError = info;
    return unconfirmed(turn, `${info.message}, ${maxStepTimeouts} times`);
  }
  switch (decideOnLookup(error)) {
    case 'hold':
    case 'throttle':
      return turn.wait(turn.retryAt('status'), info);
    case 'gone':
    case 'backoff':
      return retryLater(turn, error, 'could not be looked up');
  }
}

async function resend(turn: Turn, why: string): Promise<Step> {
  const { state, engine } = turn;
  const doubts = (state.doubts ?? 0) + 1;
  state.doubts = doubts;
  const verdict = onResend(doubts, safetyOf(turn) === 'safe', engine.reconcile, turn.random());
  if (verdict.kind === 'give-up') return unconfirmed(turn, story.givenUpAfter(doubts));
  const notBefore = state.reconciliation?.notBefore ?? 0;
  advance(state, 'send-again');
  turn.logger.warn({ doubts, why }, 'submit is sent again');
  const at = Math.min(Math.max(turn.now() + verdict.inMs, notBefore), state.deadlineAt);
  return { kind: 'again', at, line: story.sentAgain(why) };
}

/** A person decided. */
async function resolve(turn: Turn, resolution: Resolution): Promise<Step> {
  const { state, request, vendor } = turn;
  delete state.awaitsDecision;
  delete state.resolution;
  turn.logger.info({ resolution: resolution.kind }, 'a person resolved the submission');
  switch (resolution.kind) {
    case 'adopt': {
      const kind = request.operation.jobKind ?? Object.keys(vendor.adapter.lookups)[0] ?? '';
      const { vendorJobId: id } = resolution;
      return accept(turn, { jobs: [{ id, kind }] }, story.adoptedByPerson(turn.elapsed(), id));
    }
    case 'resend':
      advance(state, 'send-again-by-decision');
      await turn.save(story.sentAgainByPerson(turn.elapsed()));
      return advanced;
    case 'give-up':
      return settleUnconfirmed(turn, 'a person gave it up');
  }
}

/** The outcome cannot be determined. The configuration says, by operation, whether that ends the submission or a person decides. */
async function unconfirmed(turn: Turn, why: string): Promise<Step> {
  const { state, engine, vendor, operationName } = turn;
  // What another worker left during this look-up is taken over instead.
  if ((await leftBehind(turn)) !== undefined) return advanced;
  const waits = engine.ambiguity[`${vendor.adapter.name}.${operationName}`] === 'wait';
  if (!waits || turn.now() >= state.deadlineAt) return settleUnconfirmed(turn, why);
  const isNews = state.awaitsDecision === undefined;
  state.awaitsDecision = why;
  const move: Move = { kind: 'again', at: state.deadlineAt };
  return isNews ? { ...move, line: story.awaitsDecision(turn.elapsed(), vendor.adapter.name, state.id, why) } : move;
}

/** How long a submit of this operation may still reach the vendor after its worker died: longer where an answer may be. */
export function inFlightMsOf({ engine, request }: Turn): number {
  const { submitTimeoutMs = requestTimeoutMs } = request.operation;
  return engine.reconcile.inFlightMs * Math.max(1, submitTimeoutMs / requestTimeoutMs);
}

async function isHandedOver(turn: Turn): Promise<boolean> {
  return (await turn.engine.store.read(turn.pollAddress)) !== undefined;
}

export function safetyOf(turn: Turn): ResendSafety {
  const { operation, input, account } = turn.request;
  return typeof operation.resend === 'function' ? operation.resend(input, account.account) : operation.resend;
}
