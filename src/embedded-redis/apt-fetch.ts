import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describeExit, run } from './run.ts';
import { findOnPath } from './search-path.ts';

interface ServerProgram {
  command: string;
  env: Record<string, string>;
}

/** The description stored with an unpacked server. Paths are relative, because the folder may move with its project. */
interface Manifest {
  command: string;
  libraryFolders: string[];
  version: string;
}

const manifestName = 'server.json';
const abandonedAfterMs = 3_600_000;
const stepTimeoutMs = 300_000;
/** Never fetched: the C library must match the system's loader, and another version does not start. */
const neverFetched = new Set(['libc6', 'libc-bin']);

/** Machines of several kinds can share a project folder, such as a container and its host. */
function homeOf(cacheDir: string): string {
  return join(cacheDir, `${process.platform}-${process.arch}`);
}

/** The server of an earlier complete fetch, if any. The caller checks whether it still runs. */
export async function readCachedServer(cacheDir: string): Promise<ServerProgram | undefined> {
  const home = homeOf(cacheDir);
  try {
    return programIn(home, JSON.parse(await readFile(join(home, manifestName), 'utf8')) as Manifest);
  } catch {
    return undefined;
  }
}

function programIn(home: string, manifest: Manifest): ServerProgram {
  const folders = manifest.libraryFolders.map((folder) => join(home, folder));
  const inherited = process.env['LD_LIBRARY_PATH'];
  if (inherited !== undefined && inherited !== '') folders.push(inherited);
  return {
    command: join(home, manifest.command),
    env: folders.length === 0 ? {} : { LD_LIBRARY_PATH: folders.join(':') },
  };
}

/**
 * Downloads a server and the libraries that are missing here through the system's own apt sources, keys and proxy
 * settings, and unpacks them below `cacheDir`. Needs no root, because apt writes only to folders that we give it.
 *
 * The cache is filled by one rename of a tested folder. So an interrupted fetch leaves nothing that a later start could
 * take for a server, and of several concurrent fetches each ends with a complete one.
 */
