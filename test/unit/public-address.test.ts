import { describe, expect, it } from 'vitest';
import { checkLink, isPrivateUrl, isPublicAddress, publicLookup } from '../../src/vendors/public-address.ts';

describe('public addresses', () => {
  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    'not an address',
  ])('%s is none', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(['8.8.8.8', '2606:4700::1111'])('%s is one', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  it.each([
    'http://127.0.0.1/x',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://[::ffff:127.0.0.1]/',
    'https://user:pw@example.com/',
    'ftp://example.com/x',
    'file:///etc/passwd',
    'nonsense',
  ])('refuses the link %s', (link) => {
    expect(() => checkLink(link, false)).toThrow();
  });

  it('takes a public link, and a private one where that is allowed', () => {
    expect(checkLink('https://example.com/a?b=c', false).hostname).toBe('example.com');
    expect(checkLink('http://127.0.0.1:1/x', true).port).toBe('1');
    expect(() => checkLink('file:///etc/passwd', true)).toThrow();
    expect(isPrivateUrl('http://localhost:4010/knowhere')).toBe(true);
    expect(isPrivateUrl('https://api.knowhereto.ai')).toBe(false);
  });

  it('refuses a name that resolves to a private address, at the socket', async () => {
    const resolve = (allowPrivate: boolean): Promise<unknown> =>
      new Promise((done) =>
        publicLookup(allowPrivate)('localhost', { all: true }, (error, addresses) => done(error ?? addresses)),
      );
    expect(await resolve(false)).toMatchObject({ code: 'address_refused' });
    expect(await resolve(true)).toEqual(
      expect.arrayContaining([expect.objectContaining({ family: expect.any(Number) as number })]),
    );
  });
});
