/** The times that an event can name in RFC 3339: the years 1 to 9999 in UTC, epoch ms. */
const earliestMs = -62_135_596_800_000;
const latestMs = 253_402_300_799_999;

/** Whether an event can name this time, epoch ms. Beyond it `toISOString` writes six digits of year, which no schema takes. */
export function isEventTime(at: number): boolean {
  return at >= earliestMs && at <= latestMs;
}
