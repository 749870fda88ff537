import { Redis } from 'ioredis';
import { ConfigError } from '../core/errors.ts';
import type { RedisConnection } from './connection.ts';
import { sharedKey } from './keys.ts';

/** The one policy under which Redis keeps what it was given. */
const keepingPolicy = 'noeviction';
const probeEveryMs = 1_000;
const policyEveryMs = 5_000;

/**
 * What Redis does with keys when its memory is used up, as far as it says so.
 * @returns the first policy that is not `noeviction`, of all servers that may hold keys; undefined when there is none.
 */
export async function findEvictionPolicy(redis: RedisConnection): Promise<string | undefined> {
  const servers = redis instanceof Redis ? [redis] : redis.nodes('master');
  for (const server of servers) {
    // A user without the right to ask, or a server that is no Redis, says nothing.
    const info = await server.info('memory').catch(() => '');
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    if (policy !== undefined && policy !== keepingPolicy) return policy;
  }
  return undefined;
}

/** Why a Redis with this policy is of no use. */
export function describeEviction(policy: string): string {
  return `this Redis may evict keys (maxmemory-policy is ${policy}), and with them submissions; set maxmemory-policy ${keepingPolicy}`;
}

/** @throws ConfigError when Redis may drop keys */
export async function refuseEviction(redis: RedisConnection): Promise<void> {
  // A cluster has no nodes to ask before it has answered once.
  await redis.ping();
  const policy = await findEvictionPolicy(redis);
  if (policy !== undefined) throw new ConfigError([{ path: 'REDIS_URL', message: describeEviction(policy) }]);
}

/** Tells whether Redis takes what workers write, by writing; asked at most once a second, however often it is called. */
export class RedisHealth {
  readonly #redis: RedisConnection & HealthCommands;
  readonly #key: string;
  #write: { at: number; trouble: Promise<string | undefined> } | undefined;
  #policy: { at: number; found: Promise<string | undefined> } | undefined;

  constructor(redis: RedisConnection, prefix: string) {
    redis.defineCommand('jobferryProbeWrite', {
      numberOfKeys: 1,
      lua: `return redis.call('SET', KEYS[1], '1', 'PX', 60000)`,
    });
    this.#redis = redis as RedisConnection & HealthCommands;
    this.#key = sharedKey(prefix, 'health');
  }

  /** @returns why no work can be done with this Redis, in words; waits at most `limitMs`. */
  async trouble(limitMs = 1_000): Promise<string | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve('Redis did not take a write in time'), limitMs);
    });
    try {
      return await Promise.race([this.#ask(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(): Promise<string | undefined> {
    const refused = await this.#askWrite();
    if (refused !== undefined) return refused;
    const now = performance.now();
    if (this.#policy === undefined || now - this.#policy.at > policyEveryMs)
      this.#policy = { at: now, found: findEvictionPolicy(this.#redis).catch(() => undefined) };
    const policy = await this.#policy.found;
    return policy === undefined ? undefined : describeEviction(policy);
  }

  async #askWrite(): Promise<string | undefined> {
    const now = performance.now();
    // One at a time: while Redis is away each would wait in the connection's queue.
    if (this.#write !== undefined && now - this.#write.at <= probeEveryMs) return this.#write.trouble;
    const probe = {
      at: Number.POSITIVE_INFINITY,
      trouble: this.#redis.jobferryProbeWrite(this.#key).then(
        () => undefined,
        (error: unknown) =>
          `Redis refuses writes: ${(error instanceof Error ? error.message : String(error)).replace(/\.? script: .*$/, '')}`,
      ),
    };
    this.#write = probe;
    void probe.trouble.then(() => (probe.at = performance.now()));
    return probe.trouble;
  }
}

interface HealthCommands {
  jobferryProbeWrite(key: string): Promise<string>;
}
