/** How long one vendor request may take, ms, unless it says otherwise. */
export const requestTimeoutMs = 30_000;
