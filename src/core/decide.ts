import {
  AccountHeldError,
  InvalidSubmissionError,
  StepTimeoutError,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from './errors.ts';
import { isModuleFault } from './module-fault.ts';

/**
 * What a failed submit leads to: the left column of the error table (docs/errors.md).
 * - reject: settle as `rejected`
 * - hold: the account, or this scope of it, waits, and with it this job; nothing was created
 * - throttle: wait for the hint, send again; nothing was created
 * - resend: it provably never arrived; send again with backoff, for as long as `submitWithinMs` allows
 * - reconcile: nobody knows whether the vendor took it
 */
export type SubmitDecision = 'reject' | 'hold' | 'throttle' | 'resend' | 'reconcile';

/** Decides by class alone, so that an adapter that throws the right class gets the right protection. */
export function decideOnSubmit(error: unknown): SubmitDecision {
  if (error instanceof VendorRejectedError || error instanceof InvalidSubmissionError) return 'reject';
  if (error instanceof AccountHeldError) return 'hold';
  if (error instanceof VendorThrottledError) return 'throttle';
  if (error instanceof VendorUnavailableError) return error.taken === 'no' ? 'resend' : 'reconcile';
  if (error instanceof VendorContractError) return 'reconcile';
  // A fault of our own between the intent and the answer: the request may be out.
  return 'reconcile';
}

/**
 * Whether a refusal can be about the one request instead of the account. Too many requests never are: others pass
 * because they came at a better moment.
 */
export function canBeOwnFault(error: unknown): error is AccountHeldError {
  return error instanceof AccountHeldError && error.reason !== 'unauthorized' && error.httpStatus !== 429;
}

/**
 * What a failed look-up leads to. None but `gone`, past its grace period, ends a submission before its deadline.
 * - gone: the vendor does not know the job; its grace period runs
 * - hold, throttle: as above
 * - backoff: ask again later
 */
type LookupDecision = 'gone' | 'hold' | 'throttle' | 'backoff';

/**
 * What a look-up at the deadline came to.
 * - answered: the vendor said something that can be read, or we or the module are at fault, which waiting does not mend;
 *   the submission ends
 * - forbidden: the vendor's own hint rules another look-up out; the submission ends without one
 * - unanswered: the vendor could not be asked, or its answer could not be read (a proxy's page, JSON that is cut off); it
 *   is asked again, for as long as the deadline once more
 */
export type LastLook = 'answered' | 'forbidden' | 'unanswered';

export function judgeLastLook(error: unknown): LastLook {
  if (isModuleFault(error)) return 'answered';
  if (error instanceof AccountHeldError || error instanceof VendorContractError) return 'unanswered';
  // Asked for alone, it shows whether this vendor job was the cause.
  if (error instanceof StepTimeoutError && error.isShared) return 'unanswered';
  if (error instanceof VendorThrottledError || error instanceof VendorUnavailableError)
    return (error.retryAfterMs ?? 0) > 0 ? 'forbidden' : 'unanswered';
  return 'answered';
}

export function decideOnLookup(error: unknown): LookupDecision {
  if (error instanceof VendorRejectedError)
    return error.httpStatus === 404 || error.httpStatus === 410 ? 'gone' : 'backoff';
  if (error instanceof AccountHeldError) return 'hold';
  if (error instanceof VendorThrottledError) return 'throttle';
  return 'backoff';
}
