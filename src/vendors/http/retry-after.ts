import { clamp } from '../../core/poll-schedule.ts';

const longestHintMs = 86_400_000;

/**
 * The wait that an answer's headers ask for, ms: `Retry-After` in seconds or as a date, in this order of trust before
 * `RateLimit-Reset` and `X-RateLimit-Reset`, which vendors fill with a unix time or with seconds.
 */
export function readRetryAfter(headers: Headers, now: number): number | undefined {
  const retryAfter = headers.get('retry-after')?.trim();
  if (retryAfter !== undefined && retryAfter !== '') {
    if (/^\d+(\.\d+)?$/.test(retryAfter)) return clamp(Number(retryAfter) * 1_000, 0, longestHintMs);
    const date = /[A-Za-z]/.test(retryAfter) ? Date.parse(retryAfter) : Number.NaN;
    if (Number.isFinite(date)) return clamp(date - now, 0, longestHintMs);
  }
  return readReset(headers.get('ratelimit-reset') ?? headers.get('x-ratelimit-reset'), now);
}

/** A `RateLimit-Reset`: a unix time when it is one, else seconds from now; ms from now. */
export function readReset(text: string | null, now: number): number | undefined {
  if (text === null || !/^\d{1,13}(\.\d+)?$/.test(text.trim())) return undefined;
  const seconds = Number(text);
  const unixMs = seconds > 1e11 ? seconds : seconds * 1_000;
  const ms = seconds > 1e8 ? unixMs - now : seconds * 1_000;
  return ms < 0 ? 0 : clamp(ms, 0, longestHintMs);
}
