import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { RecordStore } from '../../src/queues/record-store.ts';
import { receive, type SubmissionState } from '../../src/core/submission.ts';
import { until } from '../helpers/harness.ts';
import { startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
});

describe('an acceptance that comes after the submission has ended', () => {
  it('begins nothing: one outcome was told', async () => {
    rig = await startKnowhere();
    const { harness } = rig;
    const id = `late-${randomUUID().slice(0, 8)}`;
    // What others make of a submit whose worker stands still; here its deadline ends it.
    const data = { input: urlInput(), poll: { deadlineMs: 1 } };
    await harness.push('knowhere', 'parse', data, { jobId: id });
    const told = await harness.event(id);
    // What that worker does when it goes on, with the vendor's answer in its hands.
    const store = new RecordStore(harness.redis, harness.prefix);
    const poll = { queue: 'knowhere.poll', jobId: id };
    await harness.queue('knowhere.poll').add('parse', data, { jobId: id, delay: 1_000 });
    const accepted: SubmissionState = {
      ...receive(id, Date.now(), Date.now() + 60_000),
      phase: 'polling',
      jobs: [{ id: 'job_late', kind: 'job', status: 'pending' }],
    };
    const open = { vendor: 'knowhere', submissionId: id, note: { op: 'parse', at: Date.now() } };
    const submit = { queue: 'knowhere.submit', jobId: id };
    expect(await store.begin(poll, submit, accepted, 'accepted', open)).toBe('over');
    expect(await harness.redis.hexists(`${harness.prefix}:jobferry:open:knowhere`, id)).toBe(0);
    await until(async () => (await harness.queue('knowhere.poll').getJob(id)) === undefined);
    expect(harness.events).toEqual([told]);
  });
});
