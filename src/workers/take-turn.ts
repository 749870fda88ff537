import { describeSpan } from '../core/deadline.ts';
import * as story from '../core/story.ts';
import type { ErrorInfo } from '../core/submission.ts';
import { endingOf, unsentError } from '../core/verdicts.ts';
import { settleFault } from './settle-fault.ts';
import { giveUp, settleUnconfirmed } from './steps/accept.ts';
import { cancelStep } from './steps/cancel.ts';
import { confirmStep } from './steps/confirm.ts';
import { pollStep } from './steps/poll.ts';
import { lookInsteadOfPreparing, prepareStep } from './steps/prepare.ts';
import { reconcileStep, safetyOf } from './steps/reconcile.ts';
import { submitStep } from './steps/submit.ts';
import type { Move, Step, Turn } from './turn.ts';

/** A turn that comes this often to where it was before is going in circles. */
const maxRounds = 50;
/** Requests of one submit. The work of each is bounded by its input; what asks for more is asking for ever. */
const maxParts = 10_000;

/**
 * Carries a submission as far as it goes now, along the state machine of core/state-machine.ts.
 * @throws TurnLostError when another worker took over meanwhile
 */
export async function takeTurn(turn: Turn): Promise<Move> {
  const places = new Set<string>();
  for (let rounds = 0; ;) {
    const step = await takeStep(turn);
    if (step.kind !== 'advanced') return step;
    const place = placeOf(turn);
    if (places.has(place)) rounds += 1;
    else rounds = 0;
    places.add(place);
    const { phase, part = 0 } = turn.state;
    if (rounds >= maxRounds) return settleFault(turn, internalError(`it goes in circles in phase ${phase}`));
    if (part >= maxParts) return settleFault(turn, internalError(`its submit asks for more than ${maxParts} requests`));
  }
}

async function takeStep(turn: Turn): Promise<Step> {
  const { state } = turn;
  if (state.settled !== undefined) return { kind: 'settled' };
  switch (endingOf(state, turn.now())) {
    case 'canceled':
      return cancelStep(turn);
    case 'unsent':
      return endUnsent(turn);
    case 'unprepared':
      return lookInsteadOfPreparing(turn);
    case 'none':
  }
  switch (state.phase) {
    case 'received':
      return submitStep(turn);
    case 'intended':
    case 'reconciling':
      return reconcileStep(turn);
    case 'accepted':
      return prepareStep(turn);
    case 'polling':
    case 'confirming':
      // Saved by this worker, or by one that died before it could hand over.
      if (turn.stage === 'submit') return { kind: 'hand-over', at: 0, line: story.takenUpAgain(turn.elapsed()) };
      return state.phase === 'polling' ? pollStep(turn) : confirmStep(turn);
    case 'settled':
      return { kind: 'settled' };
    default:
      return state.phase satisfies never;
  }
}

/** The next request of the submission was not made, or surely not taken, and its time is over. */
async function endUnsent(turn: Turn): Promise<Step> {
  const { state } = turn;
  const span = describeSpan(state);
  // Sent, and the outcome is unknown: it was to be repeated.
  if (state.doubts !== undefined && safetyOf(turn) === 'safe')
    return settleUnconfirmed(turn, `the vendor did not answer within ${span}`);
  const error = unsentError(state, span);
  // Requests of this stage that were accepted go on without this one, and are looked up before the submission ends.
  return (state.part ?? 0) > 0 ? giveUp(turn, 'expired', error) : turn.settle('expired', error);
}

/** What moves when a submission gets on. */
function placeOf({ state: { phase, part, stage, stages, jobs } }: Turn): string {
  return JSON.stringify([phase, part, stage, stages, jobs.length]);
}

function internalError(message: string): ErrorInfo {
  return { code: 'internal_error', message };
}
