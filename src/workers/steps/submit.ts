import { createHash } from 'node:crypto';
import { canBeOwnFault, decideOnSubmit } from '../../core/decide.ts';
import { StepTimeoutError, VendorThrottledError, VendorUnavailableError } from '../../core/errors.ts';
import { saysOfVendor } from '../../core/module-fault.ts';
import { backoffMs, clamp, floorHint, longestHintMs } from '../../core/poll-schedule.ts';
import { redactText } from '../../core/redact.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import type { Intent, SubmissionState } from '../../core/submission.ts';
import * as story from '../../core/story.ts';
import { maxStepTimeouts, noteStepTimeout } from '../../core/verdicts.ts';
import type { SubmitReply } from '../../ports/vendor-adapter.ts';
import { through, type Failure } from '../accounts/through.ts';
import { lockDurationMs } from '../engine.ts';
import { advanced, retryLater, TurnLostError, type Move, type Step, type Turn } from '../turn.ts';
import { accept, acceptLeft, giveUp, leftBehind } from './accept.ts';
import { beginReconciling, inFlightMsOf, safetyOf } from './reconcile.ts';
import { untilCanceled } from './until-canceled.ts';

/** From the intent to the request, ms: less than a lock lives, so that no other worker has the submission yet. */
export const sendWithinMs = 4_000;

/**
 * `received`: the only step that calls a vendor's submit.
 *
 *   received ──intent saved──► intended ──answer──► accepted (or `received` for the next part)
 *                                 ├──refused──► settled as rejected
 *                                 ├──nothing was created──► received, later
 *                                 └──the outcome is unknown──► reconciling
 */
export async function submitStep(turn: Turn): Promise<Step> {
  const { operation, account } = turn.request;
  // Of the submit before this one, which was taken for lost.
  const left = await leftBehind(turn);
  if (left?.reply !== undefined) return acceptLeft(turn, left.reply);
  if (operation.adopts === true) return adopt(turn);

  // What an error means depends on what was under way when it came.
  const place: { underWay: 'preflight' | 'writes' | 'submit' } = { underWay: 'preflight' };
  const asker = { submission: turn.state.id, refused: turn.state.refused };
  const passage = await through(
    account,
    {
      scope: 'submit',
      asker,
      tellsOfAccount: (error) =>
        saysOfVendor(error) && (place.underWay !== 'preflight' || decideOnSubmit(error) !== 'reject'),
      showsThatItWorks: (sent: Sent | Step) => sent.kind === 'sent',
    },
    async (): Promise<Sent | Step> => {
      await runPreflight(turn);
      place.underWay = 'writes';
      const intended = await saveIntent(turn);
      if (intended.kind !== 'intended') return intended;
      if (!(await mayBeSent(turn, intended))) return onStandstill(turn);
      const startedAt = turn.now();
      place.underWay = 'submit';
      const reply = await send(turn);
      place.underWay = 'writes';
      if (reply === undefined) return advanced;
      await turn.engine.checkpoint('vendor-answered');
      return { kind: 'sent', reply, tookMs: turn.now() - startedAt, attempt: intended.intent.attempt };
    },
  );
  switch (passage.kind) {
    case 'not-admitted':
      return turn.wait(passage.until, passage.why);
    case 'failed':
      if (place.underWay === 'writes') throw passage.error;
      return place.underWay === 'submit' ? onSubmitError(turn, passage) : onPreflightError(turn, passage);
    case 'done':
      return passage.value.kind === 'sent' ? onAnswer(turn, passage.value) : passage.value;
  }
}

interface Sent {
  kind: 'sent';
  reply: SubmitReply;
  tookMs: number;
  attempt: number;
}

/** A submit that is saved and not sent yet. */
interface Intended {
  kind: 'intended';
  intent: Intent;
  /** When it was about to be saved: one clock stands still while the machine is suspended, the other can be set back. */
  begunAt: { wall: number; monotonic: number };
}

/** Names vendor jobs that run already; makes no request, so whatever goes wrong may be tried again. */
async function adopt(turn: Turn): Promise<Step> {
  let reply: SubmitReply;
  try {
    reply = await turn.request.operation.submit(turn.context());
  } catch (error) {
    return onPreflightError(turn, { error, isOwnFault: false });
  }
  return accept(turn, reply);
}

