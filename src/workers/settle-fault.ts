import { describeSpan } from '../core/deadline.ts';
import type { ErrorInfo, VendorJob } from '../core/submission.ts';
import { progressOfSubmit } from '../core/verdicts.ts';
import { safetyOf } from './steps/reconcile.ts';
import type { Move, Turn } from './turn.ts';

/** Ends a submission that its operation cannot carry any further, by what is known of it. */
export async function settleFault(turn: Turn, error: ErrorInfo): Promise<Move> {
  turn.logger.error({ errorCode: error.code, error: error.message }, 'the submission cannot be carried on');
  switch (progressOfSubmit(turn.state, () => isSafe(turn))) {
    case 'unsent':
      return turn.settle('rejected', error);
    case 'in-doubt':
      return turn.settle('unconfirmed', error);
    case 'accepted':
      return turn.settle('failed', error);
  }
}

/** Ends a submission whose deadline has passed and whose last turn failed: there is no time left to try again. */
export async function expireFault(turn: Turn, fault: ErrorInfo): Promise<Move> {
  const { state } = turn;
  const span = describeSpan(state);
  const details = { lastError: { code: fault.code, message: fault.message } };
  switch (progressOfSubmit(turn.state, () => isSafe(turn))) {
    case 'unsent':
      return turn.settle('expired', { code: 'not_submitted_in_time', message: `not accepted within ${span}`, details });
    case 'in-doubt': {
      const message = `it is not known whether the vendor took the submit, and it could not be found out within ${span}`;
      return turn.settle('unconfirmed', { code: 'submit_ambiguous', message, details });
    }
    case 'accepted': {
      const message = `not over ${span}; the vendor may still be working`;
      return turn.settle('expired', { code: 'deadline_exceeded', message, details });
    }
  }
}

/** A record that cannot be written, with what makes it so taken out of its vendor jobs. The rest goes when it settles. */
export function makeWritable(turn: Turn): void {
  turn.state.jobs = turn.state.jobs.map((job) => (isJson(job) ? job : bareJob(job)));
}

export function isJson(value: unknown): boolean {
  try {
    JSON.stringify(value);
    return true;
  } catch {
    return false;
  }
}

function bareJob({ id, kind, status, outcome }: VendorJob): VendorJob {
  return { id: String(id), kind: String(kind), status, ...(outcome === undefined ? {} : { outcome }) };
}

/** What cannot be asked counts as safe: then the submission ends as one whose outcome is unknown. */
function isSafe(turn: Turn): boolean {
  try {
    return safetyOf(turn) === 'safe';
  } catch {
    return true;
  }
}
