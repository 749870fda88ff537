import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { ConfigError } from '../core/errors.ts';

/** A connection to one Redis, a Sentinel group or a Cluster; BullMQ takes all three. */
export type RedisConnection = Redis | Cluster;

/**
 * How to reach Redis, as `REDIS_URL` says it:
 * - `redis://[user:password@]host:port[/db]`, `rediss://…` for TLS
 * - `redis+sentinel://[user:password@]host:port,host:port/<master name>[/db]` (also `rediss+sentinel`)
 * - `redis+cluster://[user:password@]host:port,host:port` (also `rediss+cluster`); needs a prefix with a hash tag
 */
export type RedisTarget =
  | { kind: 'single'; options: ConnectionOptions }
  | { kind: 'sentinel'; options: ConnectionOptions }
  | { kind: 'cluster'; nodes: { host: string; port: number }[]; options: ConnectionOptions };

/** Without the option that changes what replies look like: BullMQ and our scripts read the default form. */
type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/** PEM texts for `rediss://`: the authority to trust instead of the usual ones, and the client's own certificate and key. */
export interface RedisTls {
  ca?: string;
  cert?: string;
  key?: string;
}

/**
 * @throws ConfigError naming `REDIS_URL`; the password is never in the message.
 */
export function parseRedisUrl(text: string, tls: RedisTls = {}): RedisTarget {
  const match = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([^?#]*))?$/.exec(text.trim());
  if (match === null) throw badUrl('expected redis://host:port, rediss://…, redis+sentinel://… or redis+cluster://…');
  const [, scheme, mode, userInfo = '', hostList = '', path = ''] = match;
  // Taken as part of a host, the rest of a password would be printed with it and looked up in DNS.
  if (hostList.includes('@') || path.includes('@'))
    throw badUrl('a host contains "@": percent-encode user and password ("@" is %40, "/" is %2F)');
  const nodes = hostList.split(',').map((host) => parseHost(host, mode === 'sentinel' ? 26_379 : 6_379));
  const first = nodes[0];
  if (first === undefined) throw badUrl('names no host');
  const colon = userInfo.indexOf(':');
  const username = decode(colon < 0 ? userInfo : userInfo.slice(0, colon));
  const password = colon < 0 ? '' : decode(userInfo.slice(colon + 1));
  const options: ConnectionOptions = {
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(scheme === 'rediss' ? { tls } : {}),
  };
  const parts = path.split('/').filter((part) => part !== '');
  if (mode === 'sentinel') {
    const [name, db] = parts;
    if (name === undefined)
      throw badUrl('a sentinel URL ends in the name of the master: redis+sentinel://host:26379/mymaster');
    // Without these two, ioredis takes `tls` as said of neither.
    const both = scheme === 'rediss' ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {};
    return { kind: 'sentinel', options: { ...options, ...both, sentinels: nodes, name, ...parseDb(db) } };
  }
  if (mode === 'cluster') return { kind: 'cluster', nodes, options };
  if (nodes.length > 1) throw badUrl('several hosts need redis+sentinel:// or redis+cluster://');
  return { kind: 'single', options: { ...options, host: first.host, port: first.port, ...parseDb(parts[0]) } };
}

/**
 * In a cluster all keys of the product must be on one node, which is what a hash tag in the prefix says.
 * @returns why a prefix does not do; undefined when it does
 */
export function whyPrefixIsUnfit(prefix: string, target: RedisTarget | undefined): string | undefined {
  // The tag is what stands between the first brace and the next closing one; an empty one is none.
  if (target?.kind !== 'cluster' || /^[^{]*\{[^}]+\}/.test(prefix)) return undefined;
  return `${JSON.stringify(prefix)} needs a hash tag for Redis Cluster, such as {bull}`;
}

/** @throws ConfigError naming the option `prefix` */
export function requireFitPrefix(prefix: string, target: RedisTarget): void {
  const message = whyPrefixIsUnfit(prefix, target);
  if (message !== undefined) throw new ConfigError([{ path: 'prefix', message }]);
}

/**
 * Opens a connection for workers and boards: commands wait while Redis is away and go out when it is back.
 * @param onError - connection errors, which ioredis repeats at every try; without a listener they would end the process.
 */
export function openConnection(target: RedisTarget, onError: (error: Error) => void): RedisConnection {
  const refusals = new ReplicaRefusals(Number.POSITIVE_INFINITY, onError);
  const connection = connect(target, {
    // BullMQ's workers insist on it: a blocked command must survive a reconnect.
    maxRetriesPerRequest: null,
    disconnectTimeout: 200,
    reconnectOnError: (error) => refusals.decide(error),
    retryStrategy: (tries) => Math.max(Math.min(50 * 2 ** Math.min(tries, 6), 1_000), refusals.pauseMs()),
  });
  connection.on('error', onError);
  return connection;
}

/**
 * Opens a connection for producers: a command that can not be sent fails instead of waiting for Redis to come back.
 */
export function openFailFastConnection(target: RedisTarget, onError: (error: Error) => void): RedisConnection {
  const refusals = new ReplicaRefusals(500, onError);
  const connection = connect(target, {
    maxRetriesPerRequest: 1,
    connectTimeout: 1_500,
    commandTimeout: 1_800,
    // A command that is done should let its process end at once, even with Redis away.
    disconnectTimeout: 100,
    reconnectOnError: (error) => refusals.decide(error),
    retryStrategy: (tries) => Math.min(100 * tries, 1_000),
  });
  connection.on('error', onError);
  return connection;
}

/**
 * What to do when a server takes no writes because it is a replica by now. It goes on to answer on connections that are
 * open, and behind a name or a load balancer only a new connection leads to the new master: so a refused command makes
 * its connection new, and is sent again there.
 */
class ReplicaRefusals {
  readonly #resendForMs: number;
  readonly #onError: (error: Error) => void;
  #firstAt = Number.NEGATIVE_INFINITY;
  #lastAt = Number.NEGATIVE_INFINITY;

  /** @param resendForMs - how long refused commands are sent again before they fail */
  constructor(resendForMs: number, onError: (error: Error) => void) {
    this.#resendForMs = resendForMs;
    this.#onError = onError;
  }

  /** @returns what ioredis takes for: nothing of the kind, a new connection, or that and the command again on it. */
  decide(error: Error): false | 1 | 2 {
    if (!/^(?:READONLY|UNBLOCKED) /.test(error.message)) return false;
    const now = performance.now();
    if (now - this.#lastAt > 2_000) this.#firstAt = now;
    this.#lastAt = now;
    this.#onError(error);
    return now - this.#firstAt < this.#resendForMs ? 2 : 1;
  }

  /** A wait between new connections: each of them works, so the tries that ioredis counts never grow. */
  pauseMs(): number {
    return performance.now() - this.#lastAt < 1_000 ? 500 : 0;
  }
}

function connect(target: RedisTarget, common: ConnectionOptions): RedisConnection {
  if (target.kind !== 'cluster') {
    const connection = new Redis({
      ...target.options,
      ...common,
      // One wait: it is part of the error's message, and equal messages are told once.
      sentinelRetryStrategy: () => 250,
    });
    // ioredis hangs a listener on the socket for each command that makes it reconnect.
    connection.on('connect', () => connection.stream.setMaxListeners(0));
    return connection;
  }
  // A node of a cluster that is no master any more says who is.
  const { retryStrategy: _perNode, reconnectOnError: _never, ...redisOptions } = common;
  return new Cluster(target.nodes, {
    redisOptions: { ...target.options, ...redisOptions },
    clusterRetryStrategy: (tries) => Math.min(100 * tries, 1_000),
    // A TLS certificate names hosts; the addresses that a cluster announces must not be resolved past it.
    ...(target.options.tls === undefined ? {} : { dnsLookup: (address, callback) => callback(null, address) }),
  });
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  if (match?.[1] === undefined || port < 1 || port > 65_535) throw badUrl('a host has the form name:port');
  return { host: match[1].replace(/^\[|\]$/g, ''), port };
}

function parseDb(text: string | undefined): { db?: number } {
  if (text === undefined) return {};
  if (!/^\d{1,4}$/.test(text)) throw badUrl('the path is a database number');
  return { db: Number(text) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badUrl('user and password are percent-encoded');
  }
}

function badUrl(message: string): ConfigError {
  return new ConfigError([{ path: 'REDIS_URL', message }]);
}
