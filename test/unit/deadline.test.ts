import { describe, expect, it } from 'vitest';
import {
  acceptBy,
  describeSpan,
  isAccepted,
  lastAnswerBy,
  nextBound,
  noteAcceptance,
  renewDeadline,
} from '../../src/core/deadline.ts';
import type { PollOptions } from '../../src/core/poll-schedule.ts';
import { phases, receive, type SubmissionState } from '../../src/core/submission.ts';

const poll: PollOptions = {
  initialDelayMs: 2_000,
  factor: 1.5,
  maxDelayMs: 30_000,
  deadlineMs: 1_800_000,
  submitWithinMs: 86_400_000,
};
const enqueuedAt = 1_000_000_000;

function waiting(holdBackMs = 0): SubmissionState {
  return receive('x', undefined, enqueuedAt, acceptBy(enqueuedAt, holdBackMs, poll));
}

/** As the version before wrote it. */
function old(change: Partial<SubmissionState>): SubmissionState {
  const { acceptedAt: _none, ...state } = receive('x', undefined, enqueuedAt, enqueuedAt + poll.deadlineMs);
  return { ...state, ...change };
}

describe('the two spans of a submission', () => {
  it('waits for a day to be accepted, and as long as it was held back', () => {
    expect(waiting().deadlineAt).toBe(enqueuedAt + 86_400_000);
    expect(waiting(5_000).deadlineAt).toBe(enqueuedAt + 86_405_000);
    expect(describeSpan(waiting())).toBe('24 h after it was enqueued');
  });

  it('is at work from its acceptance, which later ones do not move', () => {
    const state = waiting();
    const acceptedAt = enqueuedAt + 80_000_000;
    noteAcceptance(state, acceptedAt, poll);
    noteAcceptance(state, acceptedAt + 1_000_000, poll);
    expect(state).toMatchObject({ acceptedAt, deadlineAt: acceptedAt + poll.deadlineMs });
    expect(describeSpan(state)).toBe('30 min after it was accepted');
  });

  it('waits for a last answer for as long as the deadline once more, and unaccepted not at all', () => {
    const state = waiting();
    expect(lastAnswerBy(state)).toBe(state.deadlineAt);
    noteAcceptance(state, enqueuedAt, poll);
    expect(lastAnswerBy(state)).toBe(enqueuedAt + 2 * poll.deadlineMs);
  });

  it('is bounded at every moment: never past the deadline before it, nor past the last answer after it', () => {
    for (let step = 0; step <= 400; step += 1) {
      const state = waiting();
      noteAcceptance(state, enqueuedAt, poll);
      const now = enqueuedAt + (step / 100) * poll.deadlineMs;
      const bound = nextBound(state, now);
      expect(bound).toBe(now < state.deadlineAt ? state.deadlineAt : lastAnswerBy(state));
      expect(bound - state.deadlineAt).toBeLessThanOrEqual(poll.deadlineMs);
    }
  });
});

describe('a record of the version before', () => {
  it('that was never accepted waits for a day, counted from when it was enqueued', () => {
    for (const change of [{}, { phase: 'reconciling' }, { phase: 'received', part: 1, submittedAt: enqueuedAt + 5 }]) {
      const state = old(change as Partial<SubmissionState>);
      renewDeadline(state, 3_000, poll);
      expect(state).toMatchObject({ acceptedAt: null, deadlineAt: enqueuedAt + 3_000 + poll.submitWithinMs });
    }
  });

  it('that was accepted counts from then, in a later stage too', () => {
    const submittedAt = enqueuedAt + 600_000;
    const accepted = [{ phase: 'accepted' }, { phase: 'polling' }, { phase: 'confirming' }, { stage: 'generate' }];
    for (const change of accepted) {
      const state = old({ ...(change as Partial<SubmissionState>), submittedAt });
      renewDeadline(state, 0, poll);
      expect(state).toMatchObject({ acceptedAt: submittedAt, deadlineAt: submittedAt + poll.deadlineMs });
    }
  });

  it('never ends sooner than it did, and is renewed once', () => {
    for (const phase of phases.filter((one) => one !== 'settled')) {
      const state = old({ phase, submittedAt: enqueuedAt + 1 });
      const before = state.deadlineAt;
      renewDeadline(state, 0, poll);
      expect(state.deadlineAt).toBeGreaterThanOrEqual(before);
      const once = structuredClone(state);
      renewDeadline(state, 0, { ...poll, deadlineMs: 1, submitWithinMs: 1 });
      expect(state).toEqual(once);
    }
  });

  it('of this version that a worker of that one carried over the acceptance counts from then', () => {
    const state = { ...waiting(), phase: 'polling' as const, submittedAt: enqueuedAt + 7 };
    expect(isAccepted(state)).toBe(false);
    renewDeadline(state, 0, poll);
    expect(state).toMatchObject({ acceptedAt: enqueuedAt + 7, deadlineAt: enqueuedAt + 7 + poll.deadlineMs });
  });
});
