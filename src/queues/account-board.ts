import type { Scope } from '../ports/vendor-adapter.ts';
import type { RedisConnection } from './connection.ts';

/**
 * What a hold stops: all of the account, or the requests of one scope, because a vendor whose submits fail may answer
 * look-ups all the same.
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
}

export interface AccountState {
  holds: Partial<Record<HeldPart, Hold>>;
  /** Until when the vendor asked for quiet, epoch ms, per scope. */
  throttledUntil: Partial<Record<string, number>>;
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
      const state = states.get(name) ?? { holds: {}, throttledUntil: {} };
      states.set(name, state);
      const part = heldParts.find((one) => fact === holdFact(one));
      if (part !== undefined) {
        const hold = parseHold(value);
        if (hold !== undefined) state.holds[part] = hold;
      } else if (Number.isFinite(Number(value))) {
        state.throttledUntil[fact] = Number(value);
      }
    }
    return states;
  }

  async hold(name: string, part: HeldPart, hold: Hold): Promise<void> {
    await this.#redis.hset(this.#key, `${name}|${holdFact(part)}`, JSON.stringify(hold));
  }

  /** Ends holds. */
  async release(name: string, parts: readonly HeldPart[]): Promise<void> {
    await this.#redis.hdel(this.#key, ...parts.map((part) => `${name}|${holdFact(part)}`));
  }

  async throttle(name: string, scope: string, until: number): Promise<void> {
    await this.#redis.hset(this.#key, `${name}|${scope}`, String(until));
  }

  /**
   * One worker at a time, of all, may test whether a held account works again.
   * @param owner - who asks, for the two below: a worker that was frozen past its turn must not end the next one's.
   */
  async takeProbe(name: string, owner: string, holdMs: number): Promise<boolean> {
    return (await this.#redis.set(this.#probeKey(name), owner, 'PX', holdMs, 'NX')) === 'OK';
  }

  /** Keeps a probe that is under way; one that was given back or ran out stays so. */
  async renewProbe(name: string, owner: string, holdMs: number): Promise<void> {
    await this.#redis.jobferryRenewProbe(this.#probeKey(name), owner, holdMs);
  }

  async returnProbe(name: string, owner: string): Promise<void> {
    await this.#redis.jobferryReturnProbe(this.#probeKey(name), owner);
  }

  /**
   * Marks a vendor job as one submission's own, for a day.
   * @returns false when it is another's.
   */
  async claim(name: string, vendorJobId: string, submissionId: string): Promise<boolean> {
    const key = `${this.#prefix}:jobferry:claim:${name}:${vendorJobId}`;
    if ((await this.#redis.set(key, submissionId, 'EX', 86_400, 'NX')) === 'OK') return true;
    return (await this.#redis.get(key)) === submissionId;
  }

  get #key(): string {
    return `${this.#prefix}:jobferry:accounts`;
  }

  #probeKey(name: string): string {
    return `${this.#prefix}:jobferry:probe:${name}`;
  }
}

const heldParts = ['account', 'submit', 'status'] as const satisfies readonly HeldPart[];

function holdFact(part: HeldPart): string {
  return part === 'account' ? 'hold' : `hold-${part}`;
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

function parseHold(text: string): Hold | undefined {
  try {
    const hold = JSON.parse(text) as Hold;
    return Number.isFinite(hold.until) ? hold : undefined;
  } catch {
    return undefined;
  }
}
