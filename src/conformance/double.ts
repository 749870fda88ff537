/**
 * What the suite needs of the vendor that an adapter is run against: an HTTP server of yours that plays it, or the
 * vendor sandbox. `scriptedVendor` makes one out of a few route functions.
 */

/** `POST /v1/renders`, below the base URL; `*` stands for one segment. */
export type Route = `${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`;

/**
 * What the suite asks the double to do wrong.
 *
 * Before it does anything: `bad-request` (400), `unauthorized` (401), `forbidden` (403), `rate-limited` (429 with
 * `Retry-After: 1`), `rate-limited-without-hint` (429), `rate-limited-at-once` (429 with `Retry-After: 0`),
 * `rate-limited-for-long` (429 with `Retry-After: 60`), `server-error` (500), `unavailable` (503 with `Retry-After: 2`),
 * `unavailable-for-long` (503 with `Retry-After: 60`), `cut-before` (the socket is reset), `error-body` (400 with the
 * body `argument`).
 *
 * After it did the work: `cut-after` (reset), `server-error-after` (500), `unreadable` (2xx, broken JSON), `slow-reply`
 * (over a second late), `huge-reply` (2xx, more than 9 MiB).
 *
 * In status replies: `empty` (nothing about any job), `partial` (one row is missing), `duplicate-rows`,
 * `reordered-rows`, `unknown-status` (a word of no documentation, then the true one), `gone` (the job is not known any
 * more), `poison` (every request that names the job `job` is refused with 404), `refused` (with 400), `ends-as` (the job
 * ends with the status word `argument`), `odd-word` (null in place of the status word), `other-case` (status words come
 * in capitals where they are small, and the other way round), `empty-error` (`{}` where an error would stand),
 * `text-error` (the text `argument` where an error would stand).
 *
 * Of a submit: `shared-job` (names the vendor job of the one before, which does the work of both).
 *
 * Of files: `link-dead` (403: this link does not work any more), `file-late` (404: not there yet), `page-for-file` (200
 * with an HTML page).
 */
export const faults = [
  'bad-request',
  'unauthorized',
  'forbidden',
  'rate-limited',
  'rate-limited-without-hint',
  'rate-limited-at-once',
  'rate-limited-for-long',
  'server-error',
  'unavailable',
  'unavailable-for-long',
  'cut-before',
  'cut-after',
  'server-error-after',
  'unreadable',
  'slow-reply',
  'huge-reply',
  'empty',
  'partial',
  'duplicate-rows',
  'reordered-rows',
  'unknown-status',
  'gone',
  'poison',
  'refused',
  'ends-as',
  'odd-word',
  'other-case',
  'empty-error',
  'text-error',
  'shared-job',
  'error-body',
  'link-dead',
  'file-late',
  'page-for-file',
] as const;
export type Fault = (typeof faults)[number];

/** Which requests a fault strikes. */
export interface Where {
  /** The operation under test; for a look-up, the one whose vendor job is looked up. */
  operation: string;
  /** Whether it strikes the request that starts work, or the one that asks how work stands. */
  at: 'submit' | 'lookup' | 'file';
  route: Route;
  times: number | 'always';
  /** With `ends-as`: the vendor's word. With `error-body` and `text-error`: what it says. */
  argument?: string;
  /** Only this vendor job. */
  job?: string;
}

/** One request that came in; `path` is below the base URL, without the query. */
export interface DoubleRequest {
  method: string;
  path: string;
  /** Epoch ms of its arrival. */
  at: number;
}

export interface ConformanceDouble {
  baseUrl: string;
  /**
   * Makes coming requests go wrong.
   * @throws Error for a fault that it can not play: name it in the case's `notApplicable`, with the reason.
   */
  arm(fault: Fault, where: Where): void | Promise<void>;
  /** Every request so far, in order of arrival. */
  requests(): readonly DoubleRequest[];
  /** How many times a fault has struck. A case whose fault never struck shows nothing, and fails. */
  strikes(): number;
  close(): void | Promise<void>;
}

/** Tells whether a request is one of a route's. */
export function routeMatcher(route: Route): (request: { method: string; path: string }) => boolean {
  const [method, pattern = ''] = route.split(' ', 2);
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]+');
  const path = new RegExp(`^${escaped}$`);
  return (request) => request.method === method && path.test(request.path);
}
