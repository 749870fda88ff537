import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isAlive } from '../../scripts/process-alive.ts';
import {
  findRedisServer,
  startEmbeddedRedis,
  type EmbeddedRedis,
  type EmbeddedRedisOptions,
} from '../../src/embedded-redis/index.ts';

/** Filled by the Redis that the test run itself stands on, so that one test alone needs the package manager. */
const cacheDir = fileURLToPath(new URL('../../.jobferry/redis', import.meta.url));
const roomUrl = new URL('../../src/embedded-redis/index.ts', import.meta.url).href;
const hasApt = (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
  try {
    accessSync(join(folder, 'apt-get'), constants.X_OK);
    return process.platform === 'linux';
  } catch {
    return false;
  }
});

let folder: string;
let started: EmbeddedRedis[];
let clients: Redis[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'jobferry-embedded-'));
  started = [];
  clients = [];
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const client of clients) client.disconnect();
  for (const redis of started) await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<EmbeddedRedisOptions> = {}): Promise<EmbeddedRedis> {
  const redis = await startEmbeddedRedis({ dir: join(folder, 'data'), cacheDir, ...options });
  started.push(redis);
  return redis;
}

function connect(redis: EmbeddedRedis): Redis {
  const client = new Redis(redis.url, { retryStrategy: null });
  client.on('error', () => {}); // the server going away is the subject of some tests
  clients.push(client);
  return client;
}

/** Whether anything accepts connections on the port. Its process id can outlast a server whose parent is gone. */
async function accepts(port: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port });
  try {
    return await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]);
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

describe('a started server', () => {
  test('has the settings that BullMQ and our delays need', async () => {
    const redis = await start({ appendOnly: true });
    const client = connect(redis);
    const setting = async (name: string): Promise<string | undefined> =>
      Object.values((await client.config('GET', name)) as object).find((value) => value !== name) as string | undefined;
    expect(await setting('hz')).toBe('100');
    expect(await setting('maxmemory-policy')).toBe('noeviction');
    expect(await setting('appendonly')).toBe('yes');
    expect(await setting('save')).toBe('');
    expect(await setting('bind')).toBe('127.0.0.1');
    expect(await setting('dir')).toBe(redis.dir);
    expect(redis.url).toBe(`redis://127.0.0.1:${redis.port}`);
  });

  test('keeps its data over a stop and a start', async () => {
    const first = await start();
    await connect(first).set('kept', 'yes');
    await first.stop();
    const second = await start();
    expect(await connect(second).get('kept')).toBe('yes');
  });

  test('writes nothing of its data to disk without append-only', async () => {
    const first = await start({ appendOnly: false });
    await connect(first).set('kept', 'yes');
    await first.stop();
    expect(await readdir(first.dir)).toEqual([]);
    const second = await start({ appendOnly: false });
    expect(await connect(second).get('kept')).toBeNull();
  });

  test('leaves no process after a stop, however often it is stopped', async () => {
    const redis = await start();
    expect(isAlive(redis.pid)).toBe(true);
    await Promise.all([redis.stop(), redis.stop()]);
    expect(isAlive(redis.pid)).toBe(false);
  });

  test('takes another port when the preferred one is taken', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const lines: string[] = [];
    try {
      const redis = await start({ port, log: (line) => lines.push(line) });
      expect(redis.port).not.toBe(port);
      expect(await connect(redis).ping()).toBe('PONG');
      expect(lines.join('\n')).toContain(`Port ${port} is taken`);
    } finally {
      other.close();
    }
  });

  test('refuses a data folder that another server uses, and says where that one listens', async () => {
    const first = await start();
    await expect(start()).rejects.toThrow(new RegExp(`in use by the Redis on 127\\.0\\.0\\.1:${first.port}`));
    await connect(first).set('still', 'served');
    await first.stop();
    expect(await connect(await start()).get('still')).toBe('served');
  });

  test('tells what the server said when it cannot start', async () => {
    await expect(start({ extraArgs: ['--no-such-setting', '1'] })).rejects.toThrow(/did not start: .*no-such-setting/s);
  });

  test('goes with its parent, even one that is killed, and its folder can be used at once', async () => {
    const script = `
      const { startEmbeddedRedis } = await import(${JSON.stringify(roomUrl)});
      const redis = await startEmbeddedRedis(JSON.parse(process.argv[1]));
      console.log(redis.port);
      setInterval(() => {}, 1000);`;
    const options = JSON.stringify({ dir: join(folder, 'data'), cacheDir });
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script, options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [printed] = (await once(parent.stdout, 'data')) as [Buffer];
    const port = Number(printed.toString());
    expect(await accepts(port)).toBe(true);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    const next = await start();
    expect(await connect(next).ping()).toBe('PONG');
    expect(await accepts(port)).toBe(false);
  });
});

