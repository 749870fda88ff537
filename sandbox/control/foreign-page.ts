import type { Call } from '../http/call.ts';

/**
 * Why a control request is refused; undefined when it may go on. The sandbox asks for no login, so a page of the web that is
 * open on this machine could change what is played, blindly or, by its own host name that points here, read the ledger.
 * Programs send no `Origin`. A foreign `Host` is refused to callers on this machine alone: in a network of containers the
 * sandbox has names that it does not know.
 */
export function whyControlIsRefused(call: Call): string | undefined {
  const host = call.header('host') ?? '';
  const origin = call.header('origin');
  if (origin !== undefined && origin !== call.origin) return 'control requests of other sites are refused';
  const site = call.header('sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return 'control requests of other sites are refused';
  if (isLoopback(call.request.socket.remoteAddress ?? '') && !isLoopbackName(host))
    return `on this machine control requests are taken under localhost and 127.0.0.1 only, not ${JSON.stringify(host)}`;
  return undefined;
}

function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.|^::1$/.test(address);
}

function isLoopbackName(hostHeader: string): boolean {
  const name = hostHeader.toLowerCase().replace(/:\d{1,5}$/, '');
  return /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(name);
}
