import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Call } from '../http/call.ts';

/** What one upload brought. */
export interface Upload {
  readonly path: string;
  /** Bytes that came; of more than the limit, only the limit is on disk. */
  readonly bytes: number;
  readonly md5: string;
}

/** Keeps uploads in its own temporary folder, made at the first upload and removed at the end. */
export class UploadShelf {
  #folder: Promise<string> | undefined;
  #serial = 0;

  /**
   * Streams a request body to disk; like storage, the object is there whole or not at all.
   * @param cutAfterBytes - a fault: reset the connection once so many bytes have come
   * @throws the stream's error when the client leaves in the middle
   */
  async store(call: Call, name: string, limitBytes: number, cutAfterBytes: number | null): Promise<Upload> {
    this.#folder ??= mkdtemp(join(tmpdir(), 'vendor-sandbox-'));
    const folder = await this.#folder;
    this.#serial += 1;
    // Never the same file twice: a result made from an upload must not change under a later one.
    const path = join(folder, `${name}.${this.#serial}`);
    const hash = createHash('md5');
    let bytes = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const room = limitBytes - bytes;
        bytes += chunk.length;
        call.bodyBytes = bytes;
        hash.update(chunk);
        if (cutAfterBytes !== null && bytes >= cutAfterBytes) {
          call.cut();
          done(new Error('upload cut by a fault'));
        } else {
          done(null, room <= 0 ? undefined : chunk.subarray(0, room));
        }
      },
    });
    try {
      await pipeline(call.request, meter, createWriteStream(path));
    } catch (error) {
      await this.discard(path);
      throw error;
    }
    return { path, bytes, md5: hash.digest('hex') };
  }

  /** Removes one file. */
  async discard(path: string): Promise<void> {
    await rm(path, { force: true });
  }

  /** Removes everything stored. */
  async clear(): Promise<void> {
    const folder = await this.#folder;
    this.#folder = undefined;
    // Retried: an upload cut off at this very moment may still be creating its file.
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });
  }
}
