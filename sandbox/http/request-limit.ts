interface Window {
  startedAtMs: number;
  count: number;
}

/** What is left of a limit after a request was counted. */
export interface Budget {
  /** False: the request was one too many. */
  readonly isAllowed: boolean;
  readonly remaining: number;
  readonly resetAtMs: number;
}

/** Counts requests in fixed windows that begin at full minutes, hours, days. A key names who asks, and for what. */
export class RequestLimit {
  readonly #windows = new Map<string, Window>();

  /** Counts one request. */
  draw(key: string, limit: number, windowMs: number): Budget {
    const startedAtMs = windowStart(windowMs);
    let window = this.#windows.get(key);
    if (window === undefined || window.startedAtMs !== startedAtMs) {
      window = { startedAtMs, count: 0 };
      this.#windows.set(key, window);
    }
    window.count += 1;
    return {
      isAllowed: window.count <= limit,
      remaining: Math.max(0, limit - window.count),
      resetAtMs: startedAtMs + windowMs,
    };
  }

  /** Counts one request. @returns seconds to wait when it is one too many, or null */
  refuse(key: string, limit: number | null, windowMs: number): number | null {
    if (limit === null) return null;
    const { isAllowed, resetAtMs } = this.draw(key, limit, windowMs);
    return isAllowed ? null : Math.max(1, Math.ceil((resetAtMs - Date.now()) / 1_000));
  }

  /** What a further request would find; counts nothing. */
  peek(key: string, limit: number, windowMs: number): Omit<Budget, 'isAllowed'> {
    const startedAtMs = windowStart(windowMs);
    const window = this.#windows.get(key);
    const used = window?.startedAtMs === startedAtMs ? window.count : 0;
    return { remaining: Math.max(0, limit - used), resetAtMs: startedAtMs + windowMs };
  }

  reset(): void {
    this.#windows.clear();
  }
}

function windowStart(windowMs: number): number {
  const now = Date.now();
  return now - (now % windowMs);
}
