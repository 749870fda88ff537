/** How the bytes of a reply leave the house. Anything but `whole` is a fault. */
export type Delivery =
  | { readonly kind: 'whole' }
  /** Announces the whole length, sends the first `bytes`, then cuts the connection. */
  | { readonly kind: 'cut-at'; readonly bytes: number }
  /** Sends the first `bytes`, then stays silent until the client goes away. */
  | { readonly kind: 'hang-at'; readonly bytes: number }
  /** Puts `bytes` of filler after the first `at` bytes of the body, without announcing a length. */
  | { readonly kind: 'padded'; readonly at: number; readonly bytes: number; readonly filler: string };

/** An answer as a value: vendors make it, faults may change it, one place sends it. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  readonly delivery?: Delivery;
}

/** A JSON answer, e.g. `json(200, { status: 'done' })`. */
export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** The same answer with further headers. */
export function withHeaders(reply: Reply, headers: Readonly<Record<string, string>>): Reply {
  return { ...reply, headers: { ...reply.headers, ...headers } };
}
