import { createHash } from 'node:crypto';
import { canBeOwnFault, decideOnLookup, decideOnSubmit } from '../core/decide.ts';
import { describeSpan, noteAcceptance } from '../core/deadline.ts';
import { describeDuration } from '../core/describe.ts';
import { StepFailedError, StepTimeoutError, VendorThrottledError, VendorUnavailableError } from '../core/errors.ts';
import { backoffMs, clamp, floorHint, longestHintMs, nextPollAt } from '../core/poll-schedule.ts';
import { redactText } from '../core/redact.ts';
import { requestTimeoutMs } from '../core/request-time.ts';
import { toSafeErrorInfo, toSafeInfo } from '../core/safe-error.ts';
import { advance } from '../core/state-machine.ts';
import {
  isOver,
  type ErrorInfo,
  type Intent,
  type Resolution,
  type VendorJob,
} from '../core/submission.ts';
import type { ReconcileReply, ResendSafety, SubmitReply, VendorRef } from '../ports/vendor-adapter.ts';
import type { Settled } from './account-gate.ts';
import { lockDurationMs } from './engine.ts';
import { saysOfVendor } from '../core/module-fault.ts';
import { TurnLostError, type Move, type Turn } from './turn.ts';
import { untilCanceled } from './until-canceled.ts';

/**
 * Waits before a submit that was found to be absent is sent again, in times of what makes absence sure (35 s). Few submits
 * have to outlast an outage in which submits fail and look-ups answer, because each may be one that nobody can see.
 */
const resendRests = [0, 0.5, 5, 30];
/** From the intent to the request, ms: less than a lock lives, so that no other worker has the submission yet. */
export const sendWithinMs = 4_000;
/** Steps in a row that never ended, after which nothing else is to be expected of the module. */
const maxStepTimeouts = 3;

/**
 * From `received` to `accepted`: the only place that calls a vendor's submit.
 *
 *   received ──intent saved──► intended ──answer──► accepted (or `received` for the next part)
 *                                 ├──refused──► settled as rejected
 *                                 ├──nothing was created──► received, later
 *                                 └──nobody knows──► reconciling ──found──► accepted
 *                                                        ├──surely absent──► received, next attempt
 *                                                        └──can not be told──► settled as unconfirmed
 *
 * Each function returns a move, or undefined when the record advanced and the turn goes on.
 */
export async function submitStep(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  if (state.phase === 'intended') {
    // Somebody was about to call the vendor, and nobody wrote down what came of it. The call may still be under way.
    // Never later than now: an intent of before a step of the clock is as old as it can be.
    const intendedAt = Math.min(state.intent?.at ?? turn.now(), turn.now());
    const ownMs = turn.request.operation.inFlightMs?.(state.snapshot) ?? 0;
    beginReconciling(turn, intendedAt, intendedAt + Math.max(inFlightMsOf(turn), ownMs));
    turn.logger.warn({ attempt: state.intent?.attempt }, 'found a submit without an answer');
  }
  const left = state.intent === undefined ? undefined : await turn.engine.store.leftFor(turn.address, state.intent);
  if (left?.reply !== undefined) {
    const answer = left.reply as SubmitReply;
    turn.logger.info({}, 'what the vendor answered another worker is taken over');
    return accept(turn, answer, `accepted at ${turn.elapsed()}, as another worker heard: ${nameJobs(answer.jobs)}`);
  }
  if (left?.unsent === true && state.phase === 'reconciling') {
    turn.logger.info({}, 'the submit was not made: its worker had lost the job');
    advance(state, 'never-sent');
    return undefined;
  }
  return state.phase === 'reconciling' ? reconcile(turn) : submit(turn);
}

async function submit(turn: Turn): Promise<Move | undefined> {
  const { operation, account } = turn.request;
  if (operation.adopts === true) return adopt(turn);

  const asker = { submission: turn.state.id, refused: turn.state.refused };
  const admission = await account.gate.admit('submit', asker);
  if (!admission.admitted) return turn.wait(admission.until, admission.why);
  let isSettled = false;
  const settleAdmission: SettleAdmission = async (error) => {
    if (error !== undefined && !saysOfVendor(error)) return saysNothing;
    isSettled = true;
    return account.gate.settle(admission, error);
  };
  try {
    return await submitAdmitted(turn, settleAdmission);
  } finally {
    if (!isSettled) await account.gate.abandon(admission);
  }
}

