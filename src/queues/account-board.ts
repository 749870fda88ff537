import type { RequestOrigin } from '../core/errors.ts';
import type { Scope } from '../ports/vendor-adapter.ts';
import type { RedisConnection } from './connection.ts';
import { sharedKey } from './keys.ts';

/**
 * What a hold stops: all of the account where its key does not work, else the requests of one scope, because a vendor
 * that refuses submits, or fails at them, may answer look-ups all the same.
 */
export type HeldPart = 'account' | Scope;

/** Why jobs of an account wait. */
export interface Hold {
  /** `unauthorized`, `forbidden`, `quota`: for a person to mend. `unavailable`: the vendor is down. */
  reason: 'unauthorized' | 'forbidden' | 'quota' | 'unavailable';
  message: string;
  /** Epoch ms. */
  since: number;
  /** When the next probe may go out, epoch ms. */
  until: number;
  /** Probes that failed. */
  tries: number;
  /** Set once a submission was refused that was first sent while this hold was on: it is not about the first one alone. */
  isShared?: true;
  /** The latest refusal; a hold of an older version has none. */
  origin?: HoldOrigin;
}

/** Where a hold comes from, for people who look for the cause. */
export interface HoldOrigin extends Partial<RequestOrigin> {
  /** Host name and process id of the worker that was refused. */
  worker: string;
  submission?: string;
  /** Of a look-up that asked for one vendor job. */
  vendorJob?: string;
  /** Epoch ms. */
  at: number;
}

/** The latest request of a scope that the vendor let in, epoch ms. Noted only where something was refused. */
export interface Pass {
  sentAt: number;
  /** When it was answered. */
  at: number;
}

export interface AccountState {
  holds: Partial<Record<HeldPart, Hold>>;
  passes: Partial<Record<Scope, Pass>>;
  /** Until when the vendor asked for quiet, epoch ms, per scope. */
  throttledUntil: Partial<Record<string, number>>;
  /** Until when the vendor's own words forbid a request, epoch ms, per scope; a throttle of our own can last longer. */
  forbiddenUntil: Partial<Record<string, number>>;
}

/**
 * What all workers know together of the accounts: who is held and why, who was told to slow down.
 * One Redis hash, `<prefix>:jobferry:accounts`, with a field per account and fact, so that one read shows all.
 */
export class AccountBoard {
  readonly #redis: RedisConnection & ProbeCommands;
  readonly #prefix: string;

  constructor(redis: RedisConnection, prefix: string) {
    for (const [command, script] of Object.entries(scripts)) redis.defineCommand(command, script);
    this.#redis = redis as RedisConnection & ProbeCommands;
    this.#prefix = prefix;
  }

  /** Every account of which there is something to say, by `<vendor>/<account>`. */
  async readAll(): Promise<Map<string, AccountState>> {
    const fields = await this.#redis.hgetall(this.#key);
    const states = new Map<string, AccountState>();
    for (const [field, value] of Object.entries(fields)) {
      const [name = '', fact = ''] = field.split('|');
      const state = states.get(name) ?? { holds: {}, passes: {}, throttledUntil: {}, forbiddenUntil: {} };
      states.set(name, state);
      const part = heldParts.find((one) => fact === holdFact(one));
      const passed = scopes.find((one) => fact === passFact(one));
      if (part !== undefined) {
        const hold = parse<Hold>(value, ({ until }) => until);
        if (hold !== undefined) state.holds[part] = hold;
      } else if (passed !== undefined) {
        const pass = parse<Pass>(value, ({ at }) => at);
        if (pass !== undefined) state.passes[passed] = pass;
      } else if (Number.isFinite(Number(value))) {
        if (fact.startsWith(hintFact(''))) state.forbiddenUntil[fact.slice(hintFact('').length)] = Number(value);
        else state.throttledUntil[fact] = Number(value);
      }
    }
    return states;
  }