export async function fetchWithApt(options: {
  cacheDir: string;
  managerPath: string;
  log: (line: string) => void;
  versionOf: (command: string, env?: Record<string, string>) => Promise<string | { fault: string }>;
}): Promise<ServerProgram & { version: string }> {
  const { cacheDir, managerPath, log, versionOf } = options;
  const [aptGet] = await findOnPath(['apt-get'], managerPath);
  const [aptCache] = await findOnPath(['apt-cache'], managerPath);
  const [dpkg] = await findOnPath(['dpkg'], managerPath);
  if (aptGet === undefined || aptCache === undefined || dpkg === undefined) {
    throw new Error('apt-get, apt-cache and dpkg are needed, and one of them is not there');
  }

  await mkdir(cacheDir, { recursive: true });
  await removeAbandoned(cacheDir);
  const workDir = await mkdtemp(join(cacheDir, '.fetch-'));
  try {
    const settings = await aptSettings(workDir);
    const apt = async (command: string, ...args: string[]) =>
      run(command, [...settings, ...args], { cwd: workDir, timeoutMs: stepTimeoutMs });

    log('No Redis server on this machine: fetching one into the project folder with apt (nothing is installed).');
    const update = await apt(aptGet, 'update');
    const faults: string[] = [];

    for (const name of ['redis-server', 'valkey-server']) {
      const candidate = await candidateOf(await apt(aptCache, 'policy', name));
      if (candidate === undefined) continue;
      const packages = await packagesFor(name, (...args) => apt(aptGet, ...args));
      if ('fault' in packages) {
        faults.push(`${name}: ${packages.fault}`);
        continue;
      }
      log(`Downloading ${packages.names.join(', ')} (${candidate}).`);
      const home = join(workDir, name);
      const unpacked = await download(home, packages.names, (...args) => apt(aptGet, ...args), dpkg, workDir);
      if (unpacked !== undefined) {
        faults.push(`${name}: ${unpacked}`);
        continue;
      }
      const libraryFolders = (await foldersWithLibraries(home)).map((folder) => relative(home, folder));
      const manifest: Manifest = { command: join('usr', 'bin', name), libraryFolders, version: '' };
      const trial = programIn(home, manifest);
      const version = await versionOf(trial.command, trial.env);
      if (typeof version !== 'string') {
        faults.push(`${name} ${candidate}: ${version.fault}`);
        continue;
      }
      await writeFile(join(home, manifestName), `${JSON.stringify({ ...manifest, version }, null, 2)}\n`);
      const program = await moveIntoPlace(home, cacheDir, versionOf);
      log(`Fetched ${name} ${program.version}.`);
      return program;
    }

    if (faults.length > 0) throw new Error(faults.join('; '));
    // For apt, unreachable sources are only warnings: it then succeeds without packages.
    const complaint = /^[EW]: .*/m.exec(update.stderr)?.[0] ?? (update.code === 0 ? undefined : describeExit(update));
    throw new Error(
      complaint === undefined
        ? "the system's package sources offer no redis-server and no valkey-server"
        : `apt-get update: ${complaint.slice(0, 200)}`,
    );
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/**
 * Arguments that make apt write only to our folder. The state of installed packages stays the system's, because it shows
 * which libraries are installed. The system's hooks are cleared, because as root they would clean and refresh system
 * folders; only a file can clear them. Paths are passed as arguments, because that file cannot escape a quote.
 */
async function aptSettings(workDir: string): Promise<string[]> {
  for (const folder of ['state/lists/partial', 'cache/archives/partial']) {
    await mkdir(join(workDir, folder), { recursive: true });
  }
  const cleared = ['APT::Update::Pre-Invoke', 'APT::Update::Post-Invoke', 'APT::Update::Post-Invoke-Success'];
  const hooksFile = join(workDir, 'no-hooks.conf');
  await writeFile(hooksFile, cleared.map((name) => `#clear ${name};\n`).join(''));
  const settings = {
    'Dir::State': join(workDir, 'state'),
    'Dir::State::lists': join(workDir, 'state', 'lists'),
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(workDir, 'cache'),
    'Dir::Cache::archives': join(workDir, 'cache', 'archives'),
    // Otherwise apt, run by root, switches to a user that may not enter our folder.
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
    'Acquire::https::Timeout': '20',
  };
  return ['-q', '-c', hooksFile, ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

async function candidateOf(policy: { stdout: string }): Promise<string | undefined> {
  const version = /^[ \t]*Candidate:[ \t]*(\S+)/m.exec(policy.stdout)?.[1];
  return version === undefined || version === '(none)' ? undefined : version;
}

/**
 * The server's package, its `-tools` sibling (in Debian the server is a link to a program in there) and the libraries
 * that apt would have to install. An unpacked copy does not need helpers for system accounts and services.
 */
async function packagesFor(
  name: string,
  aptGet: (...args: string[]) => ReturnType<typeof run>,
): Promise<{ names: string[] } | { fault: string }> {
  const tools = name.replace('-server', '-tools');
  const plan = await aptGet('--simulate', '--no-install-recommends', '--reinstall', 'install', name, tools);
  if (plan.code !== 0) return { fault: describeExit(plan) };
  const planned = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
  const libraries = planned.filter((other) => other.startsWith('lib') && !neverFetched.has(other));
  return { names: [name, tools, ...libraries] };
}

async function download(
  home: string,
  packages: string[],
  aptGet: (...args: string[]) => ReturnType<typeof run>,
  dpkg: string,
  workDir: string,
): Promise<string | undefined> {
  const downloaded = await aptGet('download', ...packages);
  if (downloaded.code !== 0) return describeExit(downloaded);
  await mkdir(home);
  for (const file of await readdir(workDir)) {
    if (!file.endsWith('.deb')) continue;
    const unpacked = await run(dpkg, ['-x', join(workDir, file), home], { timeoutMs: stepTimeoutMs });
    if (unpacked.code !== 0) return describeExit(unpacked);
    await rm(join(workDir, file));
  }
  return undefined;
}

async function foldersWithLibraries(home: string): Promise<string[]> {
  const entries = await readdir(home, { recursive: true, withFileTypes: true });
  return [...new Set(entries.filter((entry) => /\.so(\.|$)/.test(entry.name)).map((entry) => entry.parentPath))];
}

async function moveIntoPlace(
  fresh: string,
  cacheDir: string,
  versionOf: (command: string, env?: Record<string, string>) => Promise<string | { fault: string }>,
): Promise<ServerProgram & { version: string }> {
  const home = homeOf(cacheDir);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await rename(fresh, home);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if ((code !== 'ENOTEMPTY' && code !== 'EEXIST') || attempt === 5) throw error;
    }
    // Our folder, or that of a faster process; a broken one is moved away, also by a single rename.
    const program = await readCachedServer(cacheDir);
    const version = program === undefined ? undefined : await versionOf(program.command, program.env);
    if (program !== undefined && typeof version === 'string') return { ...program, version };
    await rename(home, join(cacheDir, `.fetch-broken-${process.pid}-${attempt}`)).catch(() => {});
  }
}

/** A killed fetch leaves its folder behind; folders too old to belong to a running fetch are removed. */
async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('.fetch-')) continue;
    const folder = join(cacheDir, name);
    const age = Date.now() - (await stat(folder).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (age > abandonedAfterMs) await rm(folder, { recursive: true, force: true });
  }
}
