import { describeDuration } from '../core/describe.ts';
import { cancelStep } from './cancel-step.ts';
import { confirmStep, pollStep } from './poll-step.ts';
import { prepareStep, safetyOf, settleUnconfirmed, submitStep } from './submit-step.ts';
import type { Move, Turn } from './turn.ts';

/** A turn that advances this often without coming to a move is going in circles. */
const maxSteps = 10_000;

/**
 * Carries a submission as far as it goes now, along the state machine of core/submission.ts.
 * @throws TurnLostError when another worker took over meanwhile
 */
export async function takeTurn(turn: Turn): Promise<Move> {
  for (let steps = 0; steps < maxSteps; steps += 1) {
    if (turn.state.settled !== undefined) return { kind: 'settled' };
    const end = await endEarly(turn);
    if (end !== undefined) return end;
    const move = await step(turn);
    if (move !== undefined) return move;
  }
  throw new Error(`submission ${turn.state.id} goes in circles in phase ${turn.state.phase}`);
}

async function step(turn: Turn): Promise<Move | undefined> {
  const { phase } = turn.state;
  switch (phase) {
    case 'received':
    case 'intended':
    case 'reconciling':
      return submitStep(turn);
    case 'accepted':
      return prepareStep(turn);
    case 'polling':
    case 'confirming':
      // Saved by this worker, or by one that died before it could hand over.
      if (turn.stage === 'submit') return { kind: 'hand-over', at: 0, line: `taken up again at ${turn.elapsed()}` };
      return phase === 'polling' ? pollStep(turn) : confirmStep(turn);
    case 'settled':
      return { kind: 'settled' };
    default: {
      const never: never = phase;
      return never;
    }
  }
}

/** What ends a submission whatever it is at: a caller's cancel, and the deadline. */
async function endEarly(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  if (state.cancelRequestedAt !== undefined) return cancelStep(turn);
  if (turn.now() < state.deadlineAt) return undefined;
  const cause = state.lastError === undefined ? {} : { details: { lastError: { ...state.lastError } } };
  const allowed = describeDuration(state.deadlineAt - state.enqueuedAt);
  switch (state.phase) {
    case 'received':
    case 'accepted':
      // Sent, and nobody knows what became of it: it was to be repeated.
      if (state.phase === 'received' && state.doubts !== undefined && safetyOf(turn) === 'safe')
        return settleUnconfirmed(turn, `the deadline of ${allowed} passed before the vendor answered`);
      return turn.settle('expired', {
        code: 'deadline_exceeded',
        message: `${state.jobs.length === 0 ? 'not sent to the vendor' : 'not ready at the vendor'} within ${allowed}`,
        ...cause,
      });
    // These have one last try at the deadline.
    case 'intended':
    case 'reconciling':
    case 'polling':
    case 'confirming':
    case 'settled':
      return undefined;
    default: {
      const never: never = state.phase;
      return never;
    }
  }
}
