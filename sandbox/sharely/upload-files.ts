import { createHash } from 'node:crypto';
import { open, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What one upload brought. */
export interface StoredFile {
  /** Bytes that came; of more than the limit, only the limit is on disk. */
  readonly bytes: number;
  readonly sha256: string;
}

/** Keeps uploads in its own temporary folder, made at the first upload and removed at the end. */
export class UploadFiles {
  #folder: Promise<string> | undefined;
  #serial = 0;

  /**
   * Writes what `content` hands over to a new file.
   * @param onBytes - called with the bytes that have come; may throw to end it, and then nothing is kept
   */
  async store(
    content: (sink: (piece: Buffer) => Promise<void>) => Promise<void>,
    limitBytes: number,
    onBytes: (bytes: number) => void,
  ): Promise<StoredFile> {
    this.#folder ??= mkdtemp(join(tmpdir(), 'vendor-sandbox-'));
    this.#serial += 1;
    const path = join(await this.#folder, `upload.${this.#serial}`);
    const file = await open(path, 'wx');
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      await content(async (piece) => {
        const room = limitBytes - bytes;
        bytes += piece.length;
        onBytes(bytes);
        hash.update(piece);
        if (room > 0) await file.write(piece.subarray(0, room));
      });
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
    await file.close();
    return { bytes, sha256: hash.digest('hex') };
  }

  /** Removes everything stored. */
  async clear(): Promise<void> {
    const folder = await this.#folder;
    this.#folder = undefined;
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });
  }
}
