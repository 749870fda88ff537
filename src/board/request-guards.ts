import { isLoopbackName } from './board-options.ts';

/**
 * Whether the `Host` header names this machine. Against DNS rebinding: a web page can point its own host name at
 * 127.0.0.1 and read a board without a login as its own origin, but it cannot send another Host.
 */
export function isLoopbackHost(hostHeader: string | undefined): boolean {
  if (hostHeader === undefined) return false;
  const match = /^(\[[^\]]+\]|[^:]+)(?::\d{1,5})?$/.exec(hostHeader.trim());
  return match?.[1] !== undefined && isLoopbackName(match[1]);
}

/**
 * Whether a state-changing request comes from the board's own pages, or from a program that is not a browser.
 * Browsers report it in `Sec-Fetch-Site`; if they do not (plain http), they still send `Origin`.
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

/** Sent with every answer. The board's highlighter needs `wasm-unsafe-eval`, its editor inline styles. */
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
