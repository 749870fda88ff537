import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { InvalidSubmissionError } from '../core/errors.ts';
import type { OpenFile } from '../ports/vendor-adapter.ts';

/**
 * Opens a file that a submission names. Only what really lies below the folder is readable: no absolute path, no
 * `..`, no link that leads out, nothing but a regular file with something in it.
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
    const real = await realpath(path.join(root, name));
    if (real === root) throw refuse('is a folder');
    if (!real.startsWith(root + path.sep)) throw refuse('leads out of JOBFERRY_FILES_DIR');
    // What was resolved is what gets opened; a link put in its place meanwhile is not followed, a FIFO does not block.
    handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (stat.isDirectory()) throw refuse('is a folder');
    if (!stat.isFile()) throw refuse('is not a regular file');
    if (stat.size === 0) throw refuse('is empty');
    const opened = handle;
    return {
      size: stat.size,
      // Exactly the size that was announced, even if somebody appends meanwhile.
      stream: () => opened.createReadStream({ start: 0, end: stat.size - 1, autoClose: false }),
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
