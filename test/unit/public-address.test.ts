import { describe, expect, it } from 'vitest';
import {
  checkLink,
  isPrivateUrl,
  isPublicAddress,
  linkLookup,
  type AddressKind,
} from '../../src/vendors/transfers/public-address.ts';

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
    '::127.0.0.1',
    '::7f00:1',
    '::808:808',
    '4000::1',
    '2600::5efe:7f00:1',
    '2600::200:5efe:a00:1',
    '168.63.129.16',
    '::ffff:168.63.129.16',
    'not an address',
  ])('%s is none', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(['8.8.8.8', '168.63.129.15', '2606:4700::1111', '2a00:1450:4001:82f::200e'])('%s is one', (address) => {
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
    expect(checkLink('https://10.0.0.1/x', true).hostname).toBe('10.0.0.1');
    expect(() => checkLink('file:///etc/passwd', true)).toThrow();
    expect(isPrivateUrl('http://localhost:4010/knowhere')).toBe(true);
    expect(isPrivateUrl('https://api.knowhereto.ai')).toBe(false);
  });

  it.each([
    ['http://example.com/a', false],
    ['http://8.8.8.8/a', false],
    ['http://8.8.8.8/a', true],
    ['http://[2606:4700::1111]/a', true],
  ])('takes no plain http to the internet: %s, private ones allowed: %s', (link, allowPrivate) => {
    expect(() => checkLink(link, allowPrivate)).toThrow(/plain http/);
  });

  const resolve = (kind: AddressKind, name = 'localhost'): Promise<unknown> =>
    new Promise((done) => linkLookup(kind)(name, { all: true }, (error, addresses) => done(error ?? addresses)));

  it('refuses a name that resolves to a private address, at the socket', async () => {
    expect(await resolve('public')).toMatchObject({ code: 'address_refused' });
    for (const kind of ['any', 'private'] as const) {
      expect(await resolve(kind)).toEqual(
        expect.arrayContaining([expect.objectContaining({ family: expect.any(Number) as number })]),
      );
    }
  });

  it('refuses a public name for plain http, at the socket', async () => {
    // An address is resolved to itself.
    expect(await resolve('private', '8.8.8.8')).toMatchObject({ code: 'address_refused' });
    expect(await resolve('public', '8.8.8.8')).toMatchObject([{ address: '8.8.8.8' }]);
  });
});
