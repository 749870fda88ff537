import { describe, expect, test } from 'vitest';
import { printable, printableLine } from '../../src/core/printable.ts';
import { redactText, redactValue } from '../../src/core/redact.ts';
import { toSafeInfo } from '../../src/core/safe-error.ts';

const hostile = [
  '\u001b[2J\u001b[H',
  '\u001b]0;title\u0007',
  '\u001b]52;c;ZWNobyBoaQ==\u0007',
  '\u009b31m',
  '\u202eevil\u2066',
  'a\u2028b\u2029c',
  'x\r',
  '\u0000\u007f',
];

describe('text from outside', () => {
  test.each(hostile)('%j holds nothing that a terminal acts on', (text) => {
    for (const shown of [printable(text), redactText(text), String(redactValue(text))]) {
      expect(shown).toMatch(/^[\x20-\x7e]*$/);
      expect(shown).toMatch(/\\x|\\u/);
    }
  });

  test('stays as it is otherwise, in any script', () => {
    const text = 'Rechnung Nr. 17\t– größer, 請求書, 🙂\nsecond line';
    expect(printable(text)).toBe(text);
    expect(printableLine(text)).toBe(text.replace('\t', '\\x09').replace('\n', '\\x0a'));
  });

  test('cannot look like a line of ours where an error is kept', () => {
    const info = toSafeInfo({ code: 'A\nB', message: 'no\nknowhere.parse other: succeeded\u001b[1A' });
    expect(info).toEqual({ code: 'A\\x0aB', message: 'no\\x0aknowhere.parse other: succeeded\\x1b[1A' });
  });

  test('takes time in proportion to its length', () => {
    const startedAt = performance.now();
    printableLine('\u001b'.repeat(1_000_000));
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
