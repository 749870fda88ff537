import { afterEach, expect, it, vi } from 'vitest';
import { runWorkers, type RunningWorkers } from '../../src/app.ts';
import type { Config } from '../../src/config/load-config.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { parseRedisUrl } from '../../src/queues/connection.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import type { Checkpoint } from '../../src/workers/engine.ts';
import { startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';
import { signal } from '../helpers/signal.ts';

let rig: KnowhereRig | undefined;
let workers: RunningWorkers | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await workers?.close();
  await rig?.stop();
});

/** Never ends by itself. */
const stalled = { input: urlInput('x.pdf?sandbox=stall'), poll: { initialDelayMs: 500, maxDelayMs: 500 } };

async function startWorkers(config: Config, checkpoint: (point: Checkpoint) => Promise<void>): Promise<void> {
  const redis = parseRedisUrl(redisUrl());
  workers = await runWorkers({ config, redis, logger: silentLogger, stages: ['submit', 'poll'], checkpoint });
}

it('a cancel that finds no poll job yet, and the submit job just handed over, is not lost', async () => {
  rig = await startKnowhere({ groups: 0 });
  const { harness } = rig;
  const [prepared, looked, begun, canceled] = [signal(), signal(), signal(), signal()];
  await startWorkers(harness.config, async (point) => {
    if (point === 'prepared') {
      prepared.happen();
      await looked.happened;
    }
    if (point === 'poll-job-begun') {
      begun.happen();
      await canceled.happened;
    }
  });
  await harness.push('knowhere', 'parse', stalled, { jobId: 'late' });
  await prepared.happened;

  const reader = new SubmissionReader(harness.redis, harness.prefix);
  type RequestCancel = (
    this: RecordStore,
    ...given: Parameters<RecordStore['requestCancel']>
  ) => ReturnType<RecordStore['requestCancel']>;
  const { requestCancel } = RecordStore.prototype as { requestCancel: RequestCancel };
  vi.spyOn(RecordStore.prototype, 'requestCancel').mockImplementationOnce(async function (this: RecordStore, ...given) {
    const result = await requestCancel.apply(this, given);
    expect([given[0].queue, result]).toEqual(['knowhere.poll', 'missing']);
    // Between the cancel's first look and its second, the submission is handed over.
    looked.happen();
    await begun.happened;
    return result;
  });
  expect(await reader.cancel('knowhere', 'late', Date.now())).toBe('requested');
  canceled.happen();
  expect((await harness.event('late')).data.outcome).toBe('canceled');
  await reader.close();
});

it('a cancel that finds a poll job without its record is not lost', async () => {
  rig = await startKnowhere({ groups: 0 });
  const { harness } = rig;
  const [added, canceled] = [signal(), signal()];
  await startWorkers(harness.config, async (point) => {
    if (point !== 'poll-job-added') return;
    added.happen();
    await canceled.happened;
  });
  await harness.push('knowhere', 'parse', stalled, { jobId: 'early' });
  await added.happened;
  const reader = new SubmissionReader(harness.redis, harness.prefix);
  expect(await reader.cancel('knowhere', 'early', Date.now())).toBe('requested');
  canceled.happen();
  expect((await harness.event('early')).data.outcome).toBe('canceled');
  await reader.close();
});
