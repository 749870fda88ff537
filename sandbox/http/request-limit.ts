interface Window {
  startedAtMs: number;
  count: number;
}

/** Counts requests of keys in fixed windows, for vendors that publish no finer rules. */
export class RequestLimit {
  readonly #windows = new Map<string, Window>();

  /** Counts one request. @returns seconds to wait when it is one too many, or null */
  refuse(key: string, limit: number | null, windowMs: number): number | null {
    if (limit === null) return null;
    const now = Date.now();
    const startedAtMs = now - (now % windowMs);
    let window = this.#windows.get(key);
    if (window === undefined || window.startedAtMs !== startedAtMs) {
      window = { startedAtMs, count: 0 };
      this.#windows.set(key, window);
    }
    window.count += 1;
    return window.count <= limit ? null : Math.max(1, Math.ceil((startedAtMs + windowMs - now) / 1_000));
  }

  reset(): void {
    this.#windows.clear();
  }
}
