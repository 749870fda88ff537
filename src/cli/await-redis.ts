import { redactText } from '../core/redact.ts';
import type { Logger } from '../ports/logger.ts';
import { openConnection, type RedisTarget } from '../queues/connection.ts';

/** Where a target is, without user and password. */
export function describeTarget(target: RedisTarget): string {
  switch (target.kind) {
    case 'single':
      return `${target.options.host}:${target.options.port}`;
    case 'sentinel':
      return `${target.options.name} (Sentinel)`;
    case 'cluster':
      return target.nodes.map(({ host, port }) => `${host}:${port}`).join(',');
  }
}

/**
 * Waits until Redis answers, however long that takes: a worker that starts before its Redis is ordinary. Says so once,
 * and again when it is there.
 */
export async function awaitRedis(target: RedisTarget, logger: Logger, signal: AbortSignal): Promise<void> {
  let said = '';
  const connection = openConnection(target, (error) => {
    const reason = redactText(reasonOf(error));
    if (reason === said) return;
    said = reason;
    logger.error({ redis: describeTarget(target), error: reason }, 'Redis is not reachable; trying until it is');
  });
  try {
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      // Without a password that Redis wants, it connects and then refuses: only an answer counts.
      const ask = (): void => {
        connection.ping().then(
          () => resolve(),
          (error: unknown) => {
            if (signal.aborted) return;
            connection.emit('error', error);
            setTimeout(ask, 1_000).unref();
          },
        );
      };
      ask();
      connection.once('end', () => reject(new Error('the connection to Redis ended')));
    });
    if (said !== '' && !signal.aborted) logger.info({ redis: describeTarget(target) }, 'Redis is reachable now');
  } finally {
    connection.removeAllListeners('end');
    connection.disconnect();
  }
}

/**
 * Node reports a refused connection to a name with several addresses as an error without a message, and the error of a
 * cluster keeps what happened to a node apart.
 */
function reasonOf(error: Error & { lastNodeError?: Error }): string {
  const { code } = error as NodeJS.ErrnoException;
  const reason = error.message !== '' ? error.message : (code ?? error.name);
  return error.lastNodeError === undefined ? reason : `${reason} ${reasonOf(error.lastNodeError)}`;
}