  /** @param passes - what was seen to pass lately, so that a refusal can be told from those of a whole account. */
  async hold(name: string, part: HeldPart, hold: Hold, passes: AccountState['passes'] = {}): Promise<void> {
    await this.#redis.hset(this.#key, {
      [`${name}|${holdFact(part)}`]: JSON.stringify(hold),
      ...passFields(name, passes),
    });
  }

  async pass(name: string, scope: Scope, pass: Pass): Promise<void> {
    await this.#redis.hset(this.#key, passFields(name, { [scope]: pass }));
  }

  /** Ends holds. */
  async release(name: string, parts: readonly HeldPart[]): Promise<void> {
    await this.#redis.hdel(this.#key, ...parts.map((part) => `${name}|${holdFact(part)}`));
  }

  async throttle(name: string, scope: string, until: number): Promise<void> {
    await this.#redis.hset(this.#key, `${name}|${scope}`, String(until));
  }

  /** The vendor itself forbids requests of this scope until then. */
  async forbid(name: string, scope: string, until: number): Promise<void> {
    await this.#redis.hset(this.#key, `${name}|${hintFact(scope)}`, String(until));
  }

  /**
   * One worker at a time, of all, may test whether a held part of an account works again.
   * @param owner - who asks, for the two below: a worker that was frozen past its turn must not end the next one's.
   */
  async takeProbe(name: string, part: HeldPart, owner: string, holdMs: number): Promise<boolean> {
    return (await this.#redis.set(this.#probeKey(name, part), owner, 'PX', holdMs, 'NX')) === 'OK';
  }

  /** Keeps a probe that is under way; one that was given back or ran out stays so. */
  async renewProbe(name: string, part: HeldPart, owner: string, holdMs: number): Promise<void> {
    await this.#redis.jobferryRenewProbe(this.#probeKey(name, part), owner, holdMs);
  }

  async returnProbe(name: string, part: HeldPart, owner: string): Promise<void> {
    await this.#redis.jobferryReturnProbe(this.#probeKey(name, part), owner);
  }

  /**
   * Marks a vendor job as one submission's own, for a day.
   * @returns false when it is another's.
   */
  async claim(name: string, vendorJobId: string, submissionId: string): Promise<boolean> {
    const key = sharedKey(this.#prefix, 'claim', name, vendorJobId);
    if ((await this.#redis.set(key, submissionId, 'EX', 86_400, 'NX')) === 'OK') return true;
    return (await this.#redis.get(key)) === submissionId;
  }

  get #key(): string {
    return sharedKey(this.#prefix, 'accounts');
  }

  #probeKey(name: string, part: HeldPart): string {
    return sharedKey(this.#prefix, 'probe', name, ...(part === 'account' ? [] : [part]));
  }
}

/** A hold that begins after now, by more than clocks differ, is from before the clock was set back: it is due. */
export function dueAfterStep(state: AccountState, now: number): AccountState {
  for (const hold of Object.values(state.holds)) {
    if (hold.since > now + clockToleranceMs) hold.until = Math.min(hold.until, now);
  }
  return state;
}

const clockToleranceMs = 5_000;

const scopes = ['submit', 'status'] as const satisfies readonly Scope[];
const heldParts = ['account', ...scopes] as const satisfies readonly HeldPart[];

function holdFact(part: HeldPart): string {
  return part === 'account' ? 'hold' : `hold-${part}`;
}

function hintFact(scope: string): string {
  return `hint-${scope}`;
}

function passFact(scope: Scope): string {
  return `passed-${scope}`;
}

function passFields(name: string, passes: AccountState['passes']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(passes).map(([scope, pass]) => [`${name}|${passFact(scope as Scope)}`, JSON.stringify(pass)]),
  );
}

const scripts = {
  jobferryRenewProbe: {
    numberOfKeys: 1,
    lua: `return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0`,
  },
  jobferryReturnProbe: {
    numberOfKeys: 1,
    lua: `return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0`,
  },
};

interface ProbeCommands {
  jobferryRenewProbe(key: string, owner: string, holdMs: number): Promise<number>;
  jobferryReturnProbe(key: string, owner: string): Promise<number>;
}

function parse<Fact>(text: string, timeOf: (fact: Fact) => number): Fact | undefined {
  try {
    const fact = JSON.parse(text) as Fact;
    return Number.isFinite(timeOf(fact)) ? fact : undefined;
  } catch {
    return undefined;
  }
}
