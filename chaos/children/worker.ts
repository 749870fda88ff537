/**
 * A worker process that dies, freezes or hangs at a named place between two writes when it is told to. Its own
 * process, because a death has to be real: no finally, no close, a lock that nobody gives back.
 */
import { shiftClock } from '../lib/shifted-clock.ts';
import { appendFileSync } from 'node:fs';
import { Worker } from 'bullmq';
import { runWorkers } from '../../src/app.ts';
import { untilSignal } from '../../src/cli/shutdown.ts';
import { loadConfig, requireRedis } from '../../src/config/load-config.ts';
import type { Logger } from '../../src/ports/logger.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import type { Checkpoint } from '../../src/workers/engine.ts';
import { carelessly } from '../lib/careless-module.ts';
import type { FromWorker, Order, ToWorker } from '../lib/orders.ts';

// Before anything asks what time it is.
shiftClock(Number(process.env['CHAOS_CLOCK_MS'] ?? 0));

const tell = (message: FromWorker): Promise<void> =>
  new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });

// Locks name the BullMQ worker that took them: this is how the controller knows which jobs a dead process held.
const workerPrototype = Worker.prototype as unknown as { run: (this: { id: string }) => Promise<void> };
const { run } = workerPrototype;
workerPrototype.run = function () {
  void tell({ kind: 'lock-owner', id: this.id });
  return run.call(this);
};

if (process.env['CHAOS_CONTROL'] === 'no-intent') {
  // The protection switched off: nothing is written before the vendor is called.
  type Save = (this: RecordStore, ...given: Parameters<RecordStore['save']>) => ReturnType<RecordStore['save']>;
  const store = RecordStore.prototype as { save: Save };
  const { save } = store;
  store.save = function (...given) {
    return given.some(isIntent) ? Promise.resolve({ kind: 'saved' }) : save.apply(this, given);
  };
}

const logFile = process.env['CHAOS_LOG'];
const logger = openLogger({});
let order: Order | undefined;

process.on('message', (message: ToWorker) => {
  if (message.kind === 'block') block(message.ms);
  else if (message.kind === 'clock') shiftClock(message.ms);
  else order = message;
});
// Without its controller nobody would ever end it.
process.once('disconnect', () => process.exit());

/** A careless module must cost its own submissions seconds, and a run has no minutes. */
const stepLimitMs = 3_000;

const config = { ...loadConfig(process.env, adapters.map(carelessly)), stepLimitMs };
const workers = await runWorkers({
  config,
  redis: requireRedis(config),
  logger,
  stages: ['submit', 'poll'],
  checkpoint: (point) => atCheckpoint(point),
});
// As `jobferry worker` ends, its bound on all of it included.
void untilSignal(() => logger.info({}, 'told to stop')).then(async () => {
  await workers.close();
  logger.info({}, 'drained');
  process.exit(0);
});
await tell({ kind: 'ready' });

/** The condition that marks the write before the vendor is called. */
function isIntent(given: unknown): boolean {
  return typeof given === 'object' && given !== null && 'canceled' in given && 'handedOver' in given;
}

async function atCheckpoint(point: Checkpoint): Promise<void> {
  if (order?.point !== point) return;
  if (order.skip > 0) {
    order.skip -= 1;
    return;
  }
  const { kind } = order;
  order = undefined;
  await tell({ kind: kind === 'die-at' ? 'dying' : 'freezing', point });
  process.kill(process.pid, kind === 'die-at' ? 'SIGKILL' : 'SIGSTOP');
  if (kind === 'die-at') await new Promise(() => undefined);
}

function block(ms: number): void {
  const end = Date.now() + ms;
  while (Date.now() < end) Math.sqrt(end);
}

function openLogger(bindings: object): Logger {
  const write = (level: string) => (fields: object, message: string) => {
    if (logFile === undefined) return;
    appendFileSync(
      logFile,
      `${JSON.stringify({ at: Date.now(), pid: process.pid, level, message, ...bindings, ...fields })}\n`,
    );
  };
  return {
    debug: () => undefined,
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (more) => openLogger({ ...bindings, ...more }),
  };
}
