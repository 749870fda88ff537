import { describe, expect, test } from 'vitest';
import { completionEvent } from '../../src/core/completion-event.ts';
import { parseTimestamp } from '../../src/vendors/timestamps.ts';

describe("a vendor's timestamp", () => {
  test.each([
    ['2026-05-22T06:10:58.710Z', '2026-05-22T06:10:58.710Z'],
    ['2026-05-22 06:10:58.710123', '2026-05-22T06:10:58.710Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ])('%s is read, and an event can name it', (text, iso) => {
    const read = new Date(parseTimestamp(text) ?? Number.NaN).toISOString();
    expect(read).toBe(iso);
    expect(completionEvent.shape.time.safeParse(read).success).toBe(true);
  });

  test.each(['9999-12-31T23:59:59.999-05:00', '0000-12-31T00:00:00Z', '0001-01-01T00:00:00+05:00', 'yesterday', ''])(
    '%s is left out',
    (text) => expect(parseTimestamp(text)).toBeUndefined(),
  );
});
