/**
 * A worker process that dies by SIGKILL at a named place between two writes. Its own process, because a death has to
 * be real: no finally, no close, a lock that nobody gives back.
 */
import { runWorkers } from '../../src/app.ts';
import { loadConfig, requireRedis } from '../../src/config/load-config.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { adapters } from '../../src/vendors/catalogue.ts';

const crashAt = process.env['CRASH_AT'];
const config = loadConfig(process.env, adapters);
await runWorkers({
  config,
  redis: requireRedis(config),
  logger: silentLogger,
  stages: ['submit', 'poll'],
  checkpoint: async (point) => {
    if (point !== crashAt) return;
    process.kill(process.pid, 'SIGKILL');
    await new Promise(() => undefined);
  },
});
process.send?.('ready');
