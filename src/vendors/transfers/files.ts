import { constants } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { InvalidSubmissionError } from '../../core/errors.ts';
import type { OpenFile } from '../../ports/vendor-adapter.ts';

/** Openings of a file that is replaced, or whose folder is moved, at that very moment. */
const maxTries = 5;
const chunkBytes = 64 * 1024;

/**
 * Opens a file that a submission names. Only what really lies below the folder is readable: no absolute path, no
 * `..`, no link that leads out, nothing but a regular file with something in it; also where others swap folders for
 * links meanwhile. A hard link is the file itself and is read: making one to a file of another user is what Linux'
 * `protected_hardlinks` prevents.
 * @param folder - `JOBFERRY_FILES_DIR`; undefined refuses every file.
 * @param field - the input field that names the file, for the fault's path.
 * @throws InvalidSubmissionError
 */
export async function openFileBelow(folder: string | undefined, name: string, field = 'input.file'): Promise<OpenFile> {
  const refuse = (message: string): InvalidSubmissionError => new InvalidSubmissionError([{ path: field, message }]);
  if (folder === undefined) throw refuse('files are not accepted here: JOBFERRY_FILES_DIR is not set');
  if (name.includes('\0')) throw refuse('contains a zero byte');
  if (path.isAbsolute(name) || path.win32.isAbsolute(name))
    throw refuse('must be a path below JOBFERRY_FILES_DIR, not an absolute one');
  if (name.split(/[\\/]/).includes('..')) throw refuse('must not contain ".."');

  let root: string;
  try {
    root = await realpath(folder);
  } catch {
    throw refuse('JOBFERRY_FILES_DIR does not exist or can not be read');
  }
  let handle: FileHandle | undefined;
  try {
    handle = await openBelow(root, path.join(root, name), refuse);
    const stat = await handle.stat();
    if (stat.isDirectory()) throw refuse('is a folder');
    if (!stat.isFile()) throw refuse('is not a regular file');
    if (stat.size === 0) throw refuse('is empty');
    const opened = handle;
    return {
      size: stat.size,
      stream: () => readFrom(opened, stat.size),
      close: () => opened.close(),
    };
  } catch (error) {
    await handle?.close();
    if (error instanceof InvalidSubmissionError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw refuse('does not exist');
    if (code === 'EACCES' || code === 'EPERM') throw refuse('can not be read: permission denied');
    if (code === 'ELOOP') throw refuse('leads through a link that is not followed');
    if (code === 'ENAMETOOLONG') throw refuse('is too long for a path');
    throw error;
  }
}

/**
 * Exactly the size that was announced, even if something is appended meanwhile. A stream of Node's closes the file when it
 * is broken off, as by an answer that comes before the whole body was sent; and then the file is sent once more.
 */
async function* readFrom(handle: FileHandle, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(chunkBytes, size - at)), {
      position: at,
    });
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * Resolves a path and opens what it leads to. Between the two, a folder of the path can become a link, and the last part
 * alone is guarded by `O_NOFOLLOW`: so the opened file is asked where it lies.
 */
async function openBelow(
  root: string,
  wanted: string,
  refuse: (message: string) => InvalidSubmissionError,
): Promise<FileHandle> {
  for (let tries = 1; ; tries += 1) {
    const real = await realpath(wanted);
    if (real === root) throw refuse('is a folder');
    if (!isBelow(root, real)) throw refuse('leads out of JOBFERRY_FILES_DIR');
    // A link put in its place meanwhile is not followed, a FIFO does not block.
    const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      if (await liesBelow(root, real, handle)) return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    if (tries >= maxTries) throw refuse('leads out of JOBFERRY_FILES_DIR, or is moved all the time');
  }
}

function isBelow(root: string, file: string): boolean {
  return file.startsWith(root === path.sep ? root : root + path.sep);
}

/** Does an open file lie below the folder? Where it does not, it was moved, or reached through a link. */
async function liesBelow(root: string, real: string, handle: FileHandle): Promise<boolean> {
  try {
    // The kernel's own answer, for the file and not for a path: nothing that happens to folders changes it.
    const where = await readlink(`/proc/self/fd/${handle.fd}`);
    return isBelow(root, where);
  } catch {
    return isSamePath(root, real, handle);
  }
}

/**
 * Where the kernel does not tell (macOS, Windows): no part of the path is a link, before and after the last part is
 * compared with the open file. That leaves a gap for who can swap a folder to and fro at the right two moments.
 */
export async function isSamePath(root: string, real: string, handle: FileHandle): Promise<boolean> {
  const parts = path.relative(root, real).split(path.sep);
  const folders = parts.slice(0, -1).map((_part, index) => path.join(root, ...parts.slice(0, index + 1)));
  const before = await identify(folders);
  const [opened, found] = await Promise.all([handle.stat({ bigint: true }), lstat(real, { bigint: true })]);
  const after = await identify(folders);
  if (before === undefined || before !== after) return false;
  return opened.dev === found.dev && opened.ino === found.ino;
}

/** @returns undefined where one of them is not a folder. */
async function identify(folders: readonly string[]): Promise<string | undefined> {
  const stats = await Promise.all(folders.map((folder) => lstat(folder, { bigint: true })));
  if (!stats.every((stat) => stat.isDirectory())) return undefined;
  return stats.map(({ dev, ino }) => `${dev}:${ino}`).join(' ');
}
