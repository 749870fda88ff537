import { clipJsonValue, type Json, type JsonObject } from '../../core/json.ts';
import {
  AccountHeldError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../core/errors.ts';
import type { ErrorReply, LimitReport } from '../../ports/vendor-adapter.ts';
import { clamp } from '../../core/poll-schedule.ts';
import { redactValue } from '../../core/redact.ts';
import { readReset } from '../http/retry-after.ts';
import { readErrorBody } from './wire.ts';

/**
 * What Knowhere's error answers mean, where the status code alone does not tell.
 * @see docs/vendors/knowhere.md
 */
export function classify(reply: ErrorReply): Error | undefined {
  const { code, message, requestId, details: given } = readErrorBody(reply.body) ?? {};
  const details = toDetails(given, requestId);
  const hints = isObject(given) ? given : {};
  const common = { httpStatus: reply.status, ...(details === undefined ? {} : { details }) };
  const options = { ...common, ...(code === undefined ? {} : { code }) };
  // Logs show the text alone, and the vendor's support asks for the id.
  const named = requestId === undefined ? '' : ` (request_id ${requestId})`;
  const said = `${reply.method} /${reply.path} answered ${reply.status}${code === undefined ? '' : ` ${code}`}: ${message ?? 'no message'}${named}`;
  const isLookup = reply.method === 'GET';

  if (reply.status === 429) {
    const hint = reply.retryAfterMs ?? secondsToMs(hints['retry_after']);
    // Without a hint there is nothing to wait for: the vendor and both of its SDKs read that as a quota used up.
    if (hint === undefined || hints['reason'] === 'QUOTA_EXCEEDED') return new AccountHeldError('quota', said, options);
    return new VendorThrottledError(said, { ...options, retryAfterMs: hint });
  }
  if (reply.status === 503 && code === 'UNAVAILABLE' && hints['retry_after'] !== undefined) {
    // Raised before the job is inserted; a bare gateway 503 says nothing of the kind.
    const retryAfterMs = reply.retryAfterMs ?? secondsToMs(hints['retry_after']);
    return new VendorUnavailableError(said, {
      ...common,
      taken: 'no',
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
  if (reply.status === 409 && code === 'ABORTED') {
    // Another job for the same document is active: nothing was created, and it ends by itself.
    return new VendorUnavailableError(said, { ...options, taken: 'no' });
  }
  if (reply.status === 499) return new VendorUnavailableError(said, { ...common, taken: 'maybe' });
  if (reply.status === 403 && isLookup) {
    // Somebody else's job: a fault of this one id, not of the key.
    return new VendorRejectedError(said, { ...options, isAboutVendorJob: true });
  }
  if (reply.status === 403) return new AccountHeldError('forbidden', said, options);
  if (reply.status === 402) return new AccountHeldError('quota', said, options);
  if (reply.status === 401) return new AccountHeldError('unauthorized', said, options);
  if (reply.status >= 400 && reply.status < 500 && reply.status !== 408 && reply.status !== 425) {
    return new VendorRejectedError(message === undefined ? said : `${message}${named}`, options);
  }
  if (reply.status >= 500 && requestId !== undefined) {
    const { retryAfterMs } = reply;
    const hint = retryAfterMs === undefined ? {} : { retryAfterMs };
    return new VendorUnavailableError(said, { ...common, taken: 'maybe', ...hint });
  }
  return undefined;
}

/** `RateLimit-*` on every answer in the documented dialect, `X-RateLimit-*` on a 429 in the other. */
export function readLimits(reply: { status: number; headers: Headers; now: number }): LimitReport | undefined {
  const { headers, now } = reply;
  const remaining = headers.get('ratelimit-remaining') ?? headers.get('x-ratelimit-remaining');
  if (remaining === null || !/^\d{1,9}$/.test(remaining.trim())) return undefined;
  const resetMs = readReset(headers.get('ratelimit-reset') ?? headers.get('x-ratelimit-reset'), now);
  // A window is a minute; a reset far off is a day's quota or a clock that differs, and waiting for it helps nobody.
  return resetMs === undefined ? undefined : { remaining: Number(remaining), resetMs: Math.min(resetMs, 60_000) };
}

/**
 * What the vendor says beside code and message, small enough for a record and without what looks like a secret.
 * @returns undefined where it says nothing.
 */
export function toDetails(details: Json | undefined, requestId: string | undefined): Json | undefined {
  const kept = details === undefined ? undefined : clipJsonValue(redactValue(details) as Json, 4_096);
  if (requestId === undefined) return kept;
  if (kept === undefined || kept === null) return { requestId };
  return isObject(kept) ? { ...kept, requestId } : { details: kept, requestId };
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function secondsToMs(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 ? clamp(value * 1_000, 0, 86_400_000) : undefined;
}
