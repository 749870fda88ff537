import { describe, expect, it } from 'vitest';
import { expiryOf } from '../../src/vendors/sharely/token.ts';

const now = Date.parse('2026-11-22T06:00:00Z');

function token(payload: unknown): string {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(text).toString('base64url')}.c2ln`;
}

describe('end of an access token', () => {
  it('is the exp of the JWT', () => {
    expect(expiryOf(token({ exp: now / 1_000 + 86_400 }), now)).toBe(now + 86_400_000);
  });

  it('reads base64url, whose alphabet differs from base64', () => {
    const text = token({ note: '>>>???~~~ÿÿ', exp: now / 1_000 + 3_600 });
    expect(text.split('.')[1]).toMatch(/[-_]/);
    expect(expiryOf(text, now)).toBe(now + 3_600_000);
  });

  it.each([
    ['no JWT at all', 'opaque-token'],
    ['two parts', `a.${Buffer.from('{}').toString('base64url')}`],
    ['a payload that is no JSON', token('not json')],
    ['a payload that is no object', token('17')],
    ['null', token('null')],
    ['no exp', token({ sub: 'x' })],
    ['an exp that is text', token({ exp: '1900000000' })],
    ['an exp below zero', token({ exp: -5 })],
    ['an exp beyond all dates', token({ exp: 1e300 })],
  ])('is five minutes off with %s', (_, text) => {
    expect(expiryOf(text, now)).toBe(now + 300_000);
  });

  it('is taken at its word as soon as there is time to use it', () => {
    expect(expiryOf(token({ exp: now / 1_000 + 61 }), now)).toBe(now + 61_000);
  });

  it.each([-3_600, 0, 60])('leaves a token in use for a while whose exp is %i s off', (seconds) => {
    expect(expiryOf(token({ exp: now / 1_000 + seconds }), now)).toBe(now + 70_000);
  });
});
