import {
  AccountHeldError,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { redactText } from '../../core/redact.ts';
import type { ErrorReply } from '../../ports/vendor-adapter.ts';
import { requestLine } from './request-line.ts';

/** The common table of error answers, where the adapter does not know better. */
export function toError(reply: ErrorReply): Error {
  const { status, body, retryAfterMs } = reply;
  const message = `${requestLine(reply)} answered ${status}: ${errorText(body)}`;
  const hint = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (status) {
    case 401:
      return new AccountHeldError('unauthorized', message, { httpStatus: status });
    case 403:
      return new AccountHeldError('forbidden', message, { httpStatus: status });
    case 402:
      return new AccountHeldError('quota', message, { httpStatus: status });
    case 408:
      return new VendorUnavailableError(message, { taken: 'maybe', httpStatus: status, ...hint });
    case 425:
    case 429:
      return new VendorThrottledError(message, { httpStatus: status, ...hint });
    default:
  }
  if (status >= 500) return new VendorUnavailableError(message, { taken: 'maybe', httpStatus: status, ...hint });
  if (status >= 400) return new VendorRejectedError(message, { httpStatus: status });
  return new VendorContractError(`${message} (redirects are not followed)`, { httpStatus: status });
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
