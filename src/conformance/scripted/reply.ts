import type { IncomingHttpHeaders } from 'node:http';

/** One request, as a route function sees it. */
export interface Call {
  method: string;
  path: string;
  /** What stands where the route has `*`, in order. */
  params: string[];
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** The body as it came. */
  text: string;
  /** The parsed body; undefined where there is none, or it is no JSON. */
  json: unknown;
}

/** What a route answers: JSON under status 200 unless it says otherwise. */
export interface Reply {
  status?: number;
  json?: unknown;
  /** Bytes in place of JSON, such as those of a file. */
  body?: string | Uint8Array;
  headers?: Record<string, string>;
}