type SettleAdmission = (error: unknown) => Promise<Settled>;

const saysNothing: Settled = { isOwnFault: false };

/** Names vendor jobs that run already; makes no request, so whatever goes wrong may be tried again. */
async function adopt(turn: Turn): Promise<Move | undefined> {
  let reply: SubmitReply;
  try {
    reply = await turn.request.operation.submit(turn.context());
  } catch (error) {
    return onPreflightError(turn, error, () => Promise.resolve(saysNothing));
  }
  return accept(turn, reply);
}

async function submitAdmitted(turn: Turn, settleAdmission: SettleAdmission): Promise<Move | undefined> {
  const { engine, state } = turn;
  const { operation } = turn.request;
  if (state.intent === undefined) {
    try {
      const snapshot = await operation.preflight?.(turn.context({ attempt: 1, scope: 'submit' }));
      if (snapshot !== undefined) state.snapshot = snapshot;
      delete state.stepTimeouts;
    } catch (error) {
      return onPreflightError(turn, error, settleAdmission);
    }
  }
  const attempt = (state.intent?.attempt ?? 0) + 1;
  const intent = { attempt, at: turn.now(), fingerprint: fingerprint(turn) };
  const intendedAt = { wall: Date.now(), monotonic: performance.now() };
  const intended = { ...state, intent };
  advance(intended, 'intent-saved');
  await engine.checkpoint('before-intent');
  turn.assertHeld();
  // Until Redis says that the intent is saved, nothing can have been sent, and the turn's own record says so.
  const saved = await engine.store.save(turn.address, turn.token, intended, undefined, turn.openNote(intended), {
    handedOver: turn.pollAddress,
    canceled: true,
  });
  if (saved.kind === 'fenced') throw new TurnLostError(`lost the lock on ${turn.address.jobId}`);
  if (saved.kind === 'handed-over') return { kind: 'duplicate' };
  if (saved.kind === 'canceled') {
    state.cancelRequestedAt = saved.at;
    return undefined;
  }
  turn.state = intended;

  await engine.checkpoint('intent-saved');
  await assertMaySend(turn, intent);
  const startedAt = turn.now();
  // One clock stands still while the machine is suspended, the other can be set back.
  if (Math.max(Date.now() - intendedAt.wall, performance.now() - intendedAt.monotonic) > sendWithinMs) {
    // This process stood still. Others may have looked for this submit meanwhile, and given it up: it must not come now.
    advance(turn.state, 'nothing-created');
    return { kind: 'again', at: startedAt, line: `not sent at ${turn.elapsed()}: the worker stood still` };
  }
  let reply: SubmitReply;
  try {
    const { submitTimeoutMs } = operation;
    const timeout = submitTimeoutMs === undefined ? {} : { timeoutMs: submitTimeoutMs };
    // An answer names the vendor job, so it is waited for; an upload can take hours.
    const sent =
      operation.inFlightMs === undefined
        ? { value: await operation.submit(turn.context({ scope: 'submit', ...timeout })) }
        : await untilCanceled(turn, (signal) =>
            operation.submit(turn.context({ scope: 'submit', ...timeout, signal })),
          );
    if (sent === undefined) return undefined;
    reply = sent.value;
  } catch (error) {
    return onSubmitError(turn, error, await settleAdmission(error));
  }
  await engine.checkpoint('vendor-answered');
  await settleAdmission(undefined);
  const took = describeDuration(turn.now() - startedAt);
  turn.logger.info({ attempt, vendorJobIds: reply.jobs.slice(0, 20).map((job) => job.id) }, 'submit accepted');
  return acceptOrLeave(turn, reply, `accepted at ${turn.elapsed()} in ${took}: ${nameJobs(reply.jobs)}`);
}

/**
 * Redis alone knows whether the submission is still ours: a machine that was suspended may wake with its old clock. Where
 * it is not, the next worker is told that nothing was sent.
 * @throws TurnLostError
 */
