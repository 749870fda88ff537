import { mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** Who serves a data folder: written when a server starts, removed when it has stopped. */
interface Holder {
  port: number;
  starterPid: number;
}

const holderName = 'embedded-redis.json';
/** How long a server may take to end after its starter, and a starting one to answer. */
const holderGraceMs = 5_000;
const holderProbeMs = 50;

/**
 * Creates the folder, and refuses it while another server uses it: two servers that append to the same files destroy
 * them. To find out whether the recorded server still runs, it asks the recorded port which folder it serves, because
 * process ids are reused.
 */
export async function claimDataFolder(dir: string, port: number): Promise<string> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const folder = await realpath(dir);
  const file = join(folder, holderName);
  const giveUpAt = Date.now() + holderGraceMs;
  for (;;) {
    try {
      const holder: Holder = { port, starterPid: process.pid };
      await writeFile(file, JSON.stringify(holder), { flag: 'wx', mode: 0o600 });
      return folder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readHolder(file);
    const serves = holder !== undefined && (await servesFolder(holder.port, folder));
    const starterLives = holder !== undefined && (await isAlive(holder.starterPid));
    if (serves && (starterLives || Date.now() >= giveUpAt)) {
      throw new Error(
        `The data folder ${folder} is in use by the Redis on 127.0.0.1:${holder.port}` +
          `${starterLives ? ` that process ${holder.starterPid} started` : ''}. ` +
          `Stop that one first, or use it by setting REDIS_URL=redis://127.0.0.1:${holder.port}.`,
      );
    }
    const mayBeStarting = starterLives && holder.starterPid !== process.pid && Date.now() < giveUpAt;
    if (!serves && !mayBeStarting) await rm(file, { force: true });
    else await sleep(holderProbeMs);
  }
}

export async function recordPort(folder: string, port: number): Promise<void> {
  const holder: Holder = { port, starterPid: process.pid };
  await writeFile(join(folder, holderName), JSON.stringify(holder), { mode: 0o600 });
}

export async function releaseDataFolder(folder: string): Promise<void> {
  await rm(join(folder, holderName), { force: true });
}

async function readHolder(file: string): Promise<Holder | undefined> {
  try {
    const holder = JSON.parse(await readFile(file, 'utf8')) as Partial<Holder>;
    if (typeof holder.port !== 'number' || typeof holder.starterPid !== 'number') return undefined;
    return { port: holder.port, starterPid: holder.starterPid };
  } catch {
    return undefined;
  }
}

async function servesFolder(port: number, folder: string): Promise<boolean> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    connectTimeout: 1_000,
    commandTimeout: 1_000,
    disconnectTimeout: 100, // its timer would hold up the exit of a process that has nothing else to do
    maxRetriesPerRequest: 0,
    retryStrategy: null,
  });
  client.on('error', () => {}); // a refused connection is an answer here
  try {
    await client.connect();
    const answer = await client.config('GET', 'dir');
    return Array.isArray(answer) ? answer.includes(folder) : Object.values(answer).includes(folder);
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

/** Whether a process still runs. In containers, one that has ended may keep its id because no parent collects it. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) Z /.test(state);
}
