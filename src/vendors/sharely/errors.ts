import {
  AccountHeldError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../core/errors.ts';
import { clip, clipJsonValue, type Json, type JsonObject } from '../../core/json.ts';
import { redactText, redactValue } from '../../core/redact.ts';
import type { ErrorReply } from '../../ports/vendor-adapter.ts';
import { errorBody } from './wire.ts';

/**
 * What Sharely's error answers mean. The classes are those of the common table; what is kept beside is the `errorId`
 * that support asks for. A gateway's 502 need not be JSON and falls through to the common table.
 * @see docs/vendors/sharely.md
 */
export function classify(reply: ErrorReply): Error | undefined {
  const envelope = errorBody.safeParse(reply.body);
  if (!envelope.success) return undefined;
  const { error, message, errorId, details: more } = envelope.data;
  const said = redactText(clip(message ?? error ?? 'no message', 1_000));
  const details: JsonObject = {
    httpStatus: reply.status,
    ...(errorId === undefined ? {} : { errorId }),
    // In the old shape `error` is the class, in the new one the text.
    ...(message === undefined || error === undefined ? {} : { error: clip(error, 200) }),
    ...(more === undefined || more === null ? {} : { details: clipJsonValue(redactValue(more) as Json, 4_096) }),
  };
  const options = { httpStatus: reply.status, details };
  const text = `${reply.method} /${reply.path} answered ${reply.status}: ${said}${errorId === undefined ? '' : ` (errorId ${errorId})`}`;
  const hint = reply.retryAfterMs === undefined ? {} : { retryAfterMs: reply.retryAfterMs };

  switch (reply.status) {
    case 401:
      return new AccountHeldError('unauthorized', text, options);
    case 403:
      return new AccountHeldError('forbidden', text, options);
    case 402:
      return new AccountHeldError('quota', text, options);
    case 408:
      return new VendorUnavailableError(text, { ...options, ...hint, taken: 'maybe' });
    case 425:
    case 429:
      return new VendorThrottledError(text, { ...options, ...hint });
    default:
  }
  if (reply.status >= 500) return new VendorUnavailableError(text, { ...options, ...hint, taken: 'maybe' });
  if (reply.status >= 400) return new VendorRejectedError(text, options);
  return undefined;
}
