import { describe, expect, test } from 'vitest';
import { formsOf, hideFields, isSecretName, redactText, redactValue, withoutForms } from '../../src/core/redact.ts';

describe('redactText', () => {
  test.each([
    ['a signed link', 'PUT https://s3.test/b/k.zip?X-Amz-Signature=SECRETVALUE&X-Amz-Expires=60 failed', 'SECRETVALUE'],
    ['a fragment', 'see https://files.test/a#access=SECRETVALUE', 'SECRETVALUE'],
    ['a link inside a link', 'https://https://x.test/?sig=SECRETVALUE', 'SECRETVALUE'],
    ['an encoded link', 'https://go.test/to/https%3A%2F%2Fs3.test%2Fk%3FX-Amz-Signature%3DSECRETVALUE', 'SECRETVALUE'],
    ['user info', 'connect redis://default:SECRETVALUE@cache.test:6379/0', 'SECRETVALUE'],
    ['user info with an at sign', 'redis://u:p@SECRETVALUE@cache.test', 'SECRETVALUE'],
    ['a query without a URL', '/bucket/key?sig=SECRETVALUE&se=1', 'SECRETVALUE'],
    ['a bearer token', 'authorization: Bearer SECRETVALUE', 'SECRETVALUE'],
    ['another scheme', 'Authorization: Token SECRETVALUE', 'SECRETVALUE'],
    ['a header in JSON', '{"authorization":"Bearer SECRETVALUE"}', 'SECRETVALUE'],
    ['a header in JSON in JSON', '{\\"x-api-key\\":\\"SECRETVALUE\\"}', 'SECRETVALUE'],
    ['a cookie', 'Cookie: a=b; session=SECRETVALUE', 'SECRETVALUE'],
    ['a vendor key', 'key sk_SECRETVALUE is not valid', 'SECRETVALUE'],
    ['a named key', 'apiKey=SECRETVALUE', 'SECRETVALUE'],
    ['a camel case name', 'clientSecret: "SECRETVALUE"', 'SECRETVALUE'],
    ['a token', 'refresh_token=SECRETVALUE', 'SECRETVALUE'],
    ['a JSON web token', 'x_eyJhbGciOiJIUzI1NiJ9.SECRETVALUE.sig here', 'SECRETVALUE'],
    ['a private key', '-----BEGIN RSA PRIVATE KEY-----\nSECRETVALUE\n-----END RSA PRIVATE KEY-----', 'SECRETVALUE'],
  ])('hides %s', (_name, text, secret) => {
    const redacted = redactText(text);
    expect(redacted).not.toContain(secret);
    expect(redacted).toContain('[redacted]');
  });

  test.each([
    'job_abc123 is running, 42/100',
    'https://example.com/reports/a.pdf',
    'Unexpected token } in JSON at position 4',
    'task-12 of risk-list',
    'knowhere.parse invoice-2291',
    'max_tokens: 4096',
    'sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  ])('leaves %j alone', (text) => {
    expect(redactText(text)).toBe(text);
  });

  test('keeps what tells where a link went', () => {
    expect(redactText('https://s3.test/bucket/key.zip?X-Amz-Signature=abc')).toBe(
      'https://s3.test/bucket/key.zip?[redacted]',
    );
  });

  test.each([
    'a.',
    'http://',
    'eyJ-',
    'eyJabcdefgh.',
    'https://a@',
    '%3f',
    'sk_',
    'token ',
    'x=',
    '-----BEGIN PRIVATE KEY-----',
    'authorization: ',
    '\\',
  ])('takes linear time on %j repeated to two megabytes', (piece) => {
    const timeOf = (length: number): number => {
      const text = piece.repeat(Math.ceil(length / piece.length));
      const started = performance.now();
      redactText(text);
      return performance.now() - started;
    };
    timeOf(250_000);
    // Four times in linear time, sixteen in quadratic; a machine under load doubles either.
    expect(timeOf(2_000_000)).toBeLessThan(9 * timeOf(500_000) + 100);
  });
});