describe('finding a server program', () => {
  test.skipIf(!hasApt)(
    'fetches one with apt into an empty folder, and finds it there the next time',
    async () => {
      const emptyCache = join(folder, 'cache');
      const hidden = { cacheDir: emptyCache, searchPath: '' };
      const lines: string[] = [];
      // Two at once, as two test runs of a fresh clone are; both must end with a whole server.
      const fetched = await Promise.all([
        findRedisServer({ ...hidden, log: (line) => lines.push(line) }),
        findRedisServer(hidden),
      ]);
      expect(fetched.map(({ source }) => source)).toEqual(['fetched', 'fetched']);
      expect(lines.length).toBeGreaterThan(0);
      expect(await readdir(emptyCache)).toEqual([`${process.platform}-${process.arch}`]);
      const again = await findRedisServer({ ...hidden, managerPath: '' });
      expect(again).toEqual({ ...fetched[0], source: 'cache' });
    },
    180_000,
  );

  test('says what was tried and what to do when there is none', async () => {
    const nowhere = { cacheDir: join(folder, 'cache'), searchPath: '', managerPath: '' };
    const message = await findRedisServer(nowhere).then(
      () => 'found one',
      (error: Error) => error.message,
    );
    expect(message).toMatch(/^No Redis server to start\. Tried: .*on PATH/);
    expect(message).toContain('package manager of your system');
    expect(message).toContain('JOBFERRY_REDIS_SERVER');
    expect(message).toContain('REDIS_URL');
    expect(message).not.toContain('\n');
  });

  test.each([
    ['brew', 'brew install redis'],
    ['apk', 'apk add valkey'],
    ['dnf', 'sudo dnf install valkey'],
  ])('names the command for a system with %s', async (manager, command) => {
    await program(join(folder, 'bin', manager), 'exit 1');
    const there = { cacheDir: join(folder, 'cache'), searchPath: '', managerPath: join(folder, 'bin') };
    await expect(findRedisServer(there)).rejects.toThrow(command);
  });

  test('leaves no half cache behind a fetch that fails', async () => {
    for (const name of ['apt-cache', 'dpkg']) await program(join(folder, 'bin', name), 'exit 0');
    await program(join(folder, 'bin', 'apt-get'), 'echo "E: Could not resolve host" >&2; exit 100');
    const broken = { cacheDir: join(folder, 'cache'), searchPath: '', managerPath: join(folder, 'bin') };
    await expect(findRedisServer(broken)).rejects.toThrow(
      process.platform === 'linux' ? /through apt .*Could not resolve host/ : /No Redis server/,
    );
    expect(await readdir(join(folder, 'cache')).catch(() => [])).toEqual([]);
  });

  test('passes over a server that is too old or does not run, and takes the next', async () => {
    await program(join(folder, 'old', 'redis-server'), 'echo "Redis server v=6.0.16 sha=00000000:0"');
    await program(join(folder, 'broken', 'redis-server'), 'echo "cannot open shared object file" >&2; exit 127');
    await program(join(folder, 'new', 'valkey-server'), 'echo "Valkey server v=8.1.1 sha=00000000:0"');
    const searchPath = ['old', 'broken', 'new'].map((name) => join(folder, name)).join(delimiter);
    const found = await findRedisServer({ cacheDir: join(folder, 'cache'), searchPath, managerPath: '' });
    expect(found).toMatchObject({ command: join(folder, 'new', 'valkey-server'), version: '8.1.1', source: 'path' });
  });

  test('takes the program that JOBFERRY_REDIS_SERVER names before any other', async () => {
    const command = await program(join(folder, 'mine'), 'echo "Redis server v=7.2.4 sha=00000000:0"');
    vi.stubEnv('JOBFERRY_REDIS_SERVER', command);
    expect(await findRedisServer({ cacheDir })).toMatchObject({ command, version: '7.2.4', source: 'path' });
  });

  test('does not replace a named program that cannot be used', async () => {
    vi.stubEnv('JOBFERRY_REDIS_SERVER', join(folder, 'missing'));
    await expect(start()).rejects.toThrow(/JOBFERRY_REDIS_SERVER names .*missing.*not a program/);
  });
});

async function program(path: string, body: string): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}
