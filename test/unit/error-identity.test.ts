import { describe, expect, it, vi } from 'vitest';
import { decideOnLookup, decideOnSubmit } from '../../src/core/decide.ts';
import * as ours from '../../src/core/errors.ts';

/** A vendor's module may bring a copy of this library of its own. */
describe('an error of another copy of the library', async () => {
  vi.resetModules();
  const theirs = await import('../../src/core/errors.ts');

  it('is really of another class', () => {
    expect(theirs.VendorRejectedError).not.toBe(ours.VendorRejectedError);
    expect(Object.getPrototypeOf(new theirs.VendorRejectedError('no'))).not.toBe(ours.VendorRejectedError.prototype);
  });

  it('is known by its class, and by no other', () => {
    const rejected: unknown = new theirs.VendorRejectedError('no', { httpStatus: 404 });
    expect(rejected).toBeInstanceOf(ours.VendorRejectedError);
    expect(rejected).toBeInstanceOf(ours.JobferryError);
    expect(rejected).not.toBeInstanceOf(ours.VendorThrottledError);
    expect(ours.toErrorInfo(rejected)).toEqual({ code: 'vendor_rejected', message: 'no' });
  });

  it('leads to the same decision', () => {
    expect(decideOnSubmit(new theirs.VendorRejectedError('no'))).toBe('reject');
    expect(decideOnSubmit(new theirs.AccountHeldError('quota', 'no'))).toBe('hold');
    expect(decideOnSubmit(new theirs.VendorThrottledError('no'))).toBe('throttle');
    expect(decideOnSubmit(new theirs.VendorUnavailableError('no', { taken: 'no' }))).toBe('resend');
    expect(decideOnLookup(new theirs.VendorRejectedError('no', { httpStatus: 404 }))).toBe('gone');
  });

  it('is known under a name of its own', () => {
    class OverQuota extends theirs.VendorThrottledError {}
    expect(new OverQuota('no')).toBeInstanceOf(ours.VendorThrottledError);
    expect(new OverQuota('no')).not.toBeInstanceOf(ours.VendorRejectedError);
  });

  it('is not taken for one where it only has the name', () => {
    expect(Object.assign(new Error('no'), { name: 'VendorRejectedError' })).not.toBeInstanceOf(ours.JobferryError);
    expect(null).not.toBeInstanceOf(ours.JobferryError);
  });
});