async function runPreflight(turn: Turn): Promise<void> {
  const { state, request } = turn;
  if (state.intent !== undefined) return;
  const snapshot = await request.operation.preflight?.(turn.context({ attempt: 1, scope: 'submit' }));
  if (snapshot !== undefined) state.snapshot = snapshot;
  delete state.stepTimeouts;
}

/** Saves that the vendor is about to be called. Until Redis confirms it, nothing was sent, and the turn's record says so. */
async function saveIntent(turn: Turn): Promise<Intended | Step> {
  const { engine, state } = turn;
  const intent = { attempt: (state.intent?.attempt ?? 0) + 1, at: turn.now(), fingerprint: fingerprint(turn) };
  const begunAt = { wall: Date.now(), monotonic: performance.now() };
  const intended: SubmissionState = { ...state, intent };
  advance(intended, 'intent-saved');
  await engine.checkpoint('before-intent');
  turn.assertHeld();
  const unless = { handedOver: turn.pollAddress, canceled: true } as const;
  const open = turn.openNote(intended);
  const saved = await engine.store.save(turn.address, turn.token, intended, undefined, open, unless);
  switch (saved.kind) {
    case 'fenced':
      throw new TurnLostError(`lost the lock on ${turn.address.jobId}`);
    case 'handed-over':
      return { kind: 'duplicate' };
    case 'canceled':
      state.cancelRequestedAt = saved.at;
      return advanced;
    case 'saved':
  }
  turn.state = intended;
  await engine.checkpoint('intent-saved');
  return { kind: 'intended', intent, begunAt };
}

/**
 * Redis alone knows whether the submission is still ours: a machine that was suspended may wake with its old clock. Where
 * it is not, the next worker is told that nothing was sent.
 * @throws TurnLostError
 */
async function mayBeSent(turn: Turn, { intent, begunAt }: Intended): Promise<boolean> {
  const { store } = turn.engine;
  let isHeld: boolean;
  try {
    isHeld = await store.holdToSend(turn.address, turn.token, lockDurationMs);
  } catch (error) {
    advance(turn.state, 'nothing-created');
    throw error;
  }
  if (!isHeld || turn.signal.aborted) {
    const isLeft = await store.leaveUnsent(turn.address, intent);
    if (isLeft) await turn.engine.wake(turn.address);
    turn.logger.warn({ isLeft }, 'lost the job before the vendor was called: nothing was sent');
    throw new TurnLostError(`lost the lock on ${turn.address.jobId} before the submit`);
  }
  // Later than this, other workers may have looked for this submit and given it up: it must not come now.
  return Math.max(Date.now() - begunAt.wall, performance.now() - begunAt.monotonic) <= sendWithinMs;
}

function onStandstill(turn: Turn): Step {
  advance(turn.state, 'nothing-created');
  return { kind: 'again', at: turn.now(), line: story.stoodStill(turn.elapsed()) };
}

/** @returns undefined where a caller's cancel cut it off */
async function send(turn: Turn): Promise<SubmitReply | undefined> {
  const { operation } = turn.request;
  const { submitTimeoutMs } = operation;
  const given = { scope: 'submit', ...(submitTimeoutMs === undefined ? {} : { timeoutMs: submitTimeoutMs }) } as const;
  // An answer names the vendor job, so it is waited for; an upload can take hours.
  if (operation.inFlightMs === undefined) return operation.submit(turn.context(given));
  const sent = await untilCanceled(turn, (signal) => operation.submit(turn.context({ ...given, signal })));
  return sent?.value;
}

/**
 * The lock can be lost while the vendor is at work, and its answer is the one thing that only this turn knows: it is left
 * for the worker that owns the job by now.
 */
