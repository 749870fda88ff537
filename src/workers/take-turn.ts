import { describeSpan, isAccepted } from '../core/deadline.ts';
import type { ErrorInfo } from '../core/submission.ts';
import { advance } from '../core/state-machine.ts';
import { cancelStep } from './cancel-step.ts';
import { confirmStep, pollStep } from './poll-step.ts';
import { settleFault } from './settle-fault.ts';
import { giveUp, prepareStep, safetyOf, settleUnconfirmed, submitStep } from './submit-step.ts';
import type { Move, Turn } from './turn.ts';

/** A turn that comes this often to where it was before is going in circles. */
const maxRounds = 50;
/** Requests of one submit. The work of each is bounded by its input; what asks for more is asking for ever. */
const maxParts = 10_000;

/**
 * Carries a submission as far as it goes now, along the state machine of core/submission.ts.
 * @throws TurnLostError when another worker took over meanwhile
 */
export async function takeTurn(turn: Turn): Promise<Move> {
  const places = new Set<string>();
  for (let rounds = 0; ;) {
    if (turn.state.settled !== undefined) return { kind: 'settled' };
    const end = await endEarly(turn);
    if (end !== undefined) return end;
    const move = await step(turn);
    if (move !== undefined) return move;
    const place = placeOf(turn);
    if (places.has(place)) rounds += 1;
    else rounds = 0;
    places.add(place);
    const { phase, part = 0 } = turn.state;
    if (rounds >= maxRounds) return settleFault(turn, internalError(`it goes in circles in phase ${phase}`));
    if (part >= maxParts) return settleFault(turn, internalError(`its submit asks for more than ${maxParts} requests`));
  }
}

/** What moves when a submission gets on. */
function placeOf({ state: { phase, part, stage, stages, jobs } }: Turn): string {
  return JSON.stringify([phase, part, stage, stages, jobs.length]);
}

function internalError(message: string): ErrorInfo {
  return { code: 'internal_error', message };
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

/** What ends a submission whatever it is at: a caller's cancel, and the end of the span that it is in. */
async function endEarly(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  if (state.cancelRequestedAt !== undefined) return cancelStep(turn);
  if (turn.now() < state.deadlineAt) return undefined;
  switch (state.phase) {
    case 'received':
      return endUnsent(turn);
    case 'accepted':
      return lookInsteadOfPreparing(turn);
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

/** The next request of the submission was not made, or surely not taken, and its time is over. */
async function endUnsent(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  const span = describeSpan(state);
  // Sent, and the outcome is unknown: it was to be repeated.
  if (state.doubts !== undefined && safetyOf(turn) === 'safe')
    return settleUnconfirmed(turn, `the vendor did not answer within ${span}`);
  const cause = state.lastError === undefined ? {} : { details: { lastError: { ...state.lastError } } };
  const error = isAccepted(state)
    ? { code: 'deadline_exceeded', message: `not over ${span}: what was to follow is not sent any more` }
    : { code: 'not_submitted_in_time', message: `not accepted within ${span}` };
  // Requests of this stage that were accepted go on without this one, and are looked up before the submission ends.
  if ((state.part ?? 0) > 0) return giveUp(turn, 'expired', { ...error, ...cause });
  return turn.settle('expired', { ...error, ...cause });
}

/** What could not be prepared may have been all the same: the vendor is asked, as for every other submission. */
async function lookInsteadOfPreparing(turn: Turn): Promise<Move | undefined> {
  const { state } = turn;
  const { jobs } = state;
  advance(state, 'not-prepared-in-time');
  if (turn.stage === 'poll') return undefined;
  const line = `not prepared at ${turn.elapsed()}`;
  // A caller may have its submit job kept, and what stays behind in it must not be the upload link.
  state.jobs = jobs.map(({ extra: _link, ...job }) => job);
  await turn.save();
  state.jobs = jobs;
  return { kind: 'hand-over', at: 0, line };
}
