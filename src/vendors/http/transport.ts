import ky from 'ky';
import type { RequestBody } from '../../ports/vendor-adapter.ts';
import type { OutgoingRequest } from './outgoing-request.ts';

/**
 * A clone of a request reads its stream along and keeps all of it in memory. ky clones every request, and by the
 * standard so does fetch, unless it is told to follow no redirect and has no window to ask.
 */
const uncloned = { redirect: 'error', window: null, duplex: 'half' } as const;

export interface Sendable {
  method: string;
  headers: Record<string, string>;
  /** A JSON body, where there is no other. */
  json: unknown;
  body: RequestBody | undefined;
}

/**
 * Sends one request and returns the answer's head, whatever its status. Repeats nothing, follows no redirect and keeps
 * no time of its own. The one file that knows ky.
 */
export async function send(
  outgoing: OutgoingRequest,
  url: URL,
  { method, headers, json, body }: Sendable,
  signal: AbortSignal,
): Promise<Response> {
  const init = { method, headers, redirect: 'manual' } as const;
  if (body !== undefined) return outgoing.fetch(url, { ...init, ...uncloned, signal, body });
  let text: string | undefined;
  return ky(url, {
    ...init,
    ...(json === undefined ? {} : { json }),
    stringifyJson: (value) => (text = JSON.stringify(value)),
    retry: 0,
    timeout: false,
    throwHttpErrors: false,
    // ky speaks of Node's own requests, which undici's fetch does not know. The signal goes past ky, which would
    // combine it with one of its own for every request.
    fetch: (input) =>
      outgoing.fetch(url, {
        ...init,
        headers: [...(input as Request).headers],
        ...(text === undefined ? {} : { body: text }),
        signal,
      }),
  });
}
