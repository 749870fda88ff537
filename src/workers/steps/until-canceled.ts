import { setTimeout as sleep } from 'node:timers/promises';
import { redactText } from '../../core/redact.ts';
import { asStepOf } from '../step-watch.ts';
import type { Turn } from '../turn.ts';

/** How often a step that takes long looks for a cancel of its submission, ms. */
const lookEveryMs = 1_000;

const canceled = Symbol('canceled');

/**
 * Runs a step that a caller's cancel may cut off: a transfer can take as long as its file is large. Only for steps that
 * may end anywhere, which the submission survives because it ends with them.
 * @param begin - given a signal that aborts when the turn is given up, and on a cancel
 * @returns `undefined` after a cancel, which is then noted in the record. What the step still does is ignored.
 */
export async function untilCanceled<T>(
  turn: Turn,
  begin: (signal: AbortSignal) => Promise<T>,
): Promise<{ value: T } | undefined> {
  const cutOff = new AbortController();
  const ended = new AbortController();
  const running = begin(AbortSignal.any([turn.signal, cutOff.signal]));
  try {
    // The step is given another signal than the turn's, which is what tells a long step from a turn that hangs.
    const first = await asStepOf(turn.signal, () => Promise.race([running, seeCancel(turn, ended.signal)]));
    if (first !== canceled) return { value: first as T };
    cutOff.abort();
    running.catch(() => undefined);
    turn.logger.info({}, 'canceled by a caller in the middle of a step, which is cut off');
    return undefined;
  } finally {
    ended.abort();
  }
}

/** Ends once a cancel is there; else never. */
async function seeCancel(turn: Turn, ended: AbortSignal): Promise<typeof canceled> {
  for (;;) {
    try {
      await sleep(lookEveryMs, undefined, { signal: ended, ref: false });
    } catch {
      return new Promise(() => undefined);
    }
    try {
      const at = await turn.engine.store.cancelRequestedAt(turn.address);
      if (at === undefined) continue;
      turn.state.cancelRequestedAt ??= Math.min(at, turn.now());
      return canceled;
    } catch (error) {
      turn.logger.debug({ error: redactText(String(error)) }, 'could not look for a cancel');
    }
  }
}
