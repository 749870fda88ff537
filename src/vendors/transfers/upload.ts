import { Readable } from 'node:stream';
import { StepFailedError, VendorUnavailableError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import type { OpenFile } from '../../ports/vendor-adapter.ts';
import { checkLink } from './public-address.ts';
import type { StorageClient } from './storage-client.ts';
import { readable } from './storage-text.ts';
import { pickUploadHeaders } from './upload-headers.ts';

/**
 * PUTs a file to a link.
 * @param open - opens the file, once the link was found usable
 * @throws VendorUnavailableError, StepFailedError, what `open` throws
 */
export async function upload(
  client: StorageClient,
  link: { url: string; headers: Record<string, string> },
  open: () => Promise<OpenFile>,
  { allowPrivate, signal }: { allowPrivate: boolean; signal: AbortSignal },
): Promise<void> {
  const url = checkLink(link.url, allowPrivate);
  const { sent, leftOut } = pickUploadHeaders(link.headers);
  const opened = await open();
  const late = AbortSignal.timeout(client.allowedMs(opened.size));
  try {
    const reply = await client.request(
      url,
      {
        method: 'PUT',
        // Storage signs the headers: the given ones as they are, and the length that S3 insists on.
        headers: { ...sent, 'content-length': String(opened.size) },
        body: Readable.from(opened.stream(), { objectMode: false }),
        signal: AbortSignal.any([signal, late]),
      },
      allowPrivate,
    );
    const text = await client.readSome(reply.body, 4_096);
    if (reply.statusCode >= 200 && reply.statusCode < 300) return;
    const missed = leftOut.length === 0 ? '' : `; headers that are never sent: ${clip(leftOut.join(', '), 200)}`;
    const said = `the storage answered ${reply.statusCode}: ${readable(text, [url], sent)}${missed}`;
    if (reply.statusCode >= 500 || reply.statusCode === 408 || reply.statusCode === 429) {
      throw new VendorUnavailableError(said, { taken: 'maybe', httpStatus: reply.statusCode });
    }
    throw new StepFailedError(/expired/i.test(text) ? 'upload_expired' : 'upload_refused', said);
  } finally {
    await opened.close();
  }
}