describe('redactValue', () => {
  test('hides values of fields named like a secret, and texts everywhere', () => {
    expect(
      redactValue({
        apiKey: 'abc',
        'X-Api-Key': 'abc',
        accessToken: 'abc',
        nested: [{ client_secret: 'abc', link: 'https://x.test/a?sig=abc' }],
        'https://x.test/?sig=abc': 1,
        password: null,
        requiresPassword: true,
        tokens: 12,
      }),
    ).toEqual({
      apiKey: '[redacted]',
      'X-Api-Key': '[redacted]',
      accessToken: '[redacted]',
      nested: [{ client_secret: '[redacted]', link: 'https://x.test/a?[redacted]' }],
      'https://x.test/?[redacted]': 1,
      password: null,
      requiresPassword: true,
      tokens: 12,
    });
  });

  test('is bounded in depth and drops __proto__', () => {
    let deep: unknown = 'sk_secretvalue';
    for (let level = 0; level < 50_000; level += 1) deep = [deep];
    expect(JSON.stringify(redactValue(deep))).not.toContain('secretvalue');
    const copy = redactValue(JSON.parse('{"__proto__":{"polluted":1},"a":1}')) as Record<string, unknown>;
    expect(copy).toEqual({ a: 1 });
    expect(copy['polluted']).toBeUndefined();
  });
});

test('isSecretName knows the spellings of one name', () => {
  for (const name of [
    'apiKey',
    'api_key',
    'API-KEY',
    'x-api-key',
    'refreshToken',
    'Set-Cookie',
    'awsSecretAccessKey',
  ]) {
    expect(isSecretName(name), name).toBe(true);
  }
  for (const name of ['key', 'tokens', 'id', 'checksum', 'author', 'keywords']) {
    expect(isSecretName(name), name).toBe(false);
  }
});

describe('withoutForms', () => {
  const secret = 'Zm+/0a1b2c3d4e5f"==';
  const forms = formsOf(secret);

  test.each([
    ['as it is', secret],
    ['in JSON', JSON.stringify({ sent: secret })],
    ['in percent-encoding', `https://example.com/?key=${encodeURIComponent(secret)}`],
    ['in base64', Buffer.from(secret).toString('base64')],
    ['in base64 behind one byte', Buffer.from(`x${secret}y`).toString('base64')],
    ['in base64 behind two bytes', Buffer.from(`xy${secret}`).toString('base64url')],
  ])('takes a secret out that stands there %s', (_how, text) => {
    const left = withoutForms(`before ${text} after`, forms);
    expect(left).toMatch(/^before .*\[redacted\].* after$/);
    for (const form of forms) expect(left).not.toContain(form);
  });

  test('leaves a text without it alone, and short words everywhere', () => {
    expect(withoutForms('nothing here', forms)).toBe('nothing here');
    expect(formsOf('sk_test')).toEqual([]);
  });
});

describe('tokens and names that services of others use', () => {
  test.each([
    'ghs_0123456789abcdef',
    'glpat-0123456789abcdefghij',
    'npm_0123456789abcdefghijABCDEFGHIJ012345',
    'hf_abcdefghijklmnopqrstuvwxyzABCDEFGH',
    'SG.0123456789abcdef.0123456789abcdef',
    'dckr_pat_0123456789abcdef',
    'hvs.0123456789abcdefghij',
    'ya29.a0123456789abcdef',
    'dop_v1_0123456789abcdef0123456789abcdef',
    'shpat_0123456789abcdef0123456789abcdef',
  ])('%s', (token) => {
    expect(redactText(`said ${token} to it`)).toBe('said [redacted] to it');
  });

  test('addresses that are a secret as a whole, and named values in text', () => {
    expect(redactText('POST https://hooks.slack.com/services/T0/B0/planted now')).toBe(
      'POST https://hooks.slack.com/services/[redacted] now',
    );
    expect(redactText('AccountKey=planted0; pin: 4711; sessionId=planted1')).not.toMatch(/planted|4711/);
    expect(redactText('npm_lifecycle_event and shopping: a pinned list')).toBe(
      'npm_lifecycle_event and shopping: a pinned list',
    );
  });

  test('fields', () => {
    for (const name of ['pin', 'userPin', 'pwd', 'otp', 'jwt', 'sessionId', 'iban', 'card_number', 'IBAN'])
      expect(isSecretName(name), name).toBe(true);
    for (const name of ['shopping', 'spin', 'pinned', 'option', 'urban', 'session'])
      expect(isSecretName(name), name).toBe(false);
  });

  test('further fields, once they are told', () => {
    expect(isSecretName('patientNumber')).toBe(false);
    hideFields(['patient-number']);
    expect(redactValue({ patientNumber: 17, patient: 1 })).toEqual({ patientNumber: '[redacted]', patient: 1 });
  });

  test('our own key in hex', () => {
    const secret = 'Zm+/0a1b2c3d';
    const hex = Buffer.from(secret).toString('hex');
    for (const quoted of [hex, hex.toUpperCase()])
      expect(withoutForms(`got ${quoted}!`, formsOf(secret))).toBe('got [redacted]!');
  });
});
