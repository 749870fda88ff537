import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig;
beforeEach(async () => {
  rig = await startKnowhere();
});
afterEach(() => rig.stop());

/** What the event says of when the submission was enqueued, ms after it really was. */
async function toldOffMs(id: string, pushedAt: number): Promise<number> {
  const { timings } = (await rig.harness.event(id)).data;
  return Date.parse(timings.enqueuedAt) - pushedAt;
}

async function push(id: string, clockMs: number, poll: object = quickPoll): Promise<number> {
  const pushedAt = Date.now();
  const data = { input: urlInput(`${id}.pdf`), poll };
  await rig.harness.push('knowhere', 'parse', data, { jobId: id, timestamp: pushedAt + clockMs });
  return pushedAt;
}

describe('a producer whose clock is behind', () => {
  it.each([-20, -50, -3_600, -86_000])(
    'by %i s has its submissions told with the time that it was',
    async (seconds) => {
      const pushedAt = await push('behind', seconds * 1_000);
      const offMs = await toldOffMs('behind', pushedAt);
      expect(Math.abs(offMs)).toBeLessThan(5_500);
    },
  );

  it('takes nothing from how long a submission may wait', async () => {
    const { harness, sandbox } = rig;
    sandbox.faults.arm({ fault: 'rate-limited', argument: 8, route: 'create' });
    await push('patient', -50_000, { ...quickPoll, submitWithinMs: 55_000 });
    expect((await harness.event('patient', 40_000)).data.outcome).toBe('succeeded');
  }, 60_000);

  it('is not taken for the one that used the id before', async () => {
    const { harness } = rig;
    await push('again', 0);
    await harness.event('again');
    for (const queue of ['knowhere.submit', 'knowhere.poll']) {
      await until(async () => (await harness.queue(queue).getActiveCount()) === 0);
      await harness.queue(queue).clean(0, 0, 'completed');
    }
    // Long enough to be told apart.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    const pushedAt = await push('again', -3_600_000);
    await until(() => harness.events.length === 2);
    const [, second] = harness.events;
    expect(Math.abs(Date.parse(second?.data.timings.enqueuedAt ?? '') - pushedAt)).toBeLessThan(5_500);
  }, 60_000);
});