async function onAnswer(turn: Turn, { reply, tookMs, attempt }: Sent): Promise<Step> {
  const { intent } = turn.state;
  const vendorJobIds = reply.jobs.slice(0, 20).map((job) => job.id);
  turn.logger.info({ attempt, vendorJobIds }, 'submit accepted');
  try {
    turn.assertHeld();
    return await accept(turn, reply, story.accepted(turn.elapsed(), reply.jobs, tookMs));
  } catch (error) {
    if (!(error instanceof TurnLostError) || intent === undefined) throw error;
    const isLeft = await turn.engine.store.leaveAnswer(turn.address, intent, reply);
    // The next worker may wait for a person by now, for as long as the submission has.
    if (isLeft) await turn.engine.wake(turn.address);
    turn.logger.warn(
      { vendorJobIds, isLeft },
      isLeft
        ? 'lost the job while the vendor answered: the answer is left for the next worker'
        : 'lost the job while the vendor answered, and no worker waits for the answer any more',
    );
    throw error;
  }
}

async function onPreflightError(turn: Turn, failure: Failure): Promise<Step> {
  const { error } = failure;
  const decision = decideOnSubmit(error);
  if (decision === 'reject') return giveUp(turn, 'rejected', toSafeErrorInfo(error));
  if (noteStepTimeout(turn.state, error)) {
    const { code, message } = toSafeErrorInfo(error);
    return giveUp(turn, 'rejected', { code, message: `${message}, ${maxStepTimeouts} times; nothing was sent` });
  }
  if (decision === 'hold') return onRefused(turn, failure);
  if (decision === 'throttle') return waitLonger(turn, error);
  // Nothing was sent: whatever went wrong may be tried again.
  return retryLater(turn, error, 'could not be prepared');
}

/** Refused as the account's fault, which it is unless others of the account pass. Nothing was created. */
async function onRefused(turn: Turn, { error, isOwnFault, refused }: Failure): Promise<Step> {
  const info = toSafeErrorInfo(error);
  if (refused !== undefined) turn.state.refused = refused;
  if (!isOwnFault) return turn.wait(turn.retryAt('submit'), info);
  if (!canBeOwnFault(error)) return waitLonger(turn, error);
  const { vendorCode } = error;
  return giveUp(turn, 'rejected', vendorCode === undefined ? info : { ...info, code: redactText(vendorCode) });
}

/**
 * The vendor asked for quiet. Its hint is a lower bound: without one, or with one of no time at all, a submission that is
 * refused again and again would be sent again and again.
 */
function waitLonger(turn: Turn, error: unknown): Move {
  const { state } = turn;
  state.failures = (state.failures ?? 0) + 1;
  const hint = error instanceof VendorThrottledError ? error.retryAfterMs : undefined;
  const asked = hint === undefined ? turn.retryAt('submit') : turn.now() + floorHint(hint, turn.random());
  return turn.wait(Math.max(asked, turn.now() + backoffMs(state.failures, turn.random())), toSafeErrorInfo(error));
}

async function onSubmitError(turn: Turn, failure: Failure): Promise<Step> {
  const { state, engine } = turn;
  const { error } = failure;
  const info = toSafeErrorInfo(error);
  const decision = decideOnSubmit(error);
  turn.logger.warn({ errorCode: info.code, error: info.message, decision }, 'submit failed');
  switch (decision) {
    case 'reject':
      return giveUp(turn, 'rejected', info);
    case 'hold':
      advance(state, 'nothing-created');
      return onRefused(turn, failure);
    case 'throttle':
      advance(state, 'nothing-created');
      return waitLonger(turn, error);
    case 'resend':
      advance(state, 'nothing-created');
      return retryLater(turn, error, 'never reached the vendor');
    case 'reconcile': {
      const now = turn.now();
      const hint = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
      // A step that was given up may still send, in a client of its own.
      beginReconciling(state, {
        since: now,
        landsUntil: now + (error instanceof StepTimeoutError ? inFlightMsOf(turn) : 0),
        ...(hint === undefined ? {} : { notBefore: now + clamp(hint, 0, longestHintMs) }),
      });
      state.lastError = info;
      if (safetyOf(turn) !== 'lookup') return advanced;
      return {
        kind: 'again',
        at: now + (engine.reconcile.gapsMs[0] ?? 1_000),
        line: story.outcomeUnknown(turn.elapsed(), info),
      };
    }
  }
}

function fingerprint(turn: Turn): string {
  const { state, request } = turn;
  const content = JSON.stringify([state.stage ?? null, state.part ?? 0, request.input, state.carry ?? null]);
  return createHash('sha256').update(content).digest('hex').slice(0, 16);
}
