import { isEventTime } from '../core/event-time.ts';

/**
 * Reads a vendor's timestamp. One without a zone is UTC: `new Date()` would take it for local time.
 * @returns epoch ms, or undefined for what is not a timestamp, or one that an event could not name.
 */
export function parseTimestamp(text: unknown): number | undefined {
  if (typeof text !== 'string' || !/^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/.test(text)) return undefined;
  const zoned = /(?:[zZ]|[+-]\d{2}:?\d{2})$/.test(text) ? text : `${text}Z`;
  // Python writes microseconds; JavaScript reads milliseconds everywhere, more digits not in every engine.
  const parsed = Date.parse(zoned.replace(' ', 'T').replace(/(\.\d{3})\d+/, '$1'));
  return isEventTime(parsed) ? parsed : undefined;
}
