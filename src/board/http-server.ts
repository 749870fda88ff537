import type { Server, ServerOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { addressKey } from './client-address.ts';

export interface ListeningServer {
  port: number;
  close(): Promise<void>;
}

/** How long open requests may take to end once the server closes, ms. */
const closeGraceMs = 1_000;
/** Connections that one address may have open, so that one client cannot use up all; a browser opens six. */
const maxConnectionsPerAddress = 50;
/** Time limit for a request's header, checked each second, because waiting connections occupy places. */
const timeLimits = {
  requestTimeout: 30_000,
  headersTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} satisfies ServerOptions;

/**
 * Listens, and rejects if it cannot.
 * @param port - 0 uses any free port.
 * @param isShared - true for an address that many clients share, such as a proxy's; its connections are not limited.
 */
export async function listen(
  fetch: Parameters<typeof createAdaptorServer>[0]['fetch'],
  port: number,
  host: string,
  isShared: (address: string | undefined) => boolean = () => false,
): Promise<ListeningServer> {
  const server = createAdaptorServer({ fetch, overrideGlobalObjects: false, serverOptions: timeLimits }) as Server;
  server.maxConnections = 1_000;
  boundConnections(server, isShared);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  let closing: Promise<void> | undefined;
  return {
    port: (server.address() as AddressInfo).port,
    close: () => (closing ??= close(server)),
  };
}

/** Limits the connections of each address, so that half-sent requests of one client do not block others. */
function boundConnections(server: Server, isShared: (address: string | undefined) => boolean): void {
  const open = new Map<string, number>();
  server.on('connection', (socket) => {
    if (isShared(socket.remoteAddress)) return;
    const key = addressKey(socket.remoteAddress ?? 'unknown');
    const count = (open.get(key) ?? 0) + 1;
    if (count > maxConnectionsPerAddress) {
      socket.destroy();
      return;
    }
    open.set(key, count);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    });
  });
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
  await closed;
  clearTimeout(timer);
}
