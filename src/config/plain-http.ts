import ipaddr from 'ipaddr.js';
import type { Fault } from '../core/json.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { isPublicAddress } from '../vendors/transfers/public-address.ts';
import type { ConfiguredAccount } from './accounts.ts';

/**
 * Refuses vendors' addresses in plain http, which shows keys and documents to every network on the way. Allowed are this
 * machine and, if private addresses are allowed at all, addresses and names that are private.
 */
export function refusePlainHttp(
  vendors: readonly { adapter: VendorAdapter; accounts: readonly ConfiguredAccount[] }[],
  allowPrivateUrls: boolean,
): Fault[] {
  return vendors.flatMap(({ adapter, accounts }) =>
    accounts.flatMap(({ name, account }) => {
      const url = baseUrlOf(adapter, account);
      if (url?.protocol !== 'http:') return [];
      const host = url.hostname.replace(/^\[|\]$/g, '');
      if (isThisMachine(host) || (allowPrivateUrls && isPrivateHost(host))) return [];
      const hint = isPrivateHost(host) ? '; for a private network set JOBFERRY_ALLOW_PRIVATE_URLS=true' : '';
      return [
        {
          path: `accounts.${adapter.name}.${name}.baseUrl`,
          message: `${url.origin} is plain http, which shows the key to every network on the way: use https${hint}`,
        },
      ];
    }),
  );
}

/** Where an account's requests go; undefined if its vendor's module throws. */
export function baseUrlOf(adapter: VendorAdapter, account: unknown): URL | undefined {
  try {
    return new URL(adapter.http.baseUrl(account));
  } catch {
    return undefined;
  }
}

function isThisMachine(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  return ipaddr.isValid(host) && ipaddr.process(host).range() === 'loopback';
}

/** Names without a dot, and names in domains that public resolvers do not serve (RFC 6762, 6761, 8375 and ICANN's). */
function isPrivateHost(host: string): boolean {
  if (ipaddr.isValid(host)) return !isPublicAddress(host);
  return !host.includes('.') || /\.(?:local|localhost|internal|test|lan|home\.arpa)$/.test(host);
}
