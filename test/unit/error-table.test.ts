import { describe, expect, it } from 'vitest';
import type { ErrorMeaning, ErrorReading, ErrorReply } from '../../src/ports/vendor-adapter.ts';
import { meaningOf, toError } from '../../src/vendors/http/error-table.ts';

function refuse(status: number, reading: ErrorReading = {}): Error {
  const reply: ErrorReply = {
    method: 'POST',
    path: 'v1/jobs',
    status,
    headers: new Headers(),
    body: { message: 'no' },
    retryAfterMs: 7_000,
    meaning: meaningOf(status),
    answered: `POST /v1/jobs answered ${status}`,
  };
  return toError(reply, reading);
}

describe('the error table', () => {
  it.each<[ErrorMeaning, object]>([
    ['rejected', { name: 'VendorRejectedError', isAboutVendorJob: false }],
    ['unauthorized', { name: 'AccountHeldError', reason: 'unauthorized' }],
    ['forbidden', { name: 'AccountHeldError', reason: 'forbidden' }],
    ['quota', { name: 'AccountHeldError', reason: 'quota' }],
    ['throttled', { name: 'VendorThrottledError' }],
    ['not-taken', { name: 'VendorUnavailableError', taken: 'no' }],
    ['unavailable', { name: 'VendorUnavailableError', taken: 'maybe' }],
    ['unexpected', { name: 'VendorContractError' }],
  ])('makes %s of any status where the vendor says so', (as, expected) => {
    for (const status of [302, 400, 401, 429, 500]) {
      const reading = { as, message: 'as the vendor says', details: { id: 1 } };
      expect(refuse(status, reading)).toMatchObject({ ...expected, details: { id: 1 } });
      expect(refuse(status, reading).message).toContain('as the vendor says');
    }
  });

  it('keeps what the status means where the vendor only adds a message or a code', () => {
    const error = refuse(422, { message: 'the title is too long', code: 'TOO_LONG' });
    expect(error).toMatchObject({ name: 'VendorRejectedError', code: 'TOO_LONG', httpStatus: 422 });
    expect(refuse(422).message).toBe('POST /v1/jobs answered 422: no');
    expect(refuse(403, { code: 'NO_SEAT' })).toMatchObject({ code: 'vendor_forbidden', vendorCode: 'NO_SEAT' });
  });

  it('reads the wait of the headers where they are meant, else only that of the vendor', () => {
    expect(refuse(503)).toMatchObject({ retryAfterMs: 7_000 });
    expect(refuse(503, { retryAfterMs: 50 })).toMatchObject({ retryAfterMs: 50 });
    expect(refuse(403, { as: 'throttled' })).toMatchObject({ retryAfterMs: 7_000 });
    expect(refuse(409, { as: 'not-taken' })).toMatchObject({ retryAfterMs: undefined });
    expect(refuse(409, { as: 'not-taken', retryAfterMs: 50 })).toMatchObject({ retryAfterMs: 50 });
  });

  it('takes a word that it does not know for an answer that may hide an accepted submit', () => {
    const error = refuse(409, { as: 'busy' as ErrorMeaning });
    expect(error).toMatchObject({ name: 'VendorContractError', httpStatus: 409 });
    expect(error.message).toContain('readError returned as: "busy"');
  });
});
