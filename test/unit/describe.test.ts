import { describe, expect, it } from 'vitest';
import { describeDuration, describeState } from '../../src/core/describe.ts';
import { polled } from '../../src/core/story.ts';
import { receive } from '../../src/core/submission.ts';

describe('describeDuration', () => {
  it.each([
    [0, '0 ms'],
    [999.4, '999 ms'],
    [999.6, '1 s'],
    [12_340, '12.3 s'],
    [59_940, '59.9 s'],
    [59_960, '1 min'],
    [899_600, '15 min'],
    [899_400, '14 min 59 s'],
    [3_599_700, '1 h'],
    [5_430_000, '1 h 31 min'],
    [86_399_000, '24 h'],
  ])('says %d ms as %s: no unit is full', (ms, text) => {
    expect(describeDuration(ms)).toBe(text);
    if (ms > 0) expect(describeDuration(-ms)).toBe(`-${text}`);
  });
});

describe('describeState', () => {
  it.each([
    ['canceled', 'canceled', 'canceled'],
    ['expired', 'deadline_exceeded', 'expired: deadline_exceeded'],
    ['succeeded', undefined, 'succeeded'],
  ] as const)('says %s with %s as %s', (outcome, code, text) => {
    const error = code === undefined ? null : { code, message: '' };
    const state = { ...receive('a', 'use', 0, 1), phase: 'settled' as const, settled: { outcome, error, at: 1 } };
    expect(describeState(state)).toBe(text);
  });
});

describe('the line of a poll', () => {
  const poll = {
    polls: 4,
    elapsed: '+12.3 s',
    notices: [],
    seen: 'running 42/100',
    inMs: 8_000,
    isAskedByVendor: false,
  };

  it('tells how the vendor jobs stand, or why that is not known', () => {
    expect(polled({ ...poll, trouble: undefined })).toBe('poll 4 at +12.3 s: running 42/100, next in 8 s');
    const trouble = { code: 'vendor_unavailable', message: 'cut' };
    expect(polled({ ...poll, trouble, isAskedByVendor: true })).toBe(
      'poll 4 at +12.3 s: vendor_unavailable: cut; next in 8 s (asked by the vendor)',
    );
  });
});
