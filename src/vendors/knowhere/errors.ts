import { clipJsonValue, type Json, type JsonObject } from '../../core/json.ts';
import type { ErrorReading, ErrorReply, LimitReport } from '../../ports/vendor-adapter.ts';
import { clamp } from '../../core/poll-schedule.ts';
import { redactValue } from '../../core/redact.ts';
import { readReset } from '../http/retry-after.ts';
import { readErrorBody } from './wire.ts';

/**
 * What Knowhere's error answers say beyond the status code, and where they mean something else.
 * @see docs/vendors/knowhere.md
 */
export function readError(reply: ErrorReply): ErrorReading | undefined {
  const { status, meaning } = reply;
  const { code, message, requestId, details: given } = readErrorBody(reply.body) ?? {};
  const hints = isObject(given) ? given : {};
  // Logs show the text alone, and the vendor's support asks for the id.
  const named = requestId === undefined ? '' : ` (request_id ${requestId})`;
  const ours = {
    message: `${reply.answered}${code === undefined ? '' : ` ${code}`}: ${message ?? 'no message'}${named}`,
    details: toDetails(given, requestId),
  };

  if (status === 429) {
    const retryAfterMs = reply.retryAfterMs ?? secondsToMs(hints['retry_after']);
    // Without a hint there is nothing to wait for: the vendor and both of its SDKs read that as a quota used up.
    if (retryAfterMs === undefined || hints['reason'] === 'QUOTA_EXCEEDED') return { ...ours, code, as: 'quota' };
    return { ...ours, retryAfterMs };
  }
  if (status === 503 && code === 'UNAVAILABLE' && hints['retry_after'] !== undefined) {
    // Raised before the job is inserted; a bare gateway 503 says nothing of the kind.
    return { ...ours, as: 'not-taken', retryAfterMs: reply.retryAfterMs ?? secondsToMs(hints['retry_after']) };
  }
  // Another job for the same document is active: nothing was created, and it ends by itself.
  if (status === 409 && code === 'ABORTED') return { ...ours, code, as: 'not-taken' };
  // CANCELLED: the call was broken off, at whatever point it was.
  if (status === 499) return { ...ours, as: 'unavailable' };
  // Somebody else's job: a fault of this one id, not of the key.
  if (status === 403 && reply.method === 'GET') return { ...ours, code, as: 'rejected', isAboutVendorJob: true };

  if (meaning === 'unauthorized' || meaning === 'forbidden' || meaning === 'quota') return { ...ours, code };
  // It is shown to who submitted, who did not make the request.
  if (meaning === 'rejected')
    return { ...ours, ...(message === undefined ? {} : { message: `${message}${named}` }), code };
  return status >= 500 && requestId !== undefined ? ours : undefined;
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
