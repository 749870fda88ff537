import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { LinkExpiredError, StepFailedError, VendorUnavailableError } from '../../core/errors.ts';
import type { Artifact, DownloadRequest } from '../../ports/vendor-adapter.ts';
import { artifactFolder, safeName } from './artifact-folder.ts';
import { followLink } from './follow-link.ts';
import type { StorageClient } from './storage-client.ts';
import { toTransferError } from './transfer-error.ts';

export interface DownloadOptions {
  artifactsDir: string;
  maxResultBytes: number;
  allowPrivate: boolean;
  signal: AbortSignal;
}

/**
 * Streams a link into the artifacts folder. The file has its name only once all of it is there and checked.
 * @throws LinkExpiredError, StepFailedError, VendorUnavailableError
 */
export async function download(
  client: StorageClient,
  order: DownloadRequest,
  options: DownloadOptions,
): Promise<Artifact> {
  const folder = artifactFolder(options.artifactsDir, order);
  // Names of submissions and vendor jobs are not for every user of the machine.
  await mkdir(folder, { recursive: true, mode: 0o750 });
  const target = path.join(folder, safeName(order.fileName));
  // A name of its own: two workers may fetch the same result after a lost lock.
  const partial = `${target}.${randomUUID()}.part`;
  try {
    const { bytes, sha256 } = await fetchInto(client, partial, order.url, options);
    if (order.sha256 !== undefined && order.sha256.toLowerCase() !== sha256) {
      throw new StepFailedError(
        'checksum_mismatch',
        `expected SHA-256 ${order.sha256}, got ${sha256} over ${bytes} bytes`,
      );
    }
    if (order.sha256 === undefined && order.startsWith !== undefined && !(await beginsWith(partial, order.startsWith)))
      throw new LinkExpiredError(`the result link answered with ${bytes} bytes that are no such file`);
    await flush(partial);
    await rename(partial, target);
    return { path: target, bytes, sha256, verified: order.sha256 !== undefined };
  } finally {
    await rm(partial, { force: true });
  }
}

async function fetchInto(
  client: StorageClient,
  file: string,
  link: string,
  { maxResultBytes: limit, allowPrivate, signal }: DownloadOptions,
): Promise<{ bytes: number; sha256: string }> {
  const reply = await followLink(client, link, { allowPrivate, signal });
  const announced = Number(reply.headers['content-length'] ?? 0);
  if (announced > limit) {
    // Destroying it early makes the stream fail, and no other listener handles that.
    reply.body.once('error', () => undefined).destroy();
    throw new StepFailedError('result_too_large', `the result has ${announced} bytes, at most ${limit} are kept`);
  }
  const hash = createHash('sha256');
  const startedAt = performance.now();
  let bytes = 0;
  try {
    await pipeline(
      reply.body,
      async function* measure(source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          bytes += chunk.length;
          if (bytes > limit) throw new StepFailedError('result_too_large', `the result has more than ${limit} bytes`);
          if (performance.now() - startedAt > client.allowedMs(bytes)) throw tooSlow(bytes);
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(file, { mode: 0o640 }),
      { signal },
    );
  } catch (error) {
    throw toTransferError(error);
  }
  if (announced > 0 && bytes !== announced) {
    throw new VendorUnavailableError(`the result broke off after ${bytes} of ${announced} bytes`, { taken: 'maybe' });
  }
  return { bytes, sha256: hash.digest('hex') };
}

function tooSlow(bytes: number): VendorUnavailableError {
  return new VendorUnavailableError(`the transfer is too slow: ${bytes} bytes so far`, { taken: 'maybe' });
}

async function flush(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function beginsWith(file: string, text: string): Promise<boolean> {
  const expected = Buffer.from(text, 'latin1');
  const handle = await open(file, 'r');
  try {
    const found = Buffer.alloc(expected.length);
    const { bytesRead } = await handle.read(found, 0, expected.length, 0);
    return bytesRead === expected.length && found.equals(expected);
  } finally {
    await handle.close();
  }
}
