import { describe, expect, it } from 'vitest';
import { defaultReplyPatterns, whyReplyIsRefused } from '../../src/queues/reply-queues.ts';
import { parseSubmitJob, salvage } from '../../src/queues/submit-job.ts';

const vendors = ['knowhere', 'results'];
const isAllowed = (queue: string, allow: readonly string[] | undefined = defaultReplyPatterns): boolean =>
  whyReplyIsRefused(queue, { vendors, allow }) === undefined;

describe('queues that may be replied to', () => {
  it.each(['results', 'results-eu', 'results.orders', 'orders-results', 'orders.results'])('%s by default', (queue) => {
    expect(isAllowed(queue)).toBe(true);
  });

  it.each(['payments.charge', 'results2', 'myresults', 'resultsX-', 'Results', 'orders-results2', 'jobferry'])(
    'not %s by default',
    (queue) => expect(isAllowed(queue)).toBe(false),
  );

  it('none of the product’s own, whatever the list says', () => {
    expect(isAllowed('knowhere.submit', ['*'])).toBe(false);
    expect(isAllowed('results.poll', ['*', 'results.poll'])).toBe(false);
    expect(isAllowed('jobferry', ['*'])).toBe(false);
    expect(isAllowed('knowhere.submit', undefined)).toBe(false);
  });

  it('`results` also where the list does not name it', () => {
    expect(isAllowed('results', ['orders-*'])).toBe(true);
    expect(isAllowed('results', [])).toBe(true);
  });

  it('any, where the configuration is not known', () => {
    expect(whyReplyIsRefused('payments.charge', { vendors, allow: undefined })).toBeUndefined();
  });

  it.each([
    ['a*b*c', 'axbxc', true],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'acb', false],
    ['a*ab', 'ab', false],
    ['ab*ba', 'aba', false],
    ['*', 'anything', true],
    ['a.c', 'abc', false],
    ['**x', 'yx', true],
    ['x*y*y', 'xy', false],
  ])('the pattern %s and %s: %s', (pattern, queue, fits) => {
    expect(isAllowed(queue, [pattern])).toBe(fits);
  });

  it('in a time that no pattern can stretch', () => {
    const startedAt = performance.now();
    expect(isAllowed('a'.repeat(128), [`${'*a'.repeat(60)}*b`])).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(100);
  });
});

describe('a submission that names a queue which is not allowed', () => {
  const rules = { vendors, allow: ['orders-*'] };

  it('is refused with the path and the list, and answered on the default queue', () => {
    const parsed = parseSubmitJob({ input: {}, replyTo: 'payments.charge', metadata: { order: 1 } }, rules);
    expect(parsed).toMatchObject({
      ok: false,
      faults: [{ path: 'replyTo', message: expect.stringContaining('replyTo.allow: orders-*') as string }],
      salvaged: { replyTo: 'results', metadata: { order: 1 } },
    });
  });

  it('is answered there also when it was taken before the list changed', () => {
    expect(salvage({ replyTo: 'orders-done' }, rules).replyTo).toBe('orders-done');
    expect(salvage({ replyTo: 'invoices-done' }, rules).replyTo).toBe('results');
  });
});
