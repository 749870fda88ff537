import { toSafeErrorInfo } from '../../core/safe-error.ts';
import { isOver } from '../../core/submission.ts';
import { through } from '../accounts/through.ts';
import type { Move, Turn } from '../turn.ts';

/** Ends a submission whose caller canceled it, and tells the vendor where it has a way. */
export async function cancelStep(turn: Turn): Promise<Move> {
  const rest = await tellVendor(turn);
  return turn.settle('canceled', { code: 'canceled', message: `canceled by a caller; ${rest}` });
}

/**
 * One try, since the caller's cancel must not wait for a vendor that is down. After a death in between it is made again.
 * @returns what the event says of it.
 */
async function tellVendor(turn: Turn): Promise<string> {
  const { state, request } = turn;
  const { operation, account } = request;
  if (state.phase === 'received' && state.jobs.length === 0 && state.doubts === undefined)
    return 'nothing was sent to the vendor';
  if (operation.cancel === undefined) return 'the vendor has no way to cancel and may go on working';
  const running = state.jobs.filter((job) => !isOver(job) && job.kind !== '');
  if (running.length === 0)
    return state.jobs.length > 0
      ? 'the vendor had done its part'
      : 'it is not known what the vendor took, and it may go on working';
  const passage = await through(account, { scope: 'status', asker: { submission: state.id } }, async () =>
    operation.cancel?.(turn.context(), running),
  );
  switch (passage.kind) {
    case 'not-admitted':
      return `the vendor was not told, and may go on working: ${passage.why.message}`;
    case 'failed': {
      const { code, message } = toSafeErrorInfo(passage.error);
      turn.logger.warn({ errorCode: code, error: message }, 'the vendor could not be told to stop');
      return `the vendor could not be told, and may go on working: ${message}`;
    }
    case 'done':
      return 'the vendor was told to stop';
  }
}
