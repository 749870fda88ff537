import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../helpers/harness.ts';
import { startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
});

describe('a poll job whose submission ended before it was handed over', () => {
  it('goes by itself, and tells nobody anything', async () => {
    rig = await startKnowhere();
    const { harness } = rig;
    // A wait that is over ends it at the submit stage. A worker that died in the hand-over left the poll job.
    const data = { input: urlInput(), poll: { submitWithinMs: 1 } };
    await harness.push('knowhere', 'parse', data, { jobId: 'late' });
    expect((await harness.event('late')).data.outcome).toBe('expired');
    await harness.queue('knowhere.poll').add('parse', data, { jobId: 'late' });
    await until(async () => (await harness.queue('knowhere.poll').getJob('late')) === undefined);
    expect(harness.events).toHaveLength(1);
    expect(await harness.queue('knowhere.submit').getJob('late'), 'the id stays known').toBeDefined();
  });
});
