import { describeSpan, lastAnswerBy } from '../../core/deadline.ts';
import type { LastLook } from '../../core/decide.ts';
import { describeDuration } from '../../core/describe.ts';
import { lastLookOf, type Look } from '../../core/looks.ts';
import { isOver } from '../../core/submission.ts';
import type { Move, Turn } from '../turn.ts';

type Refusal = Extract<Look, { kind: 'not-admitted' }>;

/** Nothing could be asked. */
export async function waitForAccount(turn: Turn, refusals: readonly Refusal[]): Promise<Move> {
  const now = turn.now();
  const { state } = turn;
  const [first] = refusals;
  if (first === undefined) throw new Error('no vendor job to wait for');
  const move = turn.wait(Math.max(...refusals.map((refusal) => refusal.until)), first.why);
  if (now < state.deadlineAt) return move;
  const last = lastLookOf(refusals);
  return last === 'unanswered' && now < lastAnswerBy(state) ? move : expire(turn, last);
}

/** Ends a submission at its deadline, by what its last look-up came to. */
export async function expire(turn: Turn, last: LastLook): Promise<Move> {
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
