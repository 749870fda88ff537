import { startBoard } from '../../board/index.ts';
import { loadSettings, requireRedis } from '../../config/load-config.ts';
import { AccountBoard } from '../../queues/account-board.ts';
import { openConnection } from '../../queues/connection.ts';
import { adapters } from '../vendor-modules.ts';
import { readAccountStates } from '../account-states.ts';
import { describeTarget } from '../await-redis.ts';
import { exitCodes } from '../exit-codes.ts';
import { createLogger } from '../logging.ts';
import { asPortFault } from '../ports-in-use.ts';
import { surviveRejections, untilSignal } from '../shutdown.ts';

/** Serves the board until a signal; it starts without Redis, and says on its pages that Redis is away. */
export async function board(): Promise<number> {
  const config = loadSettings(process.env, adapters);
  const target = requireRedis(config);
  const logger = createLogger(config.logLevel);
  surviveRejections(logger);
  const saidAt = new Map<string, number>();
  // While Redis is away, the connection and every queue repeat themselves at every try.
  const isNew = (trouble: string): boolean => {
    const now = Date.now();
    const isRepeated = now - (saidAt.get(trouble) ?? -Infinity) < 30_000;
    if (!isRepeated) saidAt.set(trouble, now);
    return !isRepeated;
  };
  const connection = openConnection(target, (error) => {
    if (!isNew(error.message)) return;
    logger.error({ redis: describeTarget(target), error: error.message }, 'Redis is not reachable; trying until it is');
  });
  try {
    const accounts = new AccountBoard(connection, config.prefix);
    const server = await startBoard({
      connection,
      prefix: config.prefix,
      vendors: adapters.map((adapter) => adapter.name),
      port: config.port,
      ...config.board,
      log: (message, fields = {}) => {
        const { error } = fields as { error?: string };
        if (error === undefined || isNew(error)) logger.warn(fields, message);
      },
      record: (message, fields) => logger.info(fields, message),
      accountStates: () => readAccountStates(accounts),
    }).catch((error: unknown) => {
      throw asPortFault('PORT', config.port, error);
    });
    const signal = untilSignal();
    const { host, user, isReadOnly } = config.board;
    const reach = `${host}, ${user === undefined ? 'without a login' : 'with a login'}${isReadOnly ? ', for reading only' : ''}`;
    logger.info({ url: server.url, redis: describeTarget(target), reach }, `board on ${server.url}`);
    await signal;
    await server.close();
    return exitCodes.ok;
  } finally {
    connection.disconnect();
  }
}
