import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { fetchWithApt, readCachedServer } from './apt-fetch.ts';
import { describeExit, run } from './run.ts';
import { findOnPath } from './search-path.ts';

export interface RedisServerBinary {
  /** Absolute path of the program. */
  command: string;
  /** Variables that the program needs in addition to the caller's environment, such as the folder of its libraries. */
  env: Record<string, string>;
  /** As the program itself states it, such as `"7.0.15"`. */
  version: string;
  source: 'path' | 'cache' | 'fetched';
}

export interface FindServerOptions {
  /** Where a fetched server is kept for the next time. */
  cacheDir?: string;
  /** Receives a line per notable step. Default: silent. */
  log?: (line: string) => void;
  /** Folders to look for an installed server in. Default: `PATH`. */
  searchPath?: string;
  /** Folders to look for a package manager in. Default: `PATH`. */
  managerPath?: string;
}

/** BullMQ warns below this version, and the stream commands that it uses behave differently there. */
const oldestUsable = [6, 2] as const;
const serverNames = ['redis-server', 'valkey-server'];

/** The install command of each package manager, most specific first. */
const installCommands: Record<string, string> = {
  'apt-get': 'sudo apt-get install redis-server',
  apk: 'apk add valkey',
  dnf: 'sudo dnf install valkey',
  pacman: 'sudo pacman -S valkey',
  zypper: 'sudo zypper install valkey',
  brew: 'brew install redis',
};

/**
 * Finds a Redis or Valkey server that can be started here: the program that `JOBFERRY_REDIS_SERVER` names, one on the
 * path, one fetched earlier, or one fetched now through apt into `cacheDir` (without root, and without installing).
 * @throws Error with a message for people: what was tried and what to do.
 */
export async function findRedisServer(options: FindServerOptions = {}): Promise<RedisServerBinary> {
  const cacheDir = resolve(options.cacheDir ?? '.jobferry/redis');
  const log = options.log ?? (() => {});
  const path = process.env['PATH'] ?? '';
  const tried: string[] = [];

  const named = process.env['JOBFERRY_REDIS_SERVER'];
  if (named !== undefined && named !== '') {
    // Do not replace a named program that fails: naming it was a decision.
    const version = await versionOf(named);
    if (typeof version !== 'string') {
      throw new Error(
        `JOBFERRY_REDIS_SERVER names ${named}, which cannot be used: ${version.fault}. ` +
          'Point it at a redis-server or valkey-server program (6.2 or later), unset it, or set REDIS_URL.',
      );
    }
    return { command: resolve(named), env: {}, version, source: 'path' };
  }

  for (const command of await findOnPath(serverNames, options.searchPath ?? path)) {
    const version = await versionOf(command);
    if (typeof version === 'string') return { command, env: {}, version, source: 'path' };
    tried.push(`${command} (${version.fault})`);
  }
  if (tried.length === 0) tried.push('redis-server and valkey-server on PATH (not there)');

  const cached = await readCachedServer(cacheDir);
  if (cached !== undefined) {
    const version = await versionOf(cached.command, cached.env);
    if (typeof version === 'string') return { ...cached, version, source: 'cache' };
    tried.push(`the copy in ${cacheDir} (${version.fault})`);
  }

  const managerPath = options.managerPath ?? path;
  const managers = await findOnPath(Object.keys(installCommands), managerPath);
  const aptGet = managers.find((command) => basename(command) === 'apt-get');
  if (aptGet !== undefined && process.platform === 'linux') {
    try {
      const fetched = await fetchWithApt({ cacheDir, managerPath, log, versionOf });
      return { ...fetched, source: 'fetched' };
    } catch (error) {
      tried.push(`a download through apt (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  throw new Error(instruction(tried, managers));
}

function instruction(tried: string[], managers: string[]): string {
  const commands = Object.entries(installCommands)
    .filter(([name]) => managers.some((command) => basename(command) === name))
    .map(([, command]) => `\`${command}\``);
  const install =
    commands.length > 0
      ? `install one with ${commands.join(' or ')}`
      : 'install Redis or Valkey 6.2 or later with the package manager of your system';
  return (
    `No Redis server to start. Tried: ${tried.join('; ')}. ` +
    `Either ${install}, or name the program in JOBFERRY_REDIS_SERVER, or set REDIS_URL to a Redis that already runs.`
  );
}

/** The version that a server program states, or why it cannot be used. Running it also proves that its libraries load. */
async function versionOf(command: string, env: Record<string, string> = {}): Promise<string | { fault: string }> {
  try {
    await access(command, constants.X_OK);
  } catch {
    return { fault: 'not a program that can be run' };
  }
  const result = await run(command, ['--version'], { env, timeoutMs: 10_000 });
  if (result.code !== 0) return { fault: describeExit(result) };
  const found = /v=(\d+)\.(\d+)\.(\d+)/.exec(result.stdout);
  if (found === null) return { fault: 'does not answer --version like a Redis server' };
  const [major, minor] = [Number(found[1]), Number(found[2])];
  const [oldestMajor, oldestMinor] = oldestUsable;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    return { fault: `version ${found[0].slice(2)} is too old, 6.2 or later is needed` };
  }
  return found[0].slice(2);
}
