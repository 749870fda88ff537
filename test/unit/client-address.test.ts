import { describe, expect, test } from 'vitest';
import { addressKey, isLoopbackAddress, TrustedProxies } from '../../src/board/client-address.ts';

describe('what counts as one client', () => {
  test.each([
    ['2001:db8::1', '2001:db8:0:0::ffff'],
    ['2001:db8:0:0:1::', '2001:0db8:0000:0000:ffff:1:2:3'],
    ['2001:db8:1::1', '2001:db8:1:0:8000::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['fe80::1%eth0', 'fe80::2%lo'],
  ])('%s and %s are one', (one, other) => {
    expect(addressKey(one)).toBe(addressKey(other));
  });

  test.each([
    ['2001:db8::1', '2001:db8:0:1::1'],
    ['10.0.0.1', '10.0.0.2'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.2'],
    ['unknown', '10.0.0.1'],
  ])('%s and %s are two', (one, other) => {
    expect(addressKey(one)).not.toBe(addressKey(other));
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.8.9.1', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['10.0.0.1', false],
  ['::ffff:10.0.0.1', false],
  ['nonsense', false],
  [undefined, false],
])('that %s is this machine is %s', (address, isHere) => {
  expect(isLoopbackAddress(address)).toBe(isHere);
});

describe('who is behind a proxy', () => {
  const proxies = new TrustedProxies(['10.0.0.7', '172.16.0.0/12', '2001:db8::/32']);

  test.each([
    ['a peer that is not trusted is the client', '9.9.9.9', '1.1.1.1', '9.9.9.9'],
    ['the last entry is what a trusted proxy saw', '10.0.0.7', '6.6.6.6, 1.1.1.1', '1.1.1.1'],
    ['proxies in a row are passed', '10.0.0.7', '1.1.1.1, 172.20.0.3, 172.31.0.1', '1.1.1.1'],
    ['what a client wrote in front is not believed', '10.0.0.7', '10.0.0.7, 1.1.1.1', '1.1.1.1'],
    ['ports are left out', '::ffff:10.0.0.7', '1.1.1.1:5000', '1.1.1.1'],
    ['IPv6 with a port as well', '2001:db8::5', '[2a00::1]:443', '2a00::1'],
    ['what is no address ends at the proxy', '10.0.0.7', '1.1.1.1, unknown', '10.0.0.7'],
    ['no header leaves the proxy', '10.0.0.7', undefined, '10.0.0.7'],
  ])('%s', (_what, peer, header, client) => {
    expect(proxies.clientOf(peer, header)).toBe(client);
  });

  test('a trusted chain ends, however long the header is', () => {
    expect(proxies.clientOf('10.0.0.7', '10.0.0.7,'.repeat(5_000))).toBe('10.0.0.7');
  });

  test.each(['proxy.example', '10.0.0.0/33', '10.0.0', '*', '10.0.0.0/', '::/0x1'])('%s is refused', (text) => {
    expect(() => new TrustedProxies([text])).toThrow(/JOBFERRY_TRUSTED_PROXY/);
  });
});
