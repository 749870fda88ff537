import { LinkExpiredError, StepFailedError, VendorUnavailableError } from '../../core/errors.ts';
import { checkLink } from './public-address.ts';
import type { StorageClient, StorageReply } from './storage-client.ts';
import { readable } from './storage-text.ts';

const maxRedirects = 5;

/**
 * Follows a result link to its file, redirects by hand, so that each hop is checked like the first.
 * @returns the answer with the file, of which nothing is read yet
 * @throws LinkExpiredError, StepFailedError, VendorUnavailableError
 */
export async function followLink(
  client: StorageClient,
  link: string,
  { allowPrivate, signal }: { allowPrivate: boolean; signal: AbortSignal },
): Promise<StorageReply> {
  let url = checkLink(link, allowPrivate);
  const hops: URL[] = [];
  for (let hop = 0; hop <= maxRedirects; hop += 1) {
    hops.push(url);
    const reply = await client.request(url, { method: 'GET', signal }, allowPrivate);
    const { statusCode } = reply;
    if (statusCode === 200) return reply;
    const location = reply.headers['location'];
    const text = await client.readSome(reply.body, 2_048);
    if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') {
      if (!URL.canParse(location, url.href))
        throw new StepFailedError('address_refused', 'the link redirects to no URL');
      url = checkLink(new URL(location, url).href, allowPrivate);
      continue;
    }
    const said = `the result link answered ${statusCode}: ${readable(text, hops)}`;
    // Storage answers 403 (S3) or 400/401/410 to a link past its time.
    if ([400, 401, 403, 404, 410].includes(statusCode)) throw new LinkExpiredError(said);
    throw new VendorUnavailableError(said, { taken: 'maybe', httpStatus: statusCode });
  }
  throw new StepFailedError('result_unavailable', `the result link redirects more than ${maxRedirects} times`);
}
