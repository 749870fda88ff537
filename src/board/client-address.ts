import ipaddr from 'ipaddr.js';
import { ConfigError } from '../core/errors.ts';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * The key of one client: an IPv4 address, or an IPv6 /64, which is what one household gets.
 * @param address - as a socket or a header writes it; a text that is not an address is its own key.
 */
export function addressKey(address: string): string {
  const parsed = parseAddress(address);
  if (parsed === undefined) return address;
  if (parsed instanceof ipaddr.IPv4) return parsed.toString();
  // From the parts, not the text, because a written address omits groups of zeros.
  return parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':');
}

/** Whether a connection comes from this machine. */
export function isLoopbackAddress(address: string | undefined): boolean {
  return address !== undefined && parseAddress(address)?.range() === 'loopback';
}

/** The proxies whose `X-Forwarded-For` is trusted: `JOBFERRY_TRUSTED_PROXY`. */
export class TrustedProxies {
  readonly #ranges: readonly [Address, number][];

  /**
   * @param given - addresses and ranges, such as `10.0.0.7` or `172.16.0.0/12`.
   * @throws ConfigError if one is neither.
   */
  constructor(given: readonly string[]) {
    this.#ranges = given.map((text) => parseRange(text));
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  has(address: string | undefined): boolean {
    const parsed = address === undefined ? undefined : parseAddress(address);
    return parsed !== undefined && this.#ranges.some((range) => contains(range, parsed));
  }

  /**
   * The address that a request comes from. `X-Forwarded-For` is read from its end, where trusted proxies write, and only as
   * far as they are trusted: a client can write the rest.
   */
  clientOf(peer: string | undefined, forwardedFor: string | undefined): string {
    let client = peer ?? 'unknown';
    const entries = forwardedFor?.split(',').slice(-20) ?? [];
    for (const entry of entries.reverse()) {
      if (!this.has(client)) break;
      const address = parseAddress(withoutPort(entry.trim()));
      if (address === undefined) break;
      client = address.toString();
    }
    return client;
  }
}

function parseAddress(text: string): Address | undefined {
  // A link-local address names its interface after a percent sign.
  const [bare = ''] = text.split('%', 1);
  return ipaddr.IPv4.isValidFourPartDecimal(bare) || ipaddr.IPv6.isValid(bare) ? ipaddr.process(bare) : undefined;
}

function withoutPort(entry: string): string {
  const match = /^\[([^\]]+)\](?::\d+)?$/.exec(entry) ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(entry);
  return match?.[1] ?? entry;
}

function parseRange(text: string): [Address, number] {
  const address = parseAddress(text);
  if (address !== undefined) return [address, address instanceof ipaddr.IPv4 ? 32 : 128];
  try {
    if (/^[0-9a-f.:]+\/\d{1,3}$/i.test(text)) return ipaddr.parseCIDR(text);
  } catch {
    // Reported below.
  }
  const message = `expected addresses or ranges such as 10.0.0.7 or 172.16.0.0/12, got ${JSON.stringify(text)}`;
  throw new ConfigError([{ path: 'JOBFERRY_TRUSTED_PROXY', message }]);
}

function contains([base, bits]: [Address, number], address: Address): boolean {
  if (base instanceof ipaddr.IPv4) return address instanceof ipaddr.IPv4 && address.match(base, bits);
  return address instanceof ipaddr.IPv6 && address.match(base, bits);
}
