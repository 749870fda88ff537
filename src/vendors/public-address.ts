import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { StepFailedError } from '../core/errors.ts';

/**
 * Refuses links that lead anywhere but to the public internet. A link comes from a vendor's answer, so a hostile or
 * broken vendor could otherwise have workers read the internal network or a cloud's metadata service.
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
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')
    throw refused(`${parsed.protocol} is not http or https`);
  if (parsed.username !== '' || parsed.password !== '') throw refused('the link carries credentials');
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  if (!allowPrivate && ipaddr.isValid(host) && !isPublicAddress(host)) throw refused(`${host} is not a public address`);
  return parsed;
}

/** True for addresses of the public internet: neither private, loopback, link-local, multicast, reserved nor mapped to one. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  // `process` unwraps IPv4 addresses that are written as IPv6.
  return ipaddr.process(address).range() === 'unicast';
}

/** True for a URL that names a private or loopback address, or this machine. */
export function isPrivateUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || (ipaddr.isValid(host) && !isPublicAddress(host));
}

/**
 * A DNS look-up for sockets that yields public addresses only. Checked where the connection is made, so a name that
 * changes its answer between check and use gains nothing.
 */
export function publicLookup(allowPrivate: boolean): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const usable = allowPrivate ? found : found.filter((entry) => isPublicAddress(entry.address));
      const first = usable[0];
      if (first === undefined) {
        const problem: NodeJS.ErrnoException = refused(`${hostname} has no public address`);
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
