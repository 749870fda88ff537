import { DelayedError, UnrecoverableError, WaitingChildrenError } from 'bullmq';
import { toErrorInfo } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { backoffMs } from '../../core/poll-schedule.ts';
import { redactText } from '../../core/redact.ts';
import type { ErrorInfo } from '../../core/submission.ts';
import { isLockLost } from '../../queues/bullmq-internals/locks.ts';
import { isRedisFault, isRefusedWrite } from '../../queues/refused-write.ts';
import type { MoveApplier, StageParts, TakenJob } from './apply-move.ts';
import type { QueueErrors } from './queue-errors.ts';
import { expireFault, isJson, makeWritable } from '../settle-fault.ts';
import { TurnLostError, type Turn } from '../turn.ts';

/** What follows when a turn throws: it is tried again with backoff, and ended at its deadline. */
export class TurnFaults {
  readonly #parts: StageParts;
  readonly #moves: MoveApplier;
  readonly #errors: QueueErrors;

  constructor(parts: StageParts, moves: MoveApplier, errors: QueueErrors) {
    this.#parts = parts;
    this.#moves = moves;
    this.#errors = errors;
  }

  /** A fault of our own, of the vendor's module or of Redis. The submission is tried again until its deadline, and ends there. */
  async delay(error: unknown, taken: TakenJob, turn: Turn | undefined): Promise<unknown> {
    const { job, token, logger } = taken;
    const info = toErrorInfo(error);
    const message = redactText(clip(info.message, 500));
    const stack = redactText(String((error as Partial<Error> | null | undefined)?.stack ?? ''));
    // What Redis refuses one turn it refuses them all, so it is logged once.
    if (isRefusedWrite(error)) this.#errors.report(error);
    else {
      this.#errors.note(info.message);
      logger.error({ errorCode: info.code, error: message, stack }, 'turn failed');
    }
    const state = turn?.state;
    if (state !== undefined) {
      state.failures = (state.failures ?? 0) + 1;
      state.lastError = { code: info.code, message };
    }
    const { clock } = this.#parts.engine;
    const at = clock.now() + backoffMs(state?.failures ?? 4, clock.random(), { baseMs: 1_000, maxMs: 30_000 });
    // An outage of Redis leaves it open what a turn would have found.
    if (turn !== undefined && isOverdue(turn) && !isRedisFault(error)) {
      const ended = await this.#endAfterFault(turn, { code: info.code, message }, taken);
      if (ended !== undefined) return ended.result;
    }
    try {
      const line = `internal fault: ${message}`;
      // What cannot be written stays as it was saved last.
      return await this.#moves.delay(job, token, { at, state: isJson(state) ? state : undefined, line, turn });
    } catch (again) {
      // Where even that fails, the lock runs out and another worker takes the job from what was saved.
      if (!(again instanceof DelayedError || isRefusedWrite(again)))
        logger.warn({ error: redactText(String(again)) }, 'job left to its lock');
      throw new DelayedError();
    }
  }

  /** @returns the job's result; undefined where not even that works. */
  async #endAfterFault(turn: Turn, fault: ErrorInfo, taken: TakenJob): Promise<{ result: unknown } | undefined> {
    try {
      makeWritable(turn);
      return { result: await this.#moves.apply(turn, await expireFault(turn, fault), taken) };
    } catch (error) {
      if (isEndInBullmq(error)) throw error;
      if (error instanceof TurnLostError || isLockLost(error)) throw new DelayedError();
      turn.logger.error({ error: redactText(String(error)) }, 'the submission could not be ended');
      return undefined;
    }
  }
}

/** What BullMQ is told by an error: delayed, waiting for a child, or failed for good. */
export function isEndInBullmq(error: unknown): boolean {
  return error instanceof DelayedError || error instanceof WaitingChildrenError || error instanceof UnrecoverableError;
}

function isOverdue({ state, engine }: Turn): boolean {
  return state.settled === undefined && engine.clock.now() >= state.deadlineAt;
}
