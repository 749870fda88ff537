import { describeDuration } from './describe.ts';
import type { PollOptions } from './poll-schedule.ts';
import type { SubmissionState } from './submission.ts';

/**
 * Two spans bound a submission, one after the other, and the record's `deadlineAt` is the end of the one it is in:
 *
 *   enqueued (and held back) ──submitWithinMs──► accepted ──deadlineMs──► deadline ──as long again──► given up
 *
 * Waiting in line is not working: the second span begins when the vendor has accepted the whole of the first stage, and
 * later stages do not extend it. Past the deadline a submission waits for one last answer while the vendor cannot be asked.
 */

/** When a submission that the vendor has not accepted ends, epoch ms. */
export function acceptBy(enqueuedAt: number, holdBackMs: number, poll: PollOptions): number {
  return enqueuedAt + holdBackMs + poll.submitWithinMs;
}

/** Begins the second span, once. */
export function noteAcceptance(state: SubmissionState, now: number, poll: PollOptions): void {
  if (isAccepted(state)) return;
  state.acceptedAt = now;
  state.deadlineAt = now + poll.deadlineMs;
}

/** Has the vendor accepted the whole of the first stage? */
export function isAccepted(state: SubmissionState): state is SubmissionState & { acceptedAt: number } {
  return typeof state.acceptedAt === 'number';
}

/**
 * Brings a record of the version before to these spans: there the deadline counted from when the submission was
 * enqueued, and a worker of that version that takes part in a rolling deploy notes no acceptance.
 */
export function renewDeadline(state: SubmissionState, holdBackMs: number, poll: PollOptions): void {
  if (isAccepted(state) || state.settled !== undefined) return;
  const isFirstStageOver = state.stage !== undefined || ['accepted', 'polling', 'confirming'].includes(state.phase);
  if (isFirstStageOver) noteAcceptance(state, state.submittedAt ?? state.enqueuedAt, poll);
  else if (state.acceptedAt === undefined) {
    state.acceptedAt = null;
    state.deadlineAt = acceptBy(state.enqueuedAt, holdBackMs, poll);
  }
}

/** Until when an accepted submission may wait past its deadline for a last answer, epoch ms. */
export function lastAnswerBy(state: SubmissionState): number {
  return isAccepted(state) ? state.deadlineAt + (state.deadlineAt - state.acceptedAt) : state.deadlineAt;
}

/** No wait of a submission is longer: the deadline, and past it the end of the wait for a last answer. */
export function nextBound(state: SubmissionState, now: number): number {
  return now < state.deadlineAt ? state.deadlineAt : lastAnswerBy(state);
}

/** The span that `deadlineAt` ends: `24 h after it was enqueued`, `30 min after it was accepted`. */
export function describeSpan(state: SubmissionState): string {
  return isAccepted(state)
    ? `${describeDuration(state.deadlineAt - state.acceptedAt)} after it was accepted`
    : `${describeDuration(state.deadlineAt - state.enqueuedAt)} after it was enqueued`;
}
