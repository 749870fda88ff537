import { describe, expect, it } from 'vitest';
import type { VendorReport } from '../../src/ports/vendor-adapter.ts';
import { ModuleReader } from '../../src/workers/module-values.ts';

describe('a report that is read for each who asks', () => {
  it('may be a megabyte for every one of a hundred submissions', () => {
    const report: VendorReport = { status: 'running', result: 'x'.repeat(1_000_000) };
    const jobs = [{ id: 'shared', extra: undefined }];
    const answer = new ModuleReader('acme job: look')
      .lookupAnswers(new Map([['shared', () => report]]), jobs)
      .get('shared');
    const read = typeof answer === 'function' ? answer : () => undefined;
    for (let reader = 0; reader < 100; reader += 1)
      expect(read({ id: 'shared', extra: { reader } })?.status, `reader ${reader + 1}`).toBe('running');
  });
});
