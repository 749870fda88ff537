import { decideOnLookup } from '../../core/decide.ts';
import { StepFailedError } from '../../core/errors.ts';
import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import * as story from '../../core/story.ts';
import { advanced, retryLater, type Step, type Turn } from '../turn.ts';
import { untilCanceled } from './until-canceled.ts';

/** `accepted`: what the vendor still needs before it starts. Repeatable, so a crash costs no more than doing it again. */
export async function prepareStep(turn: Turn): Promise<Step> {
  const { state, request } = turn;
  try {
    const prepared = await untilCanceled(turn, async (signal) => request.operation.prepare?.(turn.context({ signal })));
    if (prepared === undefined) return advanced;
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
  const line = story.prepared(turn.elapsed());
  // A caller may have its submit job kept, and what stays behind in it must not be the upload link.
  await turn.save(turn.stage === 'submit' ? undefined : line);
  return turn.stage === 'submit' ? { kind: 'hand-over', at: 0, line } : advanced;
}

/** What could not be prepared in time may have been all the same: the vendor is looked up, as for every submission. */
export async function lookInsteadOfPreparing(turn: Turn): Promise<Step> {
  const { state } = turn;
  const { jobs } = state;
  advance(state, 'not-prepared-in-time');
  if (turn.stage === 'poll') return advanced;
  const line = story.notPrepared(turn.elapsed());
  // As above: no upload link may stay behind.
  state.jobs = jobs.map(({ extra: _link, ...job }) => job);
  await turn.save();
  state.jobs = jobs;
  return { kind: 'hand-over', at: 0, line };
}
