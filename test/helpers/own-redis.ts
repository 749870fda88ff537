import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { findRedisServer, startEmbeddedRedis, type EmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { until } from './harness.ts';
import { closedPort } from './knowhere.ts';

const cacheDir = fileURLToPath(new URL('../../.jobferry/redis', import.meta.url));

/** A place in the append-only file: what came later can be taken away. */
export interface Mark {
  file: string;
  size: number;
}

/** A Redis of one test's own, that may be killed, robbed of its last writes and started again on the same port. */
export class OwnRedis {
  readonly port: number;
  /** Asks the server itself, whatever lies between it and the workers. */
  readonly admin: Redis;
  readonly #dir: string;
  readonly #args: readonly string[];
  #server: EmbeddedRedis;

  private constructor(dir: string, args: readonly string[], server: EmbeddedRedis) {
    this.#dir = dir;
    this.#args = args;
    this.#server = server;
    this.port = server.port;
    this.admin = new Redis(this.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
    this.admin.on('error', () => undefined);
  }

  /** @param args - further server arguments */
  static async start(...args: string[]): Promise<OwnRedis> {
    const dir = await mkdtemp(path.join(tmpdir(), 'jobferry-own-redis-'));
    return new OwnRedis(dir, args, await launch(dir, args));
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Where the append-only file ends now. What was confirmed before is in it, and stays. */
  mark(): Mark {
    const folder = path.join(this.#dir, 'appendonlydir');
    const name = readdirSync(folder)
      .filter((file) => file.endsWith('.incr.aof'))
      .sort()
      .at(-1);
    if (name === undefined) throw new Error('Redis has no append-only file');
    const file = path.join(folder, name);
    return { file, size: statSync(file).size };
  }

  /** SIGKILL. With a mark, also what a power cut would have taken: everything written after it. */
  async kill(lostAfter?: Mark): Promise<void> {
    process.kill(this.#server.pid, 'SIGKILL');
    // Reaps the process and gives the folder free.
    await this.#server.stop();
    if (lostAfter !== undefined) truncateSync(lostAfter.file, lostAfter.size);
  }

  async startAgain(): Promise<void> {
    this.#server = await launch(this.#dir, this.#args, this.port);
    if (this.#server.port !== this.port) throw new Error(`Redis came back on port ${this.#server.port}`);
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await this.#server.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Every confirmed write is on disk, and in one file from start to end, so that a mark says what a cut would take. */
async function launch(dir: string, args: readonly string[], port?: number): Promise<EmbeddedRedis> {
  return startEmbeddedRedis({
    dir,
    cacheDir,
    ...(port === undefined ? {} : { port }),
    extraArgs: ['--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0', ...args],
  });
}

/** One Sentinel, which takes a master for dead after `downAfterMs`. */
export class OwnSentinel {
  readonly port: number;
  readonly admin: Redis;
  readonly #dir: string;
  readonly #child: ChildProcess;

  private constructor(dir: string, port: number, child: ChildProcess) {
    this.#dir = dir;
    this.port = port;
    this.#child = child;
    this.admin = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
    this.admin.on('error', () => undefined);
  }

  static async start(name: string, master: OwnRedis, quorum: number, downAfterMs: number): Promise<OwnSentinel> {
    const dir = await mkdtemp(path.join(tmpdir(), 'jobferry-sentinel-'));
    const port = await closedPort();
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${dir}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} ${quorum}`,
      `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
      `sentinel failover-timeout ${name} 6000`,
    ];
    const config = path.join(dir, 'sentinel.conf');
    await writeFile(config, lines.join('\n'));
    const server = await findRedisServer({ cacheDir });
    const child = spawn(server.command, [config, '--sentinel'], {
      env: { ...process.env, ...server.env },
      stdio: 'ignore',
    });
    process.once('exit', () => child.kill('SIGKILL'));
    const sentinel = new OwnSentinel(dir, port, child);
    await sentinel.admin.ping();
    return sentinel;
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
    await rm(this.#dir, { recursive: true, force: true });
  }
}

const slots = 16_384;

/** A cluster of masters with the slots shared out evenly. */
export async function startCluster(size: number): Promise<OwnRedis[]> {
  const nodes: OwnRedis[] = [];
  try {
    const busPorts: number[] = [];
    for (let index = 0; index < size; index += 1) {
      const busPort = await closedPort();
      busPorts.push(busPort);
      // By default the bus port is the port and 10,000, which a port given by the system may not leave room for.
      const args = ['--cluster-enabled', 'yes', '--cluster-port', String(busPort), '--cluster-node-timeout', '5000'];
      nodes.push(await OwnRedis.start(...args));
    }
    const [first] = nodes;
    for (const [index, node] of nodes.entries()) {
      const [from, to] = [Math.ceil((index * slots) / size), Math.ceil(((index + 1) * slots) / size) - 1];
      await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
      if (index > 0) await first?.admin.call('CLUSTER', 'MEET', '127.0.0.1', node.port, busPorts[index] ?? 0);
    }
    for (const node of nodes) {
      await until(async () => {
        const info = String(await node.admin.call('CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`);
      }, 15_000);
    }
    return nodes;
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw error;
  }
}
