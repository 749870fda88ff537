/**
 * A worker process that stands still between intent and request, as a suspended machine does, until its parent lets it
 * go on. Its own process, because all of it has to stand still: timers, lock renewals, the event loop.
 */
import { existsSync } from 'node:fs';
import { runWorkers } from '../../src/app.ts';
import { loadConfig, requireRedis } from '../../src/config/load-config.ts';
import { silentLogger, type Logger } from '../../src/ports/logger.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { adapters } from '../../src/vendors/catalogue.ts';

const { SUSPEND: how, WAKE_FILE: wakeFile = '', TRUSTS_ITS_CLOCK: trustsItsClock } = process.env;

/** The clocks of a machine that wakes as it was when it was suspended: a restored snapshot, a live migration. */
function setClocksBack(ms: number): void {
  const { now: wallClock } = Date;
  const monotonic = performance.now.bind(performance);
  Date.now = () => wallClock() - ms;
  performance.now = () => monotonic() - ms;
}

function suspend(): void {
  if (how === 'stop') {
    process.kill(process.pid, 'SIGSTOP');
    return;
  }
  const startedAt = performance.now();
  const still = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(wakeFile)) Atomics.wait(still, 0, 0, 50);
  setClocksBack(performance.now() - startedAt);
}

const logger: Logger = {
  ...silentLogger,
  warn: (_details, message) => void process.send?.(message),
  error: (_details, message) => void process.send?.(message),
  child: () => logger,
};
// The control: a worker that goes by its clock alone.
if (trustsItsClock !== undefined) RecordStore.prototype.holdToSend = async () => true;
const config = loadConfig(process.env, adapters);
let isOver = false;
await runWorkers({
  config,
  redis: requireRedis(config),
  logger,
  stages: ['submit'],
  checkpoint: (point) => {
    if (point === 'vendor-answered') process.send?.('sent');
    if (point !== 'intent-saved' || isOver) return;
    isOver = true;
    process.send?.('intended');
    // The message has to be out before all stands still.
    return new Promise((resolve) => {
      setTimeout(() => {
        suspend();
        resolve();
      }, 100);
    });
  },
});
