import {
  AccountHeldError,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { redactText } from '../../core/redact.ts';
import type { ErrorMeaning, ErrorReading, ErrorReply } from '../../ports/vendor-adapter.ts';

/**
 * The one table that turns an error answer into one of our error classes, for all vendors: what its status means, and
 * which class a meaning is. A vendor's `readError` says only what differs.
 */

/** What a status means where the vendor says nothing else. */
export function meaningOf(status: number): ErrorMeaning {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 402:
      return 'quota';
    case 403:
      return 'forbidden';
    case 408:
      return 'unavailable';
    case 425:
    case 429:
      return 'throttled';
    default:
  }
  if (status >= 500) return 'unavailable';
  return status >= 400 ? 'rejected' : 'unexpected';
}

/** @param reading - what the vendor's `readError` returned */
export function toError(reply: ErrorReply, reading: ErrorReading): Error {
  const { as = reply.meaning, code, details } = reading;
  const message = reading.message ?? `${reply.answered}: ${errorText(reply.body)}`;
  const options = {
    httpStatus: reply.status,
    ...(code === undefined ? {} : { code }),
    ...(details === undefined ? {} : { details }),
  };
  // Many vendors send a RateLimit-Reset with every answer: it says nothing of an answer that means something else.
  const isHeaderMeant = reading.as === undefined || as === 'throttled';
  const retryAfterMs = reading.retryAfterMs ?? (isHeaderMeant ? reply.retryAfterMs : undefined);
  const hint = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (as) {
    case 'rejected':
      return new VendorRejectedError(message, { ...options, isAboutVendorJob: reading.isAboutVendorJob === true });
    case 'unauthorized':
    case 'forbidden':
    case 'quota':
      return new AccountHeldError(as, message, options);
    case 'throttled':
      return new VendorThrottledError(message, { ...options, ...hint });
    case 'not-taken':
      return new VendorUnavailableError(message, { ...options, ...hint, taken: 'no' });
    case 'unavailable':
      return new VendorUnavailableError(message, { ...options, ...hint, taken: 'maybe' });
    case 'unexpected':
      return new VendorContractError(reply.status < 400 ? `${message} (redirects are not followed)` : message, options);
    default:
      // A module in JavaScript can return any word; what it means cannot be known, so it may have been taken in.
      as satisfies never;
      return new VendorContractError(`${message} (readError returned as: ${clip(JSON.stringify(as), 60)})`, options);
  }
}

/** What an error body says, from the envelopes that vendors use. */
function errorText(body: unknown): string {
  if (typeof body === 'string') return redactText(clip(body.replace(/\s+/g, ' ').trim(), 200)) || 'no body';
  if (typeof body !== 'object' || body === null) return 'no body';
  const { message, error } = body as { message?: unknown; error?: unknown };
  const candidates = [message, error, (error as { message?: unknown } | null | undefined)?.message];
  const said = candidates.find((candidate) => typeof candidate === 'string' && candidate !== '');
  return redactText(clip(typeof said === 'string' ? said : JSON.stringify(body), 300));
}
