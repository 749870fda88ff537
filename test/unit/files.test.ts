import type * as promises from 'node:fs/promises';
import { link, mkdir, mkdtemp, open, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { isSamePath, openFileBelow } from '../../src/vendors/transfers/files.ts';

/** What happens between the resolving of a path and the opening of what it led to. */
const moment = vi.hoisted(() => ({
  beforeOpen: async (): Promise<void> => undefined,
  afterOpen: async (): Promise<void> => undefined,
}));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof promises>();
  return {
    ...real,
    open: async (...given: Parameters<typeof real.open>) => {
      if (typeof given[1] !== 'number') return real.open(...given);
      await moment.beforeOpen();
      const handle = await real.open(...given);
      await moment.afterOpen();
      return handle;
    },
  };
});

let base: string;
let root: string;
let outside: string;

beforeAll(async () => {
  base = await mkdtemp(path.join(tmpdir(), 'jobferry-files-'));
  root = path.join(base, 'files');
  outside = path.join(base, 'outside');
  await mkdir(path.join(root, 'in'), { recursive: true });
  await mkdir(outside);
  await writeFile(path.join(root, 'in', 'a.txt'), 'inside');
  await writeFile(path.join(outside, 'a.txt'), 'SECRET of another folder');
});
afterAll(() => rm(base, { recursive: true, force: true }));

async function read(name: string): Promise<string> {
  const file = await openFileBelow(root, name);
  let text = '';
  try {
    for await (const chunk of file.stream()) text += Buffer.from(chunk).toString();
  } finally {
    await file.close();
  }
  return text;
}

describe('a file below the folder', () => {
  it('is read, through links that stay inside as well', async () => {
    await symlink('in', path.join(root, 'by-link'));
    expect(await read('in/a.txt')).toBe('inside');
    expect(await read('by-link/a.txt')).toBe('inside');
  });

  it('is read below a folder that is reached through a link itself', async () => {
    const alias = path.join(base, 'alias');
    await symlink(root, alias);
    const file = await openFileBelow(alias, 'in/a.txt');
    await file.close();
    expect(file.size).toBe(6);
  });

  it('is read under a second name, which is a file and no link', async () => {
    await link(path.join(outside, 'a.txt'), path.join(root, 'hard.txt'));
    expect(await read('hard.txt')).toContain('SECRET');
  });

  it('is not read through a link that leads out', async () => {
    await symlink(outside, path.join(root, 'out'));
    await expect(read('out/a.txt')).rejects.toThrow(/leads out/);
  });
});

describe('a folder that is swapped for a link', () => {
  const inner = (): string => path.join(root, 'in');
  const aside = (): string => path.join(root, 'aside');
  const swap = async (): Promise<void> => {
    await rename(inner(), aside());
    await symlink(outside, inner());
  };
  const nothing = async (): Promise<void> => undefined;
  afterEach(() => Object.assign(moment, { beforeOpen: nothing, afterOpen: nothing }));
  const swapBack = async (): Promise<void> => {
    await unlink(inner());
    await rename(aside(), inner());
  };

  it('between look and open does not lead out', async () => {
    moment.beforeOpen = async () => {
      moment.beforeOpen = nothing;
      await swap();
    };
    await expect(read('in/a.txt')).rejects.toThrow(/leads out/);
    await swapBack();
  });

  it('and back again costs another look, not the file', async () => {
    let opens = 0;
    moment.beforeOpen = async () => {
      opens += 1;
      if (opens === 1) await swap();
    };
    moment.afterOpen = async () => {
      if (opens === 1) await swapBack();
    };
    expect(await read('in/a.txt')).toBe('inside');
    expect(opens).toBe(2);
  });

  it('all the time never gives the outside file away', async () => {
    const swapper = new Worker(
      `const { renameSync, symlinkSync, unlinkSync } = require('node:fs');
       const { inner, aside, outside, ms } = require('node:worker_threads').workerData;
       for (const end = Date.now() + ms; Date.now() < end; ) {
         renameSync(inner, aside); symlinkSync(outside, inner); unlinkSync(inner); renameSync(aside, inner);
       }`,
      { eval: true, workerData: { inner: inner(), aside: aside(), outside, ms: 500 } },
    );
    let isOver = false;
    const over = new Promise((resolve) => swapper.once('exit', resolve)).then(() => (isOver = true));
    const seen = new Set<string>();
    while (!isOver) {
      await Promise.all([1, 2, 3, 4].map(async () => seen.add(await read('in/a.txt').catch(() => 'refused'))));
    }
    await over;
    expect(seen.has('inside')).toBe(true);
    expect([...seen].filter((text) => text.includes('SECRET'))).toEqual([]);
  });

  it('is noticed as well where the kernel does not say where an open file lies', async () => {
    const real = path.join(inner(), 'a.txt');
    const [good, bad] = [await open(real), await open(path.join(outside, 'a.txt'))];
    try {
      expect(await isSamePath(root, real, good)).toBe(true);
      expect(await isSamePath(root, real, bad)).toBe(false);
      await swap();
      expect(await isSamePath(root, real, bad)).toBe(false);
      await swapBack();
    } finally {
      await Promise.all([good.close(), bad.close()]);
    }
  });
});

describe('an open file', () => {
  it('is read as a whole again after a reading that was broken off', async () => {
    const content = Buffer.alloc(200_000, 'x');
    await writeFile(path.join(root, 'long.txt'), content);
    const file = await openFileBelow(root, 'long.txt');
    try {
      for await (const _first of file.stream()) break;
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.stream()) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(content)).toBe(true);
    } finally {
      await file.close();
    }
  });
});
