import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { claimDataFolder, recordPort, releaseDataFolder } from './data-folder.ts';
import { findRedisServer, type RedisServerBinary } from './find-server.ts';

export interface EmbeddedRedisOptions {
  /** Data folder, such as `.jobferry/redis-data`; created if missing. One server at a time. */
  dir: string;
  /** Where a fetched server program is kept for the next start. Default `.jobferry/redis` below the working folder. */
  cacheDir?: string;
  /** The preferred port. Default: a free one. If it is in use, a free one replaces it, and `log` says so. */
  port?: number;
  /** Whether data outlives the server. Default: true; false is for tests, which need no data on disk. */
  appendOnly?: boolean;
  /** Further server arguments, which override ours. The server's log must stay at `notice` on its output. */
  extraArgs?: string[];
  /** Receives a line per notable step. Default: silent. */
  log?: (line: string) => void;
}

export interface EmbeddedRedis {
  /** `redis://127.0.0.1:<port>`: a value for `REDIS_URL` of child processes and any BullMQ client. */
  url: string;
  port: number;
  pid: number;
  /** The data folder, absolute and without links. */
  dir: string;
  /** Ends the server and waits until it is gone and its data is on disk. May be called more than once. */
  stop(): Promise<void>;
}

const portAttempts = 5;
/** Long, because starting includes loading the append-only file. */
const readyWithinMs = 60_000;
const stopWithinMs = 8_000;
const keptLogLines = 15;

/**
 * Starts a Redis on loopback and resolves when it accepts connections.
 *
 * It ends with this process, however this process ends. `stop()` is the orderly way. For all others, a small shell
 * process holds the reading end of a pipe whose writing end is ours. The system closes our end when this process exits,
 * crashes or gets SIGKILL, and the shell then sends the server SIGTERM. Both run in separate process groups, so that
 * Ctrl+C at the terminal reaches only this process, and Redis still runs while workers give back their jobs. A server
 * stays behind only if that shell is killed too or the machine has no `/bin/sh`; the next start in the same data folder
 * then finds it and reports where it listens.
 * @throws Error with a message for people if there is no server, the folder is in use, or the server ends early.
 */
export async function startEmbeddedRedis(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const log = options.log ?? (() => {});
  const server = await findRedisServer({
    log,
    ...(options.cacheDir === undefined ? {} : { cacheDir: options.cacheDir }),
  });
  let port = options.port ?? (await freePort());
  const dir = await claimDataFolder(options.dir, port);
  try {
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await launch(server, port, dir, options);
      if (outcome.kind === 'ready') return supervise(outcome.child, port, dir, log);
      if (outcome.kind === 'failed' || attempt === portAttempts) {
        throw new Error(`${server.command} (${server.version}) did not start: ${outcome.reason}`);
      }
      const taken = port;
      port = await freePort();
      log(`Port ${taken} is taken, trying ${port}.`);
      await recordPort(dir, port);
    }
  } catch (error) {
    await releaseDataFolder(dir);
    throw error;
  }
}

type Launch =
  | { kind: 'ready'; child: ChildProcess & { pid: number } }
  | { kind: 'port-taken'; reason: string }
  | { kind: 'failed'; reason: string };

async function launch(
  server: RedisServerBinary,
  port: number,
  dir: string,
  options: EmbeddedRedisOptions,
): Promise<Launch> {
  const args = [
    ...['--bind', '127.0.0.1', '--port', String(port), '--protected-mode', 'yes'],
    ...['--dir', dir, '--save', '', '--appendonly', (options.appendOnly ?? true) ? 'yes' : 'no'],
    // BullMQ loses jobs under any other policy, and Redis checks due timers only `hz` times a second.
    ...['--maxmemory-policy', 'noeviction', '--hz', '100', '--daemonize', 'no'],
    ...(options.extraArgs ?? []),
  ];
  const child = spawn(server.command, args, {
    cwd: dir,
    env: { ...process.env, ...server.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const lines: string[] = [];
  const outcome = await new Promise<Launch>((resolve) => {
    const timer = setTimeout(
      () => resolve({ kind: 'failed', reason: `not ready after ${readyWithinMs} ms. ${lines.join(' | ')}` }),
      readyWithinMs,
    );
    const settle = (result: Launch): void => {
      clearTimeout(timer);
      resolve(result);
    };
    const read = (text: string): void => {
      // Read as long as the server runs, because a full pipe would block it.
      lines.push(...text.split('\n').filter((line) => line.trim() !== ''));
      lines.splice(0, Math.max(0, lines.length - keptLogLines));
      if (/ready to accept connections/i.test(text) && child.pid !== undefined) {
        settle({ kind: 'ready', child: child as ChildProcess & { pid: number } });
      }
    };
    child.stdout.setEncoding('utf8').on('data', read);
    child.stderr.setEncoding('utf8').on('data', read);
    child.once('error', (error) => settle({ kind: 'failed', reason: error.message }));
    child.once('close', (code, signal) => {
      const said = lines.join(' | ');
      if (/address already in use|failed listening on port/i.test(said)) settle({ kind: 'port-taken', reason: said });
      else settle({ kind: 'failed', reason: `ended with ${code ?? signal ?? 'no code'}. ${said}` });
    });
  });
  if (outcome.kind === 'failed') child.kill('SIGKILL');
  return outcome;
}

function supervise(
  child: ChildProcess & { pid: number },
  port: number,
  dir: string,
  log: (line: string) => void,
): EmbeddedRedis {
  const watch = watchOverParent(child.pid, log);
  let stopping: Promise<void> | undefined;
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      watch.release();
      if (stopping === undefined) log(`The embedded Redis ended by itself (${code ?? signal ?? 'no code'}).`);
      resolve();
    });
  });
  // This process may end when it has nothing else to do; the server then ends with it.
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref(): void } | null)?.unref();

  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.ref();
      child.kill('SIGTERM');
      const giveUp = new AbortController();
      await Promise.race([
        exited,
        sleep(stopWithinMs, undefined, { signal: giveUp.signal }).then(
          () => child.kill('SIGKILL'),
          () => {},
        ),
      ]);
      giveUp.abort();
      await exited;
    }
    await releaseDataFolder(dir);
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: child.pid,
    dir,
    stop: () => (stopping ??= stop()),
  };
}

/** Ends the server when this process is gone; see {@link startEmbeddedRedis}. */
function watchOverParent(serverPid: number, log: (line: string) => void): { release(): void } {
  // A line means that the server has ended, so its process id may belong to another; end of file, that we have ended.
  const script = 'read -r released || kill -TERM "$1"';
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', String(serverPid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watcher.once('error', (error) => log(`Nothing watches over the embedded Redis: ${error.message}.`));
  watcher.stdin.on('error', () => {}); // the watcher may be gone before us
  watcher.unref();
  (watcher.stdin as unknown as { unref(): void }).unref();
  return { release: () => watcher.stdin.end('released\n') };
}

/** A port that was free a moment ago. Another process may take it first, so the caller retries. */
async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
