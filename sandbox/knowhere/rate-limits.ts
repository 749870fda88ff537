import type { Call } from '../http/call.ts';
import { type Budget, RequestLimit } from '../http/request-limit.ts';
import type { Reply } from '../http/reply.ts';
import { errorReply } from './errors.ts';
import type { Dialect, KnowhereSettings } from './settings.ts';

const DAY_MS = 86_400_000;
/** What DOC headers announce while limits are off: enough that no client slows down. */
const GENEROUS_LIMIT = 1_000_000;

/** The limits of a user, in the words of the dialects. */
export class RateLimits {
  readonly #limit = new RequestLimit();

  reset(): void {
    this.#limit.reset();
  }

  /**
   * Counts one request and refuses it when it is one too many. Creates are counted once more by `refuseCreate`.
   * @returns the refusal, or null
   */
  refuseRequest(
    call: Call,
    user: string,
    dialect: Dialect,
    isGetJob: boolean,
    settings: KnowhereSettings,
  ): Reply | null {
    if (dialect === 'doc') {
      return this.#refuse(call, dialect, `all ${user}`, settings.requestsPerMinute, 'minute', settings);
    }
    const limit = isGetJob ? settings.getJobsPerMinute : settings.otherPerMinute;
    return this.#refuse(call, dialect, `${isGetJob ? 'get' : 'other'} ${user}`, limit, 'minute', settings);
  }

  /** The per-minute limit of creates. Its slot is used even when the create is refused for another reason. */
  refuseCreate(call: Call, user: string, dialect: Dialect, settings: KnowhereSettings): Reply | null {
    if (dialect === 'doc') return null;
    return this.#refuse(call, dialect, `create ${user}`, settings.createsPerMinute, 'minute', settings);
  }

  /** The daily quota of creates; its wait is capped at an hour, though the reset may be further off. */
  refuseDay(call: Call, user: string, dialect: Dialect, settings: KnowhereSettings): Reply | null {
    if (dialect === 'doc') return null;
    return this.#refuse(call, dialect, `day ${user}`, settings.createsPerDay, 'day', settings);
  }

  /** The cap on jobs at once. */
  refuseActive(call: Call, active: number, dialect: Dialect, settings: KnowhereSettings): Reply | null {
    const limit = settings.activeJobs;
    if (limit === null || active < limit) return null;
    const seconds = Math.max(1, Math.ceil((Math.max(30, 60 / limit) * settings.minuteMs) / 60_000));
    const details = {
      reason: 'RATE_LIMIT_EXCEEDED',
      retry_after: seconds,
      limit,
      period: 'concurrent',
      active_jobs: active,
      available_slots: 0,
    };
    const headers: Record<string, string> =
      dialect === 'doc'
        ? {}
        : {
            'retry-after': String(seconds),
            'x-ratelimit-limit': String(limit),
            'x-ratelimit-period': 'concurrent',
          };
    return errorReply(call, 429, 'RESOURCE_EXHAUSTED', 'Too many concurrent jobs', details, headers);
  }

  /** `RateLimit-*` headers that DOC puts on every answer. `RateLimit-Reset` is a Unix time in seconds. */
  docHeaders(user: string, settings: KnowhereSettings): Record<string, string> {
    const limit = settings.requestsPerMinute;
    const { remaining, resetAtMs } = this.#limit.peek(`all ${user}`, limit ?? GENEROUS_LIMIT, settings.minuteMs);
    return {
      'ratelimit-limit': String(limit ?? GENEROUS_LIMIT),
      'ratelimit-remaining': String(limit === null ? GENEROUS_LIMIT : remaining),
      'ratelimit-reset': String(Math.ceil(resetAtMs / 1000)),
    };
  }

  #refuse(
    call: Call,
    dialect: Dialect,
    key: string,
    limit: number | null,
    period: 'minute' | 'day',
    { minuteMs }: KnowhereSettings,
  ): Reply | null {
    if (limit === null) return null;
    const budget = this.#limit.draw(key, limit, period === 'day' ? DAY_MS : minuteMs);
    return budget.isAllowed ? null : tooMany(call, dialect, limit, period, budget);
  }
}

function tooMany(call: Call, dialect: Dialect, limit: number, period: 'minute' | 'day', budget: Budget): Reply {
  const untilReset = Math.max(1, Math.ceil((budget.resetAtMs - Date.now()) / 1000));
  const seconds = period === 'day' ? Math.min(3_600, untilReset) : untilReset;
  const reset = Math.ceil(budget.resetAtMs / 1000);
  const details = {
    reason: 'RATE_LIMIT_EXCEEDED',
    retry_after: seconds,
    limit,
    period,
    remaining: budget.remaining,
    reset,
  };
  const headers: Record<string, string> =
    dialect === 'doc'
      ? {}
      : {
          'retry-after': String(seconds),
          'x-ratelimit-limit': String(limit),
          'x-ratelimit-period': period,
          'x-ratelimit-remaining': String(budget.remaining),
          'x-ratelimit-reset': String(reset),
        };
  return errorReply(call, 429, 'RESOURCE_EXHAUSTED', 'Rate limit exceeded', details, headers);
}
