import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { ensureCli, projectDir } from './support.ts';

beforeAll(() => ensureCli(), 150_000);

interface Loaded {
  packages: string[];
  /** Below dist/, without extension. */
  own: string[];
}

/** What a process has loaded once it imported an entry: V8's coverage names every script, of either module system. */
function loadedBy(entry: string): Loaded {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-loaded-'));
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', `await import('${entry}');`], {
      cwd: projectDir,
      env: { ...process.env, NODE_V8_COVERAGE: folder },
    });
    const files = readdirSync(folder).flatMap((name) => {
      const { result } = JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as { result: { url: string }[] };
      return result.flatMap(({ url }) => (url.startsWith('file:') ? [fileURLToPath(url)] : []));
    });
    const packages = files.flatMap((file) => {
      const inside = file.split('/node_modules/').at(-1);
      return inside === undefined || inside === file ? [] : (/^(?:@[^/]+\/)?[^/]+/.exec(inside)?.[0] ?? []);
    });
    const dist = path.join(projectDir, 'dist') + path.sep;
    const own = files.filter((file) => file.startsWith(dist));
    return {
      packages: [...new Set(packages)].sort(),
      own: own.map((file) => file.slice(dist.length).replace(/\.js$/, '')).sort(),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A package that is not here has no business in a service that only submits and reads events. */
const allowed = new Set([
  ...['bullmq', 'cron-parser', 'luxon', 'node-abort-controller', 'semver', 'tslib', 'uuid'],
  ...['msgpackr', 'msgpackr-extract', 'node-gyp-build-optional-packages', 'detect-libc'],
  ...[
    'ioredis',
    '@ioredis/commands',
    'cluster-key-slot',
    'denque',
    'redis-errors',
    'redis-parser',
    'standard-as-callback',
  ],
  ...['debug', 'ms', 'supports-color', 'has-flag'],
  'zod',
]);
const allowedRooms =
  /^(client$|core\/|queues\/|producers\/|consumers\/|vendors\/inputs$|vendors\/\w+\/(input|wire|status|addresses)$)/;
const mostModules = 50;

it('the client loads bullmq, ioredis, zod and what those load, and of ours only what it needs', () => {
  const { packages, own } = loadedBy('jobferry/client');
  expect(packages).toEqual(expect.arrayContaining(['bullmq', 'ioredis', 'zod']));
  expect(packages.filter((name) => !allowed.has(name))).toEqual([]);
  expect(own).toContain('client');
  expect(own.filter((file) => !allowedRooms.test(file))).toEqual([]);
  expect(own.length).toBeLessThanOrEqual(mostModules);
});

it('the whole library loads more: what the client leaves out would have been seen', () => {
  const { packages, own } = loadedBy('jobferry');
  expect(packages.filter((name) => !allowed.has(name))).toEqual(expect.arrayContaining(['ipaddr.js', 'ky', 'undici']));
  expect(own).toEqual(expect.arrayContaining(['client', 'vendors/catalogue', 'workers/take-turn']));
  expect(own.length).toBeGreaterThan(mostModules);
});
