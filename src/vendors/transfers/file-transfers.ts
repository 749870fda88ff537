import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Agent, request, type Dispatcher } from 'undici';
import { JobferryError, LinkExpiredError, StepFailedError, VendorUnavailableError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import { formsOf, redactText, withoutForms } from '../../core/redact.ts';
import type { Artifact, DownloadRequest, OpenFile, Transfers } from '../../ports/vendor-adapter.ts';
import { artifactFolder, safeName } from './artifact-folder.ts';
import { openFileBelow } from './files.ts';
import { networkCode } from '../http/network-code.ts';
import { checkLink, isPrivateUrl, linkLookup, type AddressKind } from './public-address.ts';
import { pickUploadHeaders } from './upload-headers.ts';

export interface TransferOptions {
  /** The only folder that `file` inputs are read from. */
  filesDir: string | undefined;
  /** Where results go. */
  artifactsDir: string;
  /** Lets transfers go to loopback and private addresses. */
  allowPrivateUrls: boolean;
  /** The largest result that is kept, bytes. */
  maxResultBytes: number;
  /** How long a transfer may stand still, ms. */
  idleTimeoutMs?: number;
}

const maxRedirects = 5;
/**
 * What the slowest line that still makes sense carries, bytes per ms: 64 kbit/s. A transfer that drips never stands
 * still, and would hold its worker for ever.
 */
const slowestBytesPerMs = 8;

/** Moves bytes between vendors' storage and our disk, streaming: no file is ever held in memory. */
export class FileTransfers implements Transfers {
  readonly #options: TransferOptions;
  readonly #publicAgent: Agent;
  /** Where private addresses are allowed, or the vendor is on one itself. */
  readonly #anyAgent: Agent;
  /** For plain http, which is for private addresses alone. */
  readonly #privateAgent: Agent;
  readonly #idleMs: number;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#idleMs = options.idleTimeoutMs ?? 30_000;
    const open = (addresses: AddressKind): Agent =>
      new Agent({
        headersTimeout: this.#idleMs,
        bodyTimeout: this.#idleMs,
        connect: { timeout: 10_000, lookup: linkLookup(addresses) },
      });
    this.#publicAgent = open('public');
    this.#anyAgent = open('any');
    this.#privateAgent = open('private');
  }

  async close(): Promise<void> {
    await Promise.all([this.#publicAgent.destroy(), this.#anyAgent.destroy(), this.#privateAgent.destroy()]);
  }

  async openFile(name: string): Promise<OpenFile> {
    return openFileBelow(this.#options.filesDir, name);
  }

  async upload(
    link: { url: string; headers: Record<string, string>; vendorUrl: string },
    file: string,
    signal: AbortSignal,
  ): Promise<void> {
    // A vendor on a private address hands out links to its own storage there; it has our key already.
    const allowPrivate = this.#options.allowPrivateUrls || isPrivateUrl(link.vendorUrl);
    const url = checkLink(link.url, allowPrivate);
    const { sent, leftOut } = pickUploadHeaders(link.headers);
    const opened = await this.openFile(file);
    const late = AbortSignal.timeout(this.#allowedMs(opened.size));
    try {
      const reply = await this.#exchange(() =>
        request(url, {
          method: 'PUT',
          // Storage signs the headers: the given ones as they are, and the length that S3 insists on.
          headers: { ...sent, 'content-length': String(opened.size) },
          body: Readable.from(opened.stream(), { objectMode: false }),
          dispatcher: this.#agentFor(url, allowPrivate),
          signal: AbortSignal.any([signal, late]),
        }),
      );
      const text = await readSome(reply.body, 4_096, this.#idleMs);
      if (reply.statusCode >= 200 && reply.statusCode < 300) return;
      const missed = leftOut.length === 0 ? '' : `; headers that are never sent: ${clip(leftOut.join(', '), 200)}`;
      const said = `the storage answered ${reply.statusCode}: ${readable(text, [url], secretValues(sent))}${missed}`;
      if (reply.statusCode >= 500 || reply.statusCode === 408 || reply.statusCode === 429) {
        throw new VendorUnavailableError(said, { taken: 'maybe', httpStatus: reply.statusCode });
      }
      throw new StepFailedError(/expired/i.test(text) ? 'upload_expired' : 'upload_refused', said);
    } finally {
      await opened.close();
    }
  }

  async download(order: DownloadRequest, signal: AbortSignal): Promise<Artifact> {
    const folder = artifactFolder(this.#options.artifactsDir, order);
    // Names of submissions and vendor jobs are not for every user of the machine.
    await mkdir(folder, { recursive: true, mode: 0o750 });
    const target = path.join(folder, safeName(order.fileName));
    // A name of its own: two workers may fetch the same result after a lost lock.
    const partial = `${target}.${randomUUID()}.part`;
    try {
      const { bytes, sha256 } = await this.#fetchInto(partial, order.url, signal);
      if (order.sha256 !== undefined && order.sha256.toLowerCase() !== sha256) {
        throw new StepFailedError(
          'checksum_mismatch',
          `expected SHA-256 ${order.sha256}, got ${sha256} over ${bytes} bytes`,
        );
      }
      if (
        order.sha256 === undefined &&
        order.startsWith !== undefined &&
        !(await beginsWith(partial, order.startsWith))
      )
        throw new LinkExpiredError(`the result link answered with ${bytes} bytes that are no such file`);
      await flush(partial);
      await rename(partial, target);
      return { path: target, bytes, sha256, verified: order.sha256 !== undefined };
    } finally {
      await rm(partial, { force: true });
    }
  }

  async #fetchInto(file: string, link: string, signal: AbortSignal): Promise<{ bytes: number; sha256: string }> {
    const reply = await this.#follow(link, signal);
    const limit = this.#options.maxResultBytes;
    const announced = Number(reply.headers['content-length'] ?? 0);
    if (announced > limit) {
      // Destroying it early makes the stream fail, which nobody else listens to.
      reply.body.once('error', () => undefined).destroy();
      throw new StepFailedError('result_too_large', `the result has ${announced} bytes, at most ${limit} are kept`);
    }
    const hash = createHash('sha256');
    const startedAt = performance.now();
    const allowedMs = (received: number): number => this.#allowedMs(received);
    let bytes = 0;
    try {
      await pipeline(
        reply.body,
        async function* measure(source: AsyncIterable<Buffer>) {
          for await (const chunk of source) {
            bytes += chunk.length;
            if (bytes > limit) throw new StepFailedError('result_too_large', `the result has more than ${limit} bytes`);
            if (performance.now() - startedAt > allowedMs(bytes)) throw tooSlow(bytes);
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

  /** Follows redirects by hand, so that each hop is checked like the first. */
  async #follow(link: string, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let url = checkLink(link, this.#options.allowPrivateUrls);
    const hops: URL[] = [];
    for (let hop = 0; hop <= maxRedirects; hop += 1) {
      const from = url;
      hops.push(from);
      const reply = await this.#exchange(() =>
        request(from, { method: 'GET', dispatcher: this.#agentFor(from, this.#options.allowPrivateUrls), signal }),
      );
      const { statusCode } = reply;
      if (statusCode === 200) return reply;
      const location = reply.headers['location'];
      const text = await readSome(reply.body, 2_048, this.#idleMs);
      if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') {
        if (!URL.canParse(location, from.href))
          throw new StepFailedError('address_refused', 'the link redirects to no URL');
        url = checkLink(new URL(location, from).href, this.#options.allowPrivateUrls);
        continue;
      }
      const said = `the result link answered ${statusCode}: ${readable(text, hops)}`;
      // Storage answers 403 (S3) or 400/401/410 to a link past its time.
      if ([400, 401, 403, 404, 410].includes(statusCode)) throw new LinkExpiredError(said);
      throw new VendorUnavailableError(said, { taken: 'maybe', httpStatus: statusCode });
    }
    throw new StepFailedError('result_unavailable', `the result link redirects more than ${maxRedirects} times`);
  }

  #agentFor(url: URL, allowPrivate: boolean): Agent {
    if (url.protocol === 'http:') return this.#privateAgent;
    return allowPrivate ? this.#anyAgent : this.#publicAgent;
  }

  #allowedMs(bytes: number): number {
    return this.#idleMs + Math.ceil(bytes / slowestBytesPerMs);
  }

  async #exchange(send: () => Promise<Dispatcher.ResponseData>): Promise<Dispatcher.ResponseData> {
    try {
      return await send();
    } catch (error) {
      throw toTransferError(error);
    }
  }
}

function toTransferError(error: unknown): Error {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    if (cause instanceof JobferryError) return cause;
  }
  // A full disk or a missing folder is ours, not the vendor's.
  const code = networkCode(error);
  if (code === 'ENOSPC' || code === 'EACCES' || code === 'EROFS' || code === 'EDQUOT') return error as Error;
  return new VendorUnavailableError(
    `the transfer failed: ${code ?? (error instanceof Error ? redactText(error.message) : 'unknown')}`,
    {
      taken: 'maybe',
      cause: error,
    },
  );
}

/**
 * What a storage says, for people. S3 quotes the request that it was sent, in several encodings, so only its code and
 * sentence are taken where it has them; and whatever stands in a link's query, or in a signed header, goes before
 * anything is cut.
 */
function readable(text: string, links: readonly URL[], headerValues: readonly string[] = []): string {
  const [code, sentence] = ['Code', 'Message'].map((name) => readElement(text, name));
  const said = code === undefined ? text : `${code}: ${sentence ?? 'no message'}`;
  const values = [...links.flatMap((link) => [...link.searchParams.values()]), ...headerValues];
  const forms = values.flatMap((value) => [...formsOf(value), ...formsOf(escapeXml(value))]);
  const plain = withoutForms(said, forms)
    .replace(/<[^<>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return clip(redactText(plain), 300);
}

/** The text of the first such element of an XML document; undefined where there is none. */
function readElement(xml: string, name: string): string | undefined {
  const start = xml.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const from = start + name.length + 2;
  const end = xml.indexOf(`</${name}>`, from);
  return end < 0 ? undefined : xml.slice(from, end);
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Values of signed headers can be credentials, such as a session token; kinds of content are not. */
function secretValues(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (/^content-type$/i.test(name) ? [] : [value]));
}

function tooSlow(bytes: number): VendorUnavailableError {
  return new VendorUnavailableError(`the transfer is too slow: ${bytes} bytes so far`, { taken: 'maybe' });
}

async function readSome(body: Dispatcher.ResponseData['body'], maxBytes: number, maxMs: number): Promise<string> {
  let text = '';
  const timer = setTimeout(() => body.destroy(), maxMs);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      text += chunk.toString('utf8');
      if (text.length >= maxBytes) break;
    }
  } catch {
    // Only the status matters; the text is for people.
  } finally {
    clearTimeout(timer);
  }
  return text.slice(0, maxBytes);
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