async function assertMaySend(turn: Turn, intent: Intent): Promise<void> {
  const { store } = turn.engine;
  let isHeld: boolean;
  try {
    isHeld = await store.holdToSend(turn.address, turn.token, lockDurationMs);
  } catch (error) {
    advance(turn.state, 'nothing-created');
    throw error;
  }
  if (isHeld && !turn.signal.aborted) return;
  const isLeft = await store.leaveUnsent(turn.address, intent);
  if (isLeft) await turn.engine.wake(turn.address);
  turn.logger.warn({ isLeft }, 'lost the job before the vendor was called: nothing was sent');
  throw new TurnLostError(`lost the lock on ${turn.address.jobId} before the submit`);
}

/**
 * The lock can be lost while the vendor is at work, and its answer is the one thing that this turn knows and nobody else
 * can: it is left for whoever has the submission by now.
 */
async function acceptOrLeave(turn: Turn, reply: SubmitReply, line: string): Promise<Move | undefined> {
  const { intent } = turn.state;
  try {
    turn.assertHeld();
    return await accept(turn, reply, line);
  } catch (error) {
    if (!(error instanceof TurnLostError) || intent === undefined) throw error;
    const isLeft = await turn.engine.store.leaveAnswer(turn.address, intent, reply);
    // The next worker may wait for a person by now, for as long as the submission has.
    if (isLeft) await turn.engine.wake(turn.address);
    turn.logger.warn(
      { vendorJobIds: reply.jobs.slice(0, 20).map((job) => job.id), isLeft },
      isLeft
        ? 'lost the job while the vendor answered: the answer is left for the next worker'
        : 'lost the job while the vendor answered, and nobody waits for the answer any more',
    );
    throw error;
  }
}

async function onPreflightError(
  turn: Turn,
  error: unknown,
  settleAdmission: SettleAdmission,
): Promise<Move | undefined> {
  const decision = decideOnSubmit(error);
  if (decision === 'reject') return giveUp(turn, 'rejected', toSafeErrorInfo(error));
  if (isEndless(turn, error)) {
    const { code, message } = toSafeErrorInfo(error);
    return giveUp(turn, 'rejected', { code, message: `${message}, ${maxStepTimeouts} times; nothing was sent` });
  }
  const settled = await settleAdmission(error);
  if (decision === 'hold') return onRefused(turn, error, settled);
  if (decision === 'throttle') return waitLonger(turn, error);
  // Nothing was sent: whatever went wrong may be tried again.
  return retryLater(turn, error, 'could not be prepared');
}

/** Counts steps that never ended. @returns true once it is known that they never will. */
function isEndless({ state }: Turn, error: unknown): boolean {
  if (!(error instanceof StepTimeoutError)) {
    delete state.stepTimeouts;
    return false;
  }
  state.stepTimeouts = (state.stepTimeouts ?? 0) + 1;
  return state.stepTimeouts >= maxStepTimeouts;
}

/** Refused as the account's fault, which it is unless others of the account pass. Nothing was created. */
async function onRefused(turn: Turn, error: unknown, { isOwnFault, refused }: Settled): Promise<Move | undefined> {
  const info = toSafeErrorInfo(error);
  if (refused !== undefined) turn.state.refused = refused;
  if (!isOwnFault) return turn.wait(turn.retryAt('submit'), info);
  if (!canBeOwnFault(error)) return waitLonger(turn, error);
  const { vendorCode } = error;
  return giveUp(turn, 'rejected', vendorCode === undefined ? info : { ...info, code: redactText(vendorCode) });
}

/**
 * The vendor asked for quiet. Its hint is the least of it: with none, or with one of no time at all, a submission that is
 * refused again and again would be sent again and again.
 */
function waitLonger(turn: Turn, error: unknown): Move {
  const { state } = turn;
  state.failures = (state.failures ?? 0) + 1;
  const hint = error instanceof VendorThrottledError ? error.retryAfterMs : undefined;
  const asked = hint === undefined ? turn.retryAt('submit') : turn.now() + floorHint(hint, turn.random());
  return turn.wait(Math.max(asked, turn.now() + backoffMs(state.failures, turn.random())), toSafeErrorInfo(error));
}

