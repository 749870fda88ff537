import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { runWorkers, type RunningWorkers } from '../../src/app.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { parseRedisUrl } from '../../src/queues/connection.ts';
import { adapters } from '../../src/vendors/catalogue.ts';
import { serve } from '../lib/serve.ts';
import { takeOut } from '../lib/without.ts';
import { countCommands, cpuSeconds, memoryAfterCollection, type WorkerStart } from '../lib/worker-life.ts';

const commands = process.env['BENCH_COUNT_COMMANDS'] === '1' ? countCommands() : undefined;
let workers: RunningWorkers | undefined;
let folder = '';
let isPrepared = false;

serve({
  async start(given: WorkerStart) {
    // What is taken out is taken out of this process for good.
    if (!isPrepared) takeOut(given.without);
    isPrepared = true;
    folder = mkdtempSync(path.join(tmpdir(), 'jobferry-bench-'));
    const loaded = loadConfig(
      {
        REDIS_URL: given.redisUrl,
        JOBFERRY_PREFIX: given.prefix,
        JOBFERRY_ARTIFACTS_DIR: folder,
        KNOWHERE_API_KEY: 'sk_bench',
        KNOWHERE_BASE_URL: given.vendorUrl,
      },
      adapters,
      folder,
    );
    workers = await runWorkers({
      config: { ...loaded, concurrency: { submit: given.submitConcurrency, poll: given.pollConcurrency } },
      redis: parseRedisUrl(given.redisUrl),
      // As in production, lines and all, but to where they disturb nobody.
      logger: pino({ level: 'info' }, pino.destination('/dev/null')),
      stages: ['submit', 'poll'],
    });
  },
  commands: () => commands?.take() ?? {},
  memory: memoryAfterCollection,
  cpu: cpuSeconds,
  async stop() {
    await workers?.close();
    workers = undefined;
    rmSync(folder, { recursive: true, force: true });
  },
});
