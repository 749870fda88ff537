import { VendorUnavailableError } from '../../core/errors.ts';
import { requestLine } from './request-line.ts';
import type { TimeBudget } from './time-budget.ts';

/**
 * The error of a request that ran out of time before its first byte was written.
 * @param why - what it waited for, such as `no credential`
 */
export function notSent(
  request: { method: string; path: string },
  budget: TimeBudget,
  why: string,
  cause?: unknown,
): VendorUnavailableError {
  return new VendorUnavailableError(`${requestLine(request)} was not sent: ${why} within ${budget.sendWithinMs} ms`, {
    taken: 'no',
    ...(cause === undefined ? {} : { cause }),
  });
}
