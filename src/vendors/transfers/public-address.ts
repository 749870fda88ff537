import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { StepFailedError } from '../../core/errors.ts';

/**
 * Refuses links that lead anywhere but to the public internet, and links that everybody on the way could read or change.
 * A link comes from a vendor's answer, so a hostile or broken vendor could otherwise have workers read the internal
 * network or a cloud's metadata service; and what goes over plain http is the customer's document.
 *
 * - https: to public addresses; to others where `allowPrivate` says so
 * - http: to addresses that are not public, where `allowPrivate` says so; never to the internet
 */

/**
 * Checks what can be told from the link alone.
 * @throws StepFailedError `address_refused`
 */
export function checkLink(url: string, allowPrivate: boolean): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw refused('the link is no URL');
  }
  const { protocol } = parsed;
  if (protocol !== 'http:' && protocol !== 'https:') throw refused(`${protocol} is not http or https`);
  if (parsed.username !== '' || parsed.password !== '') throw refused('the link carries credentials');
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const isAddress = ipaddr.isValid(host);
  if (!allowPrivate && isAddress && !isPublicAddress(host)) throw refused(`${host} is not a public address`);
  if (protocol === 'http:' && (!allowPrivate || (isAddress && isPublicAddress(host))))
    throw refused(`plain http to ${host}: links lead to https, or to private addresses where those are allowed`);
  return parsed;
}

/** Answers to virtual machines of Azure only, from an address of the public range: metadata, and keys of extensions. */
const azureWireServer = '168.63.129.16';
/** All of IPv6 that is handed out to the internet. What lies outside is reserved, or IPv4 in a spelling of its own. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** True for addresses of the public internet: neither private, loopback, link-local, multicast, reserved nor mapped to one. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` unwraps IPv4 addresses that are written as IPv6.
  const parsed = ipaddr.process(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return parsed.toString() !== azureWireServer;
  return parsed.match(globalUnicast) && !isIsatap(parsed);
}

/** An IPv4 address in the lower half of an IPv6 one, that a tunnel of the local network leads to (RFC 5214). */
function isIsatap({ parts }: ipaddr.IPv6): boolean {
  return (parts[4] === 0 || parts[4] === 0x200) && parts[5] === 0x5efe;
}

/** True for a URL that names a private or loopback address, or this machine. */
export function isPrivateUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || (ipaddr.isValid(host) && !isPublicAddress(host));
}

/** Which addresses a name may stand for. */
export type AddressKind = 'public' | 'private' | 'any';

/**
 * A DNS look-up for sockets that yields addresses of one kind only. Checked where the connection is made, so a name that
 * changes its answer between check and use gains nothing.
 */
export function linkLookup(kind: AddressKind): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const usable = found.filter(({ address }) => kind === 'any' || isPublicAddress(address) === (kind === 'public'));
      const first = usable[0];
      if (first === undefined) {
        const why =
          kind === 'private' ? 'is not a private address, and the link is plain http' : 'has no public address';
        const problem: NodeJS.ErrnoException = refused(`${hostname} ${why}`);
        callback(problem, '', 0);
      } else if (options.all === true) {
        (callback as unknown as (error: null, addresses: LookupAddress[]) => void)(null, usable);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}

function refused(message: string): StepFailedError {
  return new StepFailedError('address_refused', message);
}
