import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decideOnLookup, decideOnSubmit } from '../../src/core/decide.ts';
import {
  AccountHeldError,
  errorCodes,
  InvalidSubmissionError,
  VendorContractError,
  VendorRejectedError,
  VendorThrottledError,
  VendorUnavailableError,
} from '../../src/core/errors.ts';
import { combineOutcomes, outcomes, type VendorJob, type VendorJobOutcome } from '../../src/core/submission.ts';

describe('the error table', () => {
  it.each([
    [new VendorRejectedError('no', { httpStatus: 400 }), 'reject', 'backoff'],
    [new VendorRejectedError('no', { httpStatus: 404 }), 'reject', 'gone'],
    [new VendorRejectedError('no', { httpStatus: 410 }), 'reject', 'gone'],
    [new InvalidSubmissionError([{ path: 'input', message: 'x' }]), 'reject', 'backoff'],
    [new AccountHeldError('unauthorized', 'no'), 'hold', 'hold'],
    [new AccountHeldError('quota', 'no'), 'hold', 'hold'],
    [new VendorThrottledError('slow', { retryAfterMs: 5 }), 'throttle', 'throttle'],
    [new VendorUnavailableError('refused', { taken: 'no' }), 'resend', 'backoff'],
    [new VendorUnavailableError('timeout', { taken: 'maybe' }), 'reconcile', 'backoff'],
    [new VendorContractError('odd'), 'reconcile', 'backoff'],
    [new TypeError('a fault of our own'), 'reconcile', 'backoff'],
    ['not even an error', 'reconcile', 'backoff'],
  ])('%s', (error, onSubmit, onLookup) => {
    expect(decideOnSubmit(error)).toBe(onSubmit);
    expect(decideOnLookup(error)).toBe(onLookup);
  });

  it('is what docs/errors.md says', () => {
    const documented = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `([a-z_]+)` \| (.+) \|$/gm)];
    expect(Object.fromEntries(documented.map(([, code, meaning]) => [code, meaning]))).toEqual(errorCodes);
  });
});

describe('what the ends of vendor jobs make of a submission', () => {
  const job = (outcome: VendorJobOutcome): VendorJob => ({ id: outcome, kind: 'job', status: 'running', outcome });
  it.each<[VendorJobOutcome[], string]>([
    [[], 'succeeded'],
    [['succeeded', 'succeeded'], 'succeeded'],
    [['failed'], 'failed'],
    [['failed', 'canceled', 'lost'], 'failed'],
    [['lost', 'lost'], 'lost'],
    [['succeeded', 'lost'], 'partial'],
    [['succeeded', 'failed'], 'partial'],
    [['canceled'], 'failed'],
  ])('%j → %s', (ended, outcome) => {
    expect(combineOutcomes(ended.map(job))).toBe(outcome);
    expect(outcomes).toContain(outcome);
  });
});
