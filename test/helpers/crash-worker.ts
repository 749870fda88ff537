/**
 * A worker process that dies by SIGKILL at a named place between two writes. Its own process, because a death has to
 * be real: no finally, no close, a lock that nobody gives back.
 */
import { runWorkers } from '../../src/app.ts';
import { loadConfig, requireRedis } from '../../src/config/load-config.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { adapters } from '../../src/vendors/catalogue.ts';

/** A checkpoint, or `ended-noted`: a held submit job is marked as about to fail, and BullMQ does not know it yet. */
const crashAt = process.env['CRASH_AT'];

async function die(): Promise<void> {
  process.kill(process.pid, 'SIGKILL');
  await new Promise(() => undefined);
}

if (crashAt === 'ended-noted') {
  const { markEnded } = RecordStore.prototype as { markEnded: (this: RecordStore, address: object) => Promise<void> };
  Object.assign(RecordStore.prototype, {
    async markEnded(this: RecordStore, address: object): Promise<void> {
      await markEnded.call(this, address);
      await die();
    },
  });
}
const config = loadConfig(process.env, adapters);
await runWorkers({
  config,
  redis: requireRedis(config),
  logger: silentLogger,
  stages: ['submit', 'poll'],
  checkpoint: async (point) => {
    if (point === crashAt) await die();
  },
});
process.send?.('ready');
