import { describe, expect, it } from 'vitest';
import { isNumberedId, pollJobId, resultJobId, submissionIdOf, whyJobIdIsUnsafe } from '../../src/queues/job-ids.ts';

describe('job ids', () => {
  it.each([
    '',
    'wait',
    'active',
    'meta',
    'events',
    '12',
    '-5',
    '+7',
    'a:b',
    '0:a:b',
    'a:b:c',
    'x'.repeat(600),
    'a\nb',
    'a\u0000',
  ])('refuses %j', (id) => {
    expect(whyJobIdIsUnsafe(id)).toEqual(expect.any(String));
  });

  it.each(['invoice-2291', 'a b/c', 'ä', '1.5', 'waiting', 'Wait'])('takes %j', (id) => {
    expect(whyJobIdIsUnsafe(id)).toBeUndefined();
  });

  it('makes ids that BullMQ can carry of those it can not', () => {
    for (const id of ['wait', 'a:b:c', '17']) {
      expect(whyJobIdIsUnsafe(pollJobId(id))).toBeUndefined();
      expect(pollJobId(id)).toBe(pollJobId(id));
    }
    expect(pollJobId('invoice-2291')).toBe('invoice-2291');
    expect(resultJobId('knowhere.invoice-2291')).toBe('knowhere.invoice-2291');
    expect(resultJobId('knowhere.a:b:c')).not.toContain(':');
  });

  it('names numbered jobs after their vendor', () => {
    expect(submissionIdOf('knowhere', '17')).toBe('knowhere-17');
    expect(submissionIdOf('knowhere', 'invoice')).toBe('invoice');
    expect(isNumberedId('knowhere-17', 'knowhere')).toBe(true);
    expect(isNumberedId('knowhere-x', 'knowhere')).toBe(false);
  });
});
