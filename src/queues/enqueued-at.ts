/** A time in seconds stays below this for some thousand years, and one in ms is above it since 1973. */
const leastMs = 1e11;

/**
 * When a job was added, epoch ms. BullMQ takes that from whichever client adds it, so it can be anything: seconds and
 * ISO 8601 are understood, what makes no sense or lies in the future counts as now.
 * @param timestamp - as it is stored
 */
export function readEnqueuedAt(timestamp: string | number | undefined, now: number): number {
  const text = String(timestamp ?? '').trim();
  const number = text === '' ? Number.NaN : Number(text);
  const at = Number.isNaN(number) ? Date.parse(text) : number < leastMs ? number * 1_000 : number;
  return Number.isFinite(at) && at > 0 && at <= now ? Math.floor(at) : now;
}
