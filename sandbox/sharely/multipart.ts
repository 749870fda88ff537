import type { Call } from '../http/call.ts';

/** A body that is not multipart/form-data as RFC 7578 has it; the message says what is wrong. */
export class MultipartError extends Error {
  override readonly name = 'MultipartError';
}

/** One part, announced by its headers; its content is read next. */
export interface Part {
  readonly name: string;
  /** Null: a field, no file. */
  readonly fileName: string | null;
  readonly contentType: string | null;
}

const MOST_FIELD_BYTES = 65_536;
const MOST_HEADER_BYTES = 16_384;
const HEADERS_END = Buffer.from('\r\n\r\n');

/** Reads multipart/form-data part by part as it arrives, so that no upload is ever held in memory. */
export class MultipartReader {
  readonly #call: Call;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #delimiter: Buffer;
  /** The line break before the first boundary is implied. */
  #rest: Buffer = Buffer.from('\r\n');
  #hasBegun = false;

  /** @throws MultipartError when the content type names no boundary */
  constructor(call: Call) {
    const match = /^multipart\/form-data\b.*?;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(
      call.header('content-type') ?? '',
    );
    const boundary = match?.[1] ?? match?.[2];
    if (boundary === undefined) throw new MultipartError('Content-Type must be multipart/form-data with a boundary');
    this.#call = call;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
    const body = call.request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    this.#chunks = body[Symbol.asyncIterator]();
  }

  /** The next part, or null at the end. The content of the part before must have been read. */
  async next(): Promise<Part | null> {
    if (!this.#hasBegun) await this.#passUntil(this.#delimiter, () => undefined);
    this.#hasBegun = true;
    while (this.#rest.length < 2) await this.#fill();
    if (this.#rest.subarray(0, 2).toString() === '--') {
      await this.drain();
      return null;
    }
    const headers = await this.#collect(HEADERS_END, MOST_HEADER_BYTES);
    const disposition = /^content-disposition:\s*form-data(.*)$/im.exec(headers)?.[1];
    const name = parameter(disposition, 'name');
    if (name === null) throw new MultipartError('a part has no name');
    const contentType = /^content-type:(.+)$/im.exec(headers)?.[1]?.trim() ?? null;
    return { name, fileName: parameter(disposition, 'filename'), contentType };
  }

  /** The content of the present part as text. */
  text(): Promise<string> {
    return this.#collect(this.#delimiter, MOST_FIELD_BYTES);
  }

  /** Hands the content of the present part on, piece by piece. */
  content(sink: (piece: Buffer) => Promise<void> | void): Promise<void> {
    return this.#passUntil(this.#delimiter, sink);
  }

  /** Reads what is left and forgets it: a client that is still sending must not be left hanging. */
  async drain(): Promise<void> {
    this.#rest = Buffer.alloc(0);
    for (;;) {
      const chunk = await this.#chunks.next();
      if (chunk.done === true) return;
      this.#call.bodyBytes += chunk.value.length;
    }
  }

  async #collect(end: Buffer, limitBytes: number): Promise<string> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    await this.#passUntil(end, (piece) => {
      bytes += piece.length;
      if (bytes > limitBytes) throw new MultipartError(`a field or header is larger than ${limitBytes} bytes`);
      pieces.push(piece);
    });
    return Buffer.concat(pieces).toString('utf8');
  }

  async #passUntil(end: Buffer, sink: (piece: Buffer) => Promise<void> | void): Promise<void> {
    for (;;) {
      const at = this.#rest.indexOf(end);
      if (at >= 0) {
        if (at > 0) await sink(this.#rest.subarray(0, at));
        this.#rest = this.#rest.subarray(at + end.length);
        return;
      }
      // The end may have begun in the last bytes.
      const safe = this.#rest.length - end.length + 1;
      if (safe > 0) {
        await sink(this.#rest.subarray(0, safe));
        this.#rest = this.#rest.subarray(safe);
      }
      await this.#fill();
    }
  }

  async #fill(): Promise<void> {
    const chunk = await this.#chunks.next();
    if (chunk.done === true) throw new MultipartError('the body ends too early');
    this.#call.bodyBytes += chunk.value.length;
    this.#rest = this.#rest.length === 0 ? chunk.value : Buffer.concat([this.#rest, chunk.value]);
  }
}

function parameter(disposition: string | undefined, name: string): string | null {
  const match = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]+))`, 'i').exec(disposition ?? '');
  return match?.[1]?.replace(/\\(.)/g, '$1').replaceAll('%22', '"') ?? match?.[2] ?? null;
}
