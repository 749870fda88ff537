import { StepFailedError } from '../../core/errors.ts';

/**
 * Which of the headers that come with an upload link are sent. A link and its headers are the vendor's choice, and are
 * sent to the vendor's choice of host: headers that say who asks, or that gateways act on, are not among them.
 */

/** What describes the object, and what storages sign. */
const allowed =
  /^(?:content-(?:type|md5|encoding|language|disposition)|cache-control|expires|if-none-match|x-(?:amz|ms|goog|oss|cos|obs)-[a-z0-9-]+)$/;
/** Ours to set: what the vendor says of them is left out, and signed values are the same. */
const framing: ReadonlySet<string> = new Set(['content-length', 'host', 'connection', 'transfer-encoding']);
/** No HTTP client sends these with a request of this kind. */
const unsendable: ReadonlySet<string> = new Set(['expect', 'upgrade', 'keep-alive', 'te', 'trailer']);

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const sendableValue = /^[\t\x20-\x7e\x80-\xff]*$/;

export interface UploadHeaders {
  sent: Record<string, string>;
  /** Names of headers that are not sent, for the message when the storage misses them. */
  leftOut: string[];
}

/**
 * Sorts the headers of an upload link.
 * @throws StepFailedError `upload_refused` where one of them can never be sent, so that no try would differ
 */
export function pickUploadHeaders(given: Readonly<Record<string, string>>): UploadHeaders {
  const sent: Record<string, string> = {};
  const leftOut: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    const lower = name.toLowerCase();
    if (!token.test(name)) throw refused('with a name that is none');
    if (unsendable.has(lower)) throw refused(`that is not sent with uploads: ${lower}`);
    if (!sendableValue.test(value)) throw refused(`whose value cannot be sent: ${lower.slice(0, 100)}`);
    if (framing.has(lower)) continue;
    if (allowed.test(lower)) sent[name] = value;
    else leftOut.push(lower.slice(0, 100));
  }
  return { sent, leftOut };
}

function refused(what: string): StepFailedError {
  return new StepFailedError('upload_refused', `the vendor asks for a header ${what}`);
}
