import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpoints } from '../../src/workers/engine.ts';
import { startDoomed } from '../helpers/doomed-worker.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

/** A worker dies at each named place between two writes; another finishes its work. */
describe('a worker killed between two writes', () => {
  let rig: KnowhereRig;
  let doomed: ChildProcess | undefined;

  beforeEach(async () => {
    rig = await startKnowhere({ groups: 0 });
    await writeFile(path.join(rig.harness.folder, 'a.md'), '# A\n');
  });
  afterEach(async () => {
    doomed?.kill('SIGKILL');
    await rig.stop();
  });

  it.each(checkpoints)(
    'at %s: one vendor job, one outcome',
    async (point) => {
      const isFile = point === 'acceptance-saved' || point === 'prepared';
      const input = isFile ? { sourceType: 'file', file: 'a.md' } : urlInput();
      const child = (doomed = startDoomed(rig, point));
      await rig.harness.push('knowhere', 'parse', { input, poll: quickPoll }, { jobId: 'doomed' });
      await once(child, 'exit');
      expect(child.signalCode).toBe('SIGKILL');
      const killedAt = Date.now();
      await rig.harness.startWorkers();
      const event = await rig.harness.event('doomed', 40_000);
      expect(event.data.outcome).toBe('succeeded');
      expect(rig.created()).toHaveLength(1);
      expect(event.data.vendorJobs.map((job) => job.id)).toEqual([rig.created()[0]!.jobId]);
      // Looking a lost submit up takes its time by design; everything else goes on as soon as the lock ran out.
      if (point !== 'intent-saved') expect(Date.now() - killedAt).toBeLessThan(20_000);
      await until(
        async () => (await rig.harness.queue('knowhere.poll').getJobCountByTypes('active', 'wait', 'delayed')) === 0,
      );
      await until(
        async () => (await rig.harness.queue('knowhere.submit').getJobCountByTypes('active', 'wait', 'delayed')) === 0,
      );
      const deliveries = rig.harness.events.filter((one) => one.subject === 'doomed');
      for (const delivery of deliveries) expect(delivery).toEqual(event);
      expect(await rig.harness.queue('knowhere.poll').getFailedCount()).toBe(0);
    },
    60_000,
  );

  it('while the vendor is called: the submit is looked up, found and adopted', async () => {
    rig.sandbox.faults.arm({ fault: 'timeout-after', route: 'create' });
    const child = (doomed = startDoomed(rig, 'never'));
    await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'cut' });
    await until(() => rig.created().length === 1, 20_000);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await rig.harness.startWorkers();
    const event = await rig.harness.event('cut', 40_000);
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  }, 60_000);
});
