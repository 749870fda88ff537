import type { TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';

/** The longest wait for a server that confirms nothing, ms. */
const maxConfirmMs = 250;

/**
 * Connects, and hands a TLS 1.3 connection out only when the server has finished its handshake too.
 *
 * By TLS 1.3 the client is done one round trip before the server, which may still refuse it, for want of a client
 * certificate for instance. A request written in between would be in doubt although the server never read it. A session
 * ticket shows that the server is done; one that sends none is given as long as the handshake took.
 */
export function confirmedConnector(): buildConnector.connector {
  const connect = buildConnector({});
  return (options, callback) => {
    const startedAt = performance.now();
    connect(options, (...result) => {
      const [error, socket] = result;
      if (error !== null || !isTls13(socket)) return callback(...result);
      const waitMs = Math.min(performance.now() - startedAt, maxConfirmMs);
      confirm(socket, waitMs, (fault) => (fault === undefined ? callback(null, socket) : callback(fault, null)));
    });
  };
}

function isTls13(socket: object): socket is TLSSocket {
  return 'getProtocol' in socket && (socket as TLSSocket).getProtocol() === 'TLSv1.3';
}

function confirm(socket: TLSSocket, waitMs: number, done: (fault?: Error) => void): void {
  let isDone = false;
  const finish = (fault?: Error): void => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    socket.off('session', onSession).off('error', finish).off('close', onClose);
    done(fault);
  };
  // OpenSSL is in the middle of a read when it tells of a ticket: what is written then gets stuck.
  const onSession = (): void => void setImmediate(finish);
  const onClose = (): void => finish(new Error('the connection was closed in the handshake'));
  const timer = setTimeout(finish, waitMs);
  socket.on('session', onSession).on('error', finish).on('close', onClose);
}
