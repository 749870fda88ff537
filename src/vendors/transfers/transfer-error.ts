import { JobferryError, VendorUnavailableError } from '../../core/errors.ts';
import { redactText } from '../../core/redact.ts';
import { networkCode } from '../http/network-code.ts';

/** What broke a transfer off: one of our errors where it was ours, a fault of our disk as it is, else the vendor's. */
export function toTransferError(error: unknown): Error {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    if (cause instanceof JobferryError) return cause;
  }
  // A full disk or a missing folder is ours, not the vendor's.
  const code = networkCode(error);
  if (code === 'ENOSPC' || code === 'EACCES' || code === 'EROFS' || code === 'EDQUOT') return error as Error;
  const why = code ?? (error instanceof Error ? redactText(error.message) : 'unknown');
  return new VendorUnavailableError(`the transfer failed: ${why}`, { taken: 'maybe', cause: error });
}
