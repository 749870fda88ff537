import { afterEach, expect, it } from 'vitest';
import type { RunningWorkers } from '../../src/app.ts';
import type { Checkpoint } from '../../src/workers/engine.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

const hungAfterMs = 400;

let rig: KnowhereRig | undefined;
let release: () => void = () => undefined;
afterEach(async () => {
  release();
  await rig?.stop();
});

async function start(checkpoint: (point: Checkpoint) => void | Promise<void>): Promise<RunningWorkers> {
  rig = await startKnowhere({
    groups: 0,
    checkpoint,
    change: (config) => ({ ...config, hungAfterMs, concurrency: { submit: 1, poll: 4 } }),
  });
  return rig.harness.startWorkers();
}

async function push(): Promise<void> {
  await rig!.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: 'one' });
}

it('a turn that does not end takes its slot, and a worker that has no others is not ready', async () => {
  const stuck = new Promise<void>((resolve) => (release = resolve));
  const workers = await start((point) => (point === 'intent-saved' ? stuck : undefined));
  expect(await workers.ready()).toMatchObject({ ready: true });
  await push();
  await until(async () => !(await workers.ready()).ready);
  expect((await workers.ready()).details.reasons).toEqual(['1 turns of knowhere.submit do not end']);
  release();
  await until(async () => (await workers.ready()).ready);
  expect((await rig!.harness.event('one')).data.outcome).toBe('succeeded');
});

it('a request that takes long is no turn that does not end', async () => {
  const workers = await start(() => undefined);
  rig!.sandbox.faults.arm({ fault: 'slow-reply', argument: 3_000, route: 'create' });
  await push();
  await until(() => rig!.sandbox.ledger.summary().requests > 0);
  const answers: boolean[] = [];
  const end = performance.now() + 4 * hungAfterMs;
  await until(async () => {
    answers.push((await workers.ready()).ready);
    return performance.now() > end;
  });
  expect(answers).not.toContain(false);
  expect((await rig!.harness.event('one')).data.outcome).toBe('succeeded');
});