async function onSubmitError(turn: Turn, error: unknown, settled: Settled): Promise<Move | undefined> {
  const { state, engine } = turn;
  const info = toSafeErrorInfo(error);
  const decision = decideOnSubmit(error);
  turn.logger.warn({ errorCode: info.code, error: info.message, decision }, 'submit failed');
  switch (decision) {
    case 'reject':
      return giveUp(turn, 'rejected', info);
    case 'hold':
      advance(state, 'nothing-created');
      return onRefused(turn, error, settled);
    case 'throttle':
      advance(state, 'nothing-created');
      return waitLonger(turn, error);
    case 'resend':
      advance(state, 'nothing-created');
      return retryLater(turn, error, 'never reached the vendor');
    case 'reconcile':
      // What a step waits for that was given up may still be on its way, in a client of its own.
      beginReconciling(turn, turn.now(), turn.now() + (error instanceof StepTimeoutError ? inFlightMsOf(turn) : 0));
      state.lastError = info;
      if (state.reconciliation !== undefined && error instanceof VendorUnavailableError) {
        const { retryAfterMs } = error;
        if (retryAfterMs !== undefined)
          state.reconciliation.notBefore = turn.now() + clamp(retryAfterMs, 0, longestHintMs);
      }
      if (safetyOf(turn) !== 'lookup') return undefined;
      return {
        kind: 'again',
        at: turn.now() + (engine.reconcile.gapsMs[0] ?? 1_000),
        line: `fate unknown at ${turn.elapsed()}: ${info.message}; looking it up`,
      };
  }
}

/** Tries the step again with backoff, until the end of the span that the submission is in (`deadlineAt`). */
function retryLater(turn: Turn, error: unknown, what: string): Move {
  const info = toSafeErrorInfo(error);
  turn.state.failures = (turn.state.failures ?? 0) + 1;
  turn.state.lastError = info;
  const hint = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
  const wait = Math.max(
    backoffMs(turn.state.failures, turn.random()),
    hint === undefined ? 0 : floorHint(hint, turn.random()),
  );
  const line = `${what} at ${turn.elapsed()}: ${info.message}; again in ${describeDuration(wait)}`;
  return { kind: 'again', at: Math.min(turn.now() + wait, turn.state.deadlineAt), line };
}

async function reconcile(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  const isLast = turn.now() >= state.deadlineAt;
  const move = await reconcileOnce(turn);
  if (!isLast || move?.kind !== 'again') return move;
  return settleUnconfirmed(turn, `it could not be found out within ${describeSpan(state)}`);
}

async function reconcileOnce(turn: Turn): Promise<Move | undefined> {
  const { state, engine, request } = turn;
  const now = turn.now();
  const known = (state.reconciliation ??= { since: now, landsUntil: now, absent: 0 });
  const mayStillLand = now < known.landsUntil;
  if (state.resolution !== undefined) return resolve(turn, state.resolution);
  // A worker that lost its lock while the vendor answered hands its acceptance over all the same.
  if (turn.stage === 'submit' && (await isHandedOver(turn))) return { kind: 'duplicate' };
  switch (safetyOf(turn)) {
    case 'safe':
      return resend(turn, 'repeating has the same effect');
    case 'none':
      if (mayStillLand) return { kind: 'again', at: Math.min(known.landsUntil, state.deadlineAt) };
      return unconfirmed(turn, 'the vendor offers no way to find out');
    case 'lookup':
  }
  const { operation, account } = request;
  if (operation.reconcile === undefined || state.intent === undefined)
    return unconfirmed(turn, 'there is no way to find out');

  const admission = await account.gate.admit('status', { submission: state.id });
  if (!admission.admitted) return turn.wait(admission.until, admission.why);
  let reply: ReconcileReply;
  try {
    reply = await operation.reconcile(turn.context(), state.intent);
  } catch (error) {
    if (saysOfVendor(error)) await account.gate.settle(admission, error);
    else await account.gate.abandon(admission);
    return onReconcileError(turn, error);
  }
  await account.gate.settle(admission, undefined);
  delete state.failures;
  delete state.stepTimeouts;

  if (typeof reply.found === 'object') {
    turn.logger.info({ vendorJobIds: reply.found.jobs.map((job) => job.id) }, 'lost submit found and adopted');
    return accept(turn, reply.found, `found and adopted at ${turn.elapsed()}: ${nameJobs(reply.found.jobs)}`);
  }
  switch (reply.found) {
    case 'unknowable':
      if (mayStillLand) return { kind: 'again', at: Math.min(known.landsUntil, state.deadlineAt) };
      return unconfirmed(turn, reply.reason);
    case 'unusable':
      if (mayStillLand) return { kind: 'again', at: Math.min(known.landsUntil, state.deadlineAt) };
      return resend(turn, reply.reason);
    case 'absent': {
      known.absent += 1;
      // Lists are behind: what landed last must have had its time to show up.
      const listLagMs = Math.min(10_000, engine.reconcile.absenceMs);
      const sureAt = Math.max(known.since + engine.reconcile.absenceMs, known.landsUntil + listLagMs);
      if (known.absent >= engine.reconcile.minAbsentLooks && turn.now() >= sureAt) {
        return resend(turn, `absent in ${known.absent} look-ups over ${describeDuration(turn.now() - known.since)}`);
      }
      const gap = gapAfter(engine.reconcile.gapsMs, known.absent);
      return {
        kind: 'again',
        at: Math.min(turn.now() + gap, state.deadlineAt),
        line: `look-up ${known.absent} at ${turn.elapsed()}: the vendor does not list it`,
      };
    }
  }
}

