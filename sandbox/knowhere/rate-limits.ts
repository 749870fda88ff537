import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import { errorReply } from './errors.ts';
import type { Dialect, KnowhereSettings } from './settings.ts';

interface Window {
  startedAtMs: number;
  count: number;
}

interface Budget {
  readonly allowed: boolean;
  readonly remaining: number;
  readonly resetAtMs: number;
}

const DAY_MS = 86_400_000;
/** What DOC headers announce while limits are off: enough that no client slows down. */
const GENEROUS_LIMIT = 1_000_000;

/** Counts requests of users in fixed windows that begin at full minutes and days. */
export class RateLimits {
  readonly #windows = new Map<string, Window>();

  reset(): void {
    this.#windows.clear();
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
      const limit = settings.requestsPerMinute;
      if (limit === null) return null;
      const budget = this.#draw(`all ${user}`, limit, settings.minuteMs);
      return budget.allowed ? null : tooMany(call, dialect, limit, 'minute', budget);
    }
    const limit = isGetJob ? settings.getJobsPerMinute : settings.otherPerMinute;
    if (limit === null) return null;
    const budget = this.#draw(`${isGetJob ? 'get' : 'other'} ${user}`, limit, settings.minuteMs);
    return budget.allowed ? null : tooMany(call, dialect, limit, 'minute', budget);
  }

  /** The per-minute limit of creates. Its slot is used even when the create is refused for another reason. */
  refuseCreate(call: Call, user: string, dialect: Dialect, settings: KnowhereSettings): Reply | null {
    const limit = settings.createsPerMinute;
    if (limit === null || dialect === 'doc') return null;
    const budget = this.#draw(`create ${user}`, limit, settings.minuteMs);
    return budget.allowed ? null : tooMany(call, dialect, limit, 'minute', budget);
  }

  /** The daily quota of creates; its wait is capped at an hour, though the reset may be further off. */
  refuseDay(call: Call, user: string, dialect: Dialect, settings: KnowhereSettings): Reply | null {
    const limit = settings.createsPerDay;
    if (limit === null || dialect === 'doc') return null;
    const budget = this.#draw(`day ${user}`, limit, DAY_MS);
    return budget.allowed ? null : tooMany(call, dialect, limit, 'day', budget);
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
    const now = Date.now();
    const window = limit === null ? undefined : this.#windows.get(`all ${user}`);
    const startedAtMs = now - (now % settings.minuteMs);
    const used = window !== undefined && window.startedAtMs === startedAtMs ? window.count : 0;
    return {
      'ratelimit-limit': String(limit ?? GENEROUS_LIMIT),
      'ratelimit-remaining': String(Math.max(0, (limit ?? GENEROUS_LIMIT) - used)),
      'ratelimit-reset': String(Math.ceil((startedAtMs + settings.minuteMs) / 1000)),
    };
  }

  #draw(key: string, limit: number, lengthMs: number): Budget {
    const now = Date.now();
    const startedAtMs = now - (now % lengthMs);
    let window = this.#windows.get(key);
    if (window === undefined || window.startedAtMs !== startedAtMs) {
      window = { startedAtMs, count: 0 };
      this.#windows.set(key, window);
    }
    window.count += 1;
    return {
      allowed: window.count <= limit,
      remaining: Math.max(0, limit - window.count),
      resetAtMs: startedAtMs + lengthMs,
    };
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
