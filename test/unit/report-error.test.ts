import { expect, test, vi } from 'vitest';
import { complain } from '../../src/cli/report-error.ts';

/** What a complaint looks like on stderr. */
function complaintOf(line: string): string {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    complain(line);
    return write.mock.calls.map(([text]) => String(text)).join('');
  } finally {
    write.mockRestore();
  }
}

test('a complaint is one line, whatever stood in it', () => {
  expect(complaintOf('one \r\n\n  two\n')).toBe('jobferry: one two\n');
  expect(complaintOf('a  b')).toBe('jobferry: a  b\n');
});

test('a complaint of 100 KB of blanks takes no time', () => {
  const startedAt = performance.now();
  complaintOf(`a${'\t'.repeat(100_000)}b`);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
