import type { ChildProcess } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { startDoomed } from '../helpers/doomed-worker.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
let worker: ChildProcess | undefined;
afterEach(async () => {
  worker?.kill('SIGKILL');
  await rig?.stop();
});

const heapMb = 96;
const count = 60;

it('jobs of 5 MB, many at a time, are refused by a worker with a small heap, which lives', async () => {
  rig = await startKnowhere({ groups: 0 });
  const { harness } = rig;
  // All that the heap would have to hold at once is more than three times what it may be.
  const input = { ...urlInput(), dataId: 'x'.repeat(5_000_000) };
  const ids = Array.from({ length: count }, (_, index) => `large-${index}`);
  for (const jobId of ids) await harness.push('knowhere', 'parse', { input, metadata: { jobId } }, { jobId });
  worker = startDoomed(rig, 'never', [`--max-old-space-size=${heapMb}`]);
  const { exitCode } = worker;
  await until(
    () => worker?.exitCode !== null || worker.signalCode !== null || harness.events.length >= count,
    90_000,
    () => `${harness.events.length} of ${count} were told`,
  );
  await harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'small' });
  await until(() => worker?.exitCode !== null || worker.signalCode !== null || harness.events.length > count, 30_000);
  expect([exitCode, worker.exitCode, worker.signalCode], 'how the worker ended').toEqual([null, null, null]);

  expect(harness.events.map(({ subject }) => subject).sort()).toEqual([...ids, 'small'].sort());
  for (const { data } of harness.events.filter(({ subject }) => subject !== 'small')) {
    expect(data).toMatchObject({ outcome: 'rejected', metadata: { jobId: data.submissionId } });
    expect(data.error?.message).toMatch(/50\d{5} bytes of JSON/);
  }
  expect((await harness.event('small')).data.outcome).toBe('succeeded');
  expect(rig.creates()).toHaveLength(1);
}, 150_000);
