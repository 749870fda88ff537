import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecordStore } from '../../src/queues/record-store.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig;
beforeEach(async () => {
  rig = await startKnowhere();
});
afterEach(() => rig.stop());

const data = { input: urlInput(), poll: quickPoll };

describe('a submit job that is still there when its submission is forgotten', () => {
  it.each([
    ['because its producer keeps it', { removeOnComplete: false }],
    ['because a deduplication waited for it', { deduplication: { id: 'one' }, removeOnComplete: false }],
  ])('tells nothing when somebody runs it again: %s', async (_why, opts) => {
    const { harness } = rig;
    const job = await harness.push('knowhere', 'parse', data, { jobId: 'kept', ...opts });
    expect((await harness.event('kept')).data.outcome).toBe('succeeded');
    await until(() => job.isCompleted());
    const poll = harness.queue('knowhere.poll');
    await until(async () => (await poll.getCompletedCount()) === 1);
    await poll.clean(0, 0, 'completed');
    await harness.queue('results').clean(0, 0, 'completed');
    await job.retry('completed');
    await until(async () => (await job.isCompleted()) || (await job.isFailed()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(harness.events).toHaveLength(1);
    expect(rig.created()).toHaveLength(1);
  });
});

it('nothing is left of a held submit job that was removed in the moment of its end', async () => {
  const { harness } = rig;
  await new RecordStore(harness.redis, harness.prefix).markEnded({ queue: 'knowhere.submit', jobId: 'gone' });
  await harness.push('knowhere', 'parse', data, { jobId: 'gone' });
  expect((await harness.event('gone')).data.outcome).toBe('succeeded');
});
