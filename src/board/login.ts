import { createHash, timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Login } from './board-options.ts';
import { addressKey } from './client-address.ts';

/** How many logins one address may fail at once; each second restores one. */
const maxFailures = 10;
const refillMs = 1_000;
/** How many addresses are remembered; the one that failed longest ago is forgotten first. */
const maxAddresses = 1_000;
/** How many delayed answers wait at a time: a failed login is slow, but must not cost much memory. */
const maxWaiting = 64;

export type Verdict =
  { kind: 'granted'; login: Login } | { kind: 'missing' } | { kind: 'wrong' } | { kind: 'too many' };

interface KnownLogin {
  login: Login;
  user: Buffer;
  password: Buffer;
}

/**
 * HTTP Basic login whose timing does not reveal how close a guess was, and which slows guessing down.
 *
 * An address may fail ten logins, and one more each second. While it has none left, its logins are not checked, not even
 * correct ones, because the answer would confirm a guess. So guessing is limited to one a second, and an owner who shares
 * the address with an attacker, behind a proxy, gets in after a few tries. Failures are counted before the answer is
 * delayed, so parallel guessing gains nothing.
 */
export class LoginCheck {
  readonly #logins: readonly KnownLogin[];
  /** How many failed logins an address had at a time, by the monotonic clock. */
  readonly #failures = new Map<string, { count: number; at: number }>();
  #waiting = 0;

  constructor(logins: readonly Login[]) {
    this.#logins = logins.map((login) => ({ login, user: digest(login.user), password: digest(login.password) }));
  }

  /** How many failed logins of this address still count. */
  failuresOf(address: string): number {
    const entry = this.#failures.get(addressKey(address));
    if (entry === undefined) return 0;
    return Math.max(0, entry.count - (performance.now() - entry.at) / refillMs);
  }

  /**
   * @param address - the client's address, as far as the network shows it.
   * @param header - the `Authorization` header.
   */
  async check(address: string, header: string | undefined): Promise<Verdict> {
    if (header === undefined) return { kind: 'missing' };
    if (this.failuresOf(address) > maxFailures - 1) return { kind: 'too many' };
    const login = this.#find(header);
    if (login !== undefined) return { kind: 'granted', login };
    const count = this.#countFailure(address);
    if (this.#waiting < maxWaiting) {
      this.#waiting += 1;
      await sleep(Math.min(100 * count, 1_000), undefined, { ref: false }).finally(() => (this.#waiting -= 1));
    }
    return { kind: 'wrong' };
  }

  /** Always compares every name and password, because a wrong name must take as long as a wrong password. */
  #find(header: string): Login | undefined {
    const given = parseBasic(header);
    const user = digest(given?.user ?? '');
    const password = digest(given?.password ?? '');
    let found: Login | undefined;
    for (const known of this.#logins) {
      const userFits = timingSafeEqual(user, known.user);
      const passwordFits = timingSafeEqual(password, known.password);
      if (userFits && passwordFits) found = known.login;
    }
    return given === undefined ? undefined : found;
  }

  #countFailure(address: string): number {
    const key = addressKey(address);
    const count = this.failuresOf(address) + 1;
    this.#failures.delete(key);
    this.#failures.set(key, { count, at: performance.now() });
    const oldest = this.#failures.keys().next().value;
    if (this.#failures.size > maxAddresses && oldest !== undefined) this.#failures.delete(oldest);
    return count;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function parseBasic(header: string): { user: string; password: string } | undefined {
  const match = /^Basic\s+([A-Za-z0-9+/=_-]{1,2048})\s*$/i.exec(header);
  if (match?.[1] === undefined) return undefined;
  const text = Buffer.from(match[1], 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
