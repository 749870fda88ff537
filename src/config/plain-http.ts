import ipaddr from 'ipaddr.js';
import type { Fault } from '../core/json.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { isPublicAddress } from '../vendors/transfers/public-address.ts';
import type { ConfiguredAccount } from './accounts.ts';

/**
 * Refuses vendors' addresses in plain http, which show keys and documents to every network on the way: allowed are this
 * machine, and, where private addresses are allowed at all, what is private by its address or its name.
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

/** Where an account's requests go; undefined where its vendor's module does not say. */
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

/** Names without a dot, and those under domains that no public resolver answers for (RFC 6762, 6761, 8375 and ICANN's). */
function isPrivateHost(host: string): boolean {
  if (ipaddr.isValid(host)) return !isPublicAddress(host);
  return !host.includes('.') || /\.(?:local|localhost|internal|test|lan|home\.arpa)$/.test(host);
}