async function onReconcileError(turn: Turn, error: unknown): Promise<Move | undefined> {
  const { state } = turn;
  const info = toSafeErrorInfo(error);
  if (isEndless(turn, error)) {
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

async function resend(turn: Turn, why: string): Promise<Move | undefined> {
  const { state, engine } = turn;
  const doubts = (state.doubts ?? 0) + 1;
  state.doubts = doubts;
  // Where repeating has the same effect, an outage may last as long as the submission may wait to be accepted.
  const isSafe = safetyOf(turn) === 'safe';
  if (!isSafe && doubts >= engine.reconcile.maxAttempts)
    return unconfirmed(turn, `given up after ${doubts} submits of unknown fate`);
  const notBefore = state.reconciliation?.notBefore ?? 0;
  advance(state, 'send-again');
  turn.logger.warn({ doubts, why }, 'submit is sent again');
  const restMs = isSafe ? 0 : engine.reconcile.absenceMs * (resendRests[doubts - 1] ?? 0);
  const wait = Math.max(backoffMs(doubts, turn.random()), restMs);
  const at = Math.min(Math.max(turn.now() + wait, notBefore), state.deadlineAt);
  return { kind: 'again', at, line: `sending again: ${why}` };
}

/** A person decided. */
async function resolve(turn: Turn, resolution: Resolution): Promise<Move | undefined> {
  const { state, request, vendor } = turn;
  delete state.awaitsDecision;
  delete state.resolution;
  turn.logger.info({ resolution: resolution.kind }, 'a person resolved the submission');
  switch (resolution.kind) {
    case 'adopt': {
      const kind = request.operation.jobKind ?? Object.keys(vendor.adapter.lookups)[0] ?? '';
      return accept(
        turn,
        { jobs: [{ id: resolution.vendorJobId, kind }] },
        `adopted by a person at ${turn.elapsed()}: ${resolution.vendorJobId}`,
      );
    }
    case 'resend':
      advance(state, 'send-again-by-decision');
      await turn.save(`sent again by a person's decision at ${turn.elapsed()}`);
      return undefined;
    case 'give-up':
      return settleUnconfirmed(turn, 'a person gave it up');
  }
}

/** It can not be told. Whether that ends the submission or waits for a person is configured per operation. */
async function unconfirmed(turn: Turn, why: string): Promise<Move | undefined> {
  const { state, engine, vendor, operationName } = turn;
  // What another worker left during this look-up is taken over instead.
  if (state.intent !== undefined && (await engine.store.leftFor(turn.address, state.intent)) !== undefined)
    return undefined;
  const waits = engine.ambiguity[`${vendor.adapter.name}.${operationName}`] === 'wait';
  if (!waits || turn.now() >= state.deadlineAt) return settleUnconfirmed(turn, why);
  const isNews = state.awaitsDecision === undefined;
  state.awaitsDecision = why;
  const line = `waiting at ${turn.elapsed()} for \`jobferry resolve ${vendor.adapter.name} ${state.id}\`: ${why}`;
  return { kind: 'again', at: state.deadlineAt, ...(isNews ? { line } : {}) };
}

/** Ends what nobody can tell the fate of. */
export async function settleUnconfirmed(turn: Turn, why: string): Promise<Move | undefined> {
  const cause = turn.state.lastError;
  return giveUp(turn, 'unconfirmed', {
    code: 'submit_ambiguous',
    message: `it is not known whether the vendor took the submit, and it will not be sent twice: ${why}`,
    ...(cause === undefined ? {} : { details: { cause: { code: cause.code, message: cause.message } } }),
  });
}

/**
 * A request that was refused, never made or whose fate can not be told ends the submission only where it is all of it.
 * Other requests of the submission go on, and the event tells of both.
 */
export async function giveUp(
  turn: Turn,
  outcome: 'rejected' | 'unconfirmed' | 'expired',
  error: ErrorInfo,
): Promise<Move | undefined> {
  const { state } = turn;
  const pieces = piecesOf(turn, error);
  const isLast = pieces?.more !== true;
  // What was refused or never made started nothing; what is unconfirmed may have, and no later look tells of it.
  const isAll = outcome === 'unconfirmed' ? pieces === undefined || (state.part ?? 0) === 0 : state.jobs.length === 0;
  if (isLast && isAll) {
    if (state.jobs.length > 0) addJobs(turn, pieces?.jobs ?? []);
    return turn.settle(outcome, error);
  }
  const number = (state.part ?? 0) + 1;
  const vendorStatus = outcome === 'expired' ? 'not sent' : 'refused';
  const refused: VendorRef = { id: `request-${number}`, kind: '', status: 'failed', vendorStatus, error };
  return accept(turn, pieces ?? { jobs: [refused] }, `request ${number} ${outcome}: ${error.message}`);
}

/** What the operation notes for a request that is given up. Where it cannot, the request counts as the last one. */
function piecesOf(turn: Turn, error: ErrorInfo): SubmitReply | undefined {
  try {
    return turn.request.operation.giveUp?.(turn.context(), error);
  } catch (fault) {
    const { code, message } = toSafeErrorInfo(fault);
    turn.logger.error({ errorCode: code, error: message }, 'the module cannot say what a request was about');
    return undefined;
  }
}

function addJobs(turn: Turn, refs: readonly VendorRef[]): void {
  const { state } = turn;
  const known = new Set(state.jobs.map((job) => job.id));
  for (const ref of refs) {
    if (known.has(ref.id)) continue;
    known.add(ref.id);
    state.jobs.push(toVendorJob(ref));
  }
}

/** Notes what the vendor took in. The next part goes back to `received`, the last one on to preparing or polling. */
async function accept(turn: Turn, reply: SubmitReply, line?: string): Promise<Move | undefined> {
  const { state } = turn;
  addJobs(turn, reply.jobs);
  state.submittedAt = turn.now();
  if (reply.more === true) {
    advance(state, 'request-accepted');
    state.part = (state.part ?? 0) + 1;
    await turn.save(line);
    await turn.engine.checkpoint('acceptance-saved');
    return undefined;
  }
  const [first] = state.jobs;
  if (first?.error !== undefined && state.jobs.every((job) => job.kind === '')) {
    // Every request was given up, one by one: nothing is at work.
    const isUnclear = state.jobs.some((job) => job.error?.code === 'submit_ambiguous');
    if (isUnclear) return turn.settle('unconfirmed', first.error);
    const unsent = state.jobs.find((job) => job.error?.code === 'not_submitted_in_time')?.error;
    return unsent === undefined ? turn.settle('rejected', first.error) : turn.settle('expired', unsent);
  }
  noteAcceptance(state, turn.now(), turn.request.poll);
  if (turn.request.operation.prepare !== undefined) {
    advance(state, 'accepted-unprepared');
    await turn.save(line);
    await turn.engine.checkpoint('acceptance-saved');
    return undefined;
  }
  advance(state, 'accepted');
  if (turn.stage === 'submit') return { kind: 'hand-over', at: 0, line: line ?? `accepted at ${turn.elapsed()}` };
  await turn.save(line);
  await turn.engine.checkpoint('acceptance-saved');
  if (state.jobs.every(isOver)) return undefined;
  // A later stage: its first look-up waits as long as that of the first one.
  const { deadlineAt } = state;
  const at = nextPollAt({ options: turn.request.poll, polls: 0, now: turn.now(), deadlineAt, random: turn.random() });
  return { kind: 'again', at };
}

/** `accepted`: what the vendor still needs before it starts. Repeatable, so a crash costs no more than doing it again. */
export async function prepareStep(turn: Turn): Promise<Move | undefined> {
  const { state, request } = turn;
  try {
    const prepared = await untilCanceled(turn, async (signal) => request.operation.prepare?.(turn.context({ signal })));
    if (prepared === undefined) return undefined;
    turn.mergeJobs(prepared.value);
  } catch (error) {
    const info = toSafeErrorInfo(error);
    if (error instanceof StepFailedError) {
      state.jobs = state.jobs.map((job) => ({ ...job, outcome: 'failed', error: info }));
      return turn.settleByJobs();
    }
    const decision = decideOnLookup(error);
    if (decision === 'hold' || decision === 'throttle') return turn.wait(turn.retryAt('status'), info);
    return retryLater(turn, error, 'could not be made ready');
  }
  await turn.engine.checkpoint('prepared');
  advance(state, 'prepared');
  const line = `prepared at ${turn.elapsed()}`;
  // A caller may have its submit job kept, and what stays behind in it must not be the upload link.
  await turn.save(turn.stage === 'submit' ? undefined : line);
  if (turn.stage === 'submit') return { kind: 'hand-over', at: 0, line };
  return undefined;
}

/** How long a submit of this operation may still reach the vendor after its worker died: longer where an answer may be. */
function inFlightMsOf({ engine, request }: Turn): number {
  const { submitTimeoutMs = requestTimeoutMs } = request.operation;
  return engine.reconcile.inFlightMs * Math.max(1, submitTimeoutMs / requestTimeoutMs);
}

function beginReconciling(turn: Turn, since: number, landsUntil: number): void {
  advance(turn.state, 'outcome-unknown');
  turn.state.reconciliation = { since, landsUntil, absent: 0 };
}

async function isHandedOver(turn: Turn): Promise<boolean> {
  return (await turn.engine.store.read(turn.pollAddress)) !== undefined;
}

export function safetyOf(turn: Turn): ResendSafety {
  const { operation, input, account } = turn.request;
  return typeof operation.resend === 'function' ? operation.resend(input, account.account) : operation.resend;
}

function toVendorJob(ref: VendorRef): VendorJob {
  const status = ref.status ?? 'pending';
  return {
    id: ref.id,
    kind: ref.kind,
    status,
    ...(status === 'pending' || status === 'running' ? {} : { outcome: status }),
    ...(ref.vendorStatus === undefined || ref.vendorStatus === (ref.status ?? 'pending')
      ? {}
      : { vendorStatus: ref.vendorStatus }),
    ...(ref.extra === undefined ? {} : { extra: ref.extra }),
    ...(ref.result === undefined ? {} : { result: ref.result }),
    ...(ref.error === undefined ? {} : { error: toSafeInfo(ref.error) }),
  };
}

function fingerprint(turn: Turn): string {
  const { state, request } = turn;
  const content = JSON.stringify([state.stage ?? null, state.part ?? 0, request.input, state.carry ?? null]);
  return createHash('sha256').update(content).digest('hex').slice(0, 16);
}

function gapAfter(gapsMs: readonly number[], looks: number): number {
  return gapsMs[Math.min(looks, gapsMs.length - 1)] ?? 10_000;
}

function nameJobs(jobs: readonly VendorRef[]): string {
  if (jobs.length === 0) return 'nothing to wait for';
  const shown = jobs.slice(0, 3).map((job) => job.id);
  return jobs.length > 3 ? `${shown.join(', ')} and ${jobs.length - 3} more` : shown.join(', ');
}
