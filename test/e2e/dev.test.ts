import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { ensureCli, projectDir, Stage, until, type Started } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/**
 * A copy as npm would install it, with a working folder of its own: the checkout's `.jobferry` may be in use by
 * somebody's `npm start`.
 */
function installCopy(): { cli: string; cwd: string } {
  const copy = path.join(stage.folder, 'package');
  const cwd = path.join(stage.folder, 'work');
  mkdirSync(path.join(cwd, '.jobferry'), { recursive: true });
  mkdirSync(copy);
  cpSync(path.join(projectDir, 'dist'), path.join(copy, 'dist'), { recursive: true });
  cpSync(path.join(projectDir, 'package.json'), path.join(copy, 'package.json'));
  cpSync(path.join(projectDir, 'examples', 'documents'), path.join(copy, 'examples', 'documents'), { recursive: true });
  symlinkSync(path.join(projectDir, 'node_modules'), path.join(copy, 'node_modules'));
  // A server program that was fetched once need not be fetched again.
  const cache = path.join(projectDir, '.jobferry', 'redis');
  if (existsSync(cache)) symlinkSync(cache, path.join(cwd, '.jobferry', 'redis'));
  return { cli: path.join(copy, 'dist', 'cli', 'main.js'), cwd };
}

const redisUrlOf = (dev: Started): string => /Redis +(redis:\/\/\S+)/.exec(dev.stdout)?.[1] ?? '';

/** Process ids of everything below a process, where the system tells. */
function descendants(pid: number): number[] {
  const children = (parent: number): number[] => {
    const file = `/proc/${parent}/task/${parent}/children`;
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number);
  };
  return children(pid).flatMap((child) => [child, ...descendants(child)]);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

it('starts everything, settles its documents, answers on the board, and ends leaving no process', async () => {
  const { cli, cwd } = installCopy();
  const dev = stage.node([cli, 'dev', '--speed', '20'], { PORT: '0' }, cwd);
  await dev.says(/9 submissions: 7 succeeded, 1 failed, 1 rejected/, 90_000);
  await dev.says(/Stop +Ctrl\+C/);
  for (const name of ['harbour-report', 'packing-list', 'web-page']) {
    expect(dev.stdout).toMatch(new RegExp(`✔ ${name}-\\w+ +succeeded`));
  }
  expect(dev.stdout).toMatch(/✖ damaged-scan-\w+ +failed/);
  expect(dev.stdout).toMatch(/✖ missing-file-\w+ +rejected/);

  const board = /Board +(http:\S+)/.exec(dev.stdout)?.[1] ?? '';
  expect((await fetch(board)).status).toBe(200);
  expect((await fetch(`${board}readyz`)).status).toBe(200);
  expect(await (await fetch(`${board}metrics`)).text()).toContain('jobferry_submissions_settled_total');

  // Downloaded where it says, and the events wait for whoever reads them.
  expect(readdirSync(path.join(cwd, '.jobferry', 'artifacts', 'knowhere', 'default'))).toHaveLength(1);
  const redis = new Redis(redisUrlOf(dev), { maxRetriesPerRequest: null });
  const results = new Queue('results', { connection: redis });
  try {
    const events = (await results.getWaiting()).map((job) => (job.data as CompletionEvent).data.outcome);
    expect(events.sort()).toEqual(['failed', 'rejected', ...Array<string>(7).fill('succeeded')]);
    // It stays up, and shows what others push.
    const submit = new Queue('knowhere.submit', { connection: redis });
    await submit.add('parse', { input: { sourceType: 'file', file: 'no-such.pdf' } }, { jobId: 'pushed-1' });
    await dev.says(/✖ pushed-1 +rejected/);
    await submit.close();
  } finally {
    await results.close();
    redis.disconnect();
  }

  const second = stage.node([cli, 'dev'], {}, cwd);
  const refused = await second.ended();
  expect(refused.code).toBe(69);
  expect(refused.stderr).toMatch(/^jobferry: The data folder \S+ is in use by the Redis on 127\.0\.0\.1:\d+ [^\n]*\n$/);

  const pids = descendants(dev.pid);
  if (process.platform === 'linux') expect(pids.length).toBeGreaterThan(0);
  const at = performance.now();
  dev.kill('SIGTERM');
  const { code, stderr } = await dev.ended(12_000);
  expect([code, stderr]).toEqual([0, '']);
  expect(performance.now() - at).toBeLessThan(10_000);
  await until(
    () => !pids.some(isAlive),
    5_000,
    () => `${pids.filter(isAlive).join(', ')} to end`,
  );
}, 150_000);

it('runs again on the data of the run before, and Ctrl+C in the middle leaves nothing under way', async () => {
  const { cli, cwd } = installCopy();
  const first = stage.node([cli, 'dev', '--speed', '0.5'], { PORT: '0' }, cwd);
  await first.says(/web-page-\w+ +polling/, 60_000);
  const pids = descendants(first.pid);
  first.kill('SIGINT');
  expect((await first.ended(12_000)).code).toBe(0);
  await until(() => !pids.some(isAlive), 5_000);

  const second = stage.node([cli, 'dev', '--speed', '20'], { PORT: '0' }, cwd);
  await second.says(/9 submissions: 7 succeeded, 1 failed, 1 rejected/, 60_000);
  const redis = new Redis(redisUrlOf(second), { maxRetriesPerRequest: null });
  const results = new Queue('results', { connection: redis });
  try {
    let events: CompletionEvent[] = [];
    // A submission whose request was out when the first run ended is settled by the second.
    await until(async () => {
      events = (await results.getWaiting(0, 100)).map((job) => job.data as CompletionEvent);
      return new Set(events.map((event) => event.id)).size === 18;
    }, 60_000);
    expect(events.filter((event) => event.data.outcome === 'canceled').length).toBeGreaterThan(0);
  } finally {
    await results.close();
    redis.disconnect();
  }
  second.kill('SIGTERM');
  expect((await second.ended(12_000)).code).toBe(0);
}, 150_000);

it('says which port is taken when PORT names one', async () => {
  const { cli, cwd } = installCopy();
  const first = stage.node(
    [cli, 'dev', '--no-demo'],
    { PORT: '0', REDIS_URL: stage.env['REDIS_URL'] ?? '', JOBFERRY_PREFIX: stage.prefix },
    cwd,
  );
  const [, port = ''] = await first.says(/Board +http:\/\/127\.0\.0\.1:(\d+)/, 30_000);
  const second = stage.node([cli, 'dev', '--no-demo'], { ...stage.env, PORT: port }, cwd);
  const { code, stderr } = await second.ended();
  expect([code, stderr]).toEqual([78, `jobferry: PORT: port ${port} is taken by another process\n`]);
  first.kill('SIGTERM');
  expect((await first.ended(12_000)).code).toBe(0);
}, 60_000);
