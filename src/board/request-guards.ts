import { isLoopbackName } from './board-options.ts';

/**
 * Whether the `Host` header names this machine. A page on the web can point a name of its own at 127.0.0.1 and
 * then read a board without a login as its own origin; what it can not do is send another Host (DNS rebinding).
 */
export function isLoopbackHost(hostHeader: string | undefined): boolean {
  if (hostHeader === undefined) return false;
  const match = /^(\[[^\]]+\]|[^:]+)(?::\d{1,5})?$/.exec(hostHeader.trim());
  return match?.[1] !== undefined && isLoopbackName(match[1]);
}

/**
 * Whether a state-changing request comes from the board's own pages, or from no browser at all.
 * Browsers say so themselves in `Sec-Fetch-Site`; where they do not (plain http), they still send `Origin`.
 */
export function isSameOrigin(headers: {
  host: string | undefined;
  origin: string | undefined;
  secFetchSite: string | undefined;
}): boolean {
  if (headers.secFetchSite !== undefined) return headers.secFetchSite === 'same-origin';
  if (headers.origin === undefined) return true;
  try {
    return new URL(headers.origin).host === headers.host;
  } catch {
    // `null`, the origin of sandboxed frames and files.
    return false;
  }
}

/** Sent with every answer. `wasm-unsafe-eval` is for the highlighter of the board, inline styles for its editor. */
export const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "worker-src 'self'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; '),
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
};
