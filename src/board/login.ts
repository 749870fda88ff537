import { createHash, timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Login } from './board-options.ts';

/** Failures that one address may make in `windowMs`; after that it is not even asked. */
const maxFailures = 10;
const windowMs = 60_000;
/** Addresses that are remembered; the one that failed longest ago is forgotten first. */
const maxAddresses = 1_000;
/** Slow answers that are kept waiting at a time, so that failing is slow without costing memory. */
const maxWaiting = 64;

export type Verdict = 'granted' | 'missing' | 'wrong' | 'blocked';

/**
 * HTTP Basic login that does not tell by its timing how close a guess was, and that makes guessing slow.
 * Failures are counted per address before the answer is delayed, so guessing in parallel gains nothing.
 */
export class LoginCheck {
  readonly #user: Buffer;
  readonly #password: Buffer;
  readonly #failures = new Map<string, { count: number; since: number }>();
  #waiting = 0;

  constructor(login: Login) {
    this.#user = digest(login.user);
    this.#password = digest(login.password);
  }

  /** How many failures this address has made in the running window. */
  failuresOf(address: string): number {
    return this.#current(address)?.count ?? 0;
  }

  /**
   * @param address - who asks, as far as the network tells.
   * @param header - the `Authorization` header.
   */
  async check(address: string, header: string | undefined): Promise<Verdict> {
    if (header === undefined) return 'missing';
    const key = addressKey(address);
    if (this.failuresOf(key) >= maxFailures) return 'blocked';
    const given = parseBasic(header);
    // Both are always compared: a wrong name must take as long as a wrong password.
    const userFits = timingSafeEqual(digest(given?.user ?? ''), this.#user);
    const passwordFits = timingSafeEqual(digest(given?.password ?? ''), this.#password);
    if (given !== undefined && userFits && passwordFits) {
      this.#failures.delete(key);
      return 'granted';
    }
    const count = this.#countFailure(key);
    if (this.#waiting < maxWaiting) {
      this.#waiting += 1;
      await sleep(Math.min(100 * count, 1_000), undefined, { ref: false }).finally(() => (this.#waiting -= 1));
    }
    return 'wrong';
  }

  #current(key: string): { count: number; since: number } | undefined {
    const entry = this.#failures.get(key);
    return entry !== undefined && Date.now() - entry.since < windowMs ? entry : undefined;
  }

  #countFailure(key: string): number {
    const entry = this.#current(key) ?? { count: 0, since: Date.now() };
    entry.count += 1;
    this.#failures.delete(key);
    this.#failures.set(key, entry);
    const oldest = this.#failures.keys().next().value;
    if (this.#failures.size > maxAddresses && oldest !== undefined) this.#failures.delete(oldest);
    return entry.count;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** One household has a whole /64 of IPv6 addresses, so those count as one. */
function addressKey(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  return address.split(':').slice(0, 4).join(':');
}

function parseBasic(header: string): Login | undefined {
  const match = /^Basic\s+([A-Za-z0-9+/=_-]{1,2048})\s*$/i.exec(header);
  if (match?.[1] === undefined) return undefined;
  const text = Buffer.from(match[1], 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
