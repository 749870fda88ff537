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
    // What others make of a submit whose worker stands still; here its wait to be accepted is over.
    const data = { input: urlInput(), poll: { submitWithinMs: 1 } };
    await harness.push('knowhere', 'parse', data, { jobId: id });
    const told = await harness.event(id);
    // What that worker does when it goes on, with the vendor's answer in its hands.
    const store = new RecordStore(harness.redis, harness.prefix);
    const poll = { queue: 'knowhere.poll', jobId: id };
    await harness.queue('knowhere.poll').add('parse', data, { jobId: id, delay: 1_000 });
    const accepted: SubmissionState = {
      ...receive(id, 'u1', Date.now(), Date.now() + 60_000),
      phase: 'polling',
      jobs: [{ id: 'job_late', kind: 'job', status: 'pending' }],
    };
    const open = { vendor: 'knowhere', submissionId: id, use: 'u1', note: { op: 'parse', at: Date.now() } };
    const submit = { queue: 'knowhere.submit', jobId: id };
    expect(await store.begin(poll, submit, accepted, '{}', 'accepted', open)).toBe('over');
    expect(await harness.redis.hexists(`${harness.prefix}:jobferry:open:knowhere`, id)).toBe(0);
    await until(async () => (await harness.queue('knowhere.poll').getJob(id)) === undefined);
    expect(harness.events).toEqual([told]);
  });
});

describe('an acceptance that comes while another worker has the submission', () => {
  it('takes a cancel along that is in its record, and no other outcome can be written', async () => {
    rig = await startKnowhere({ groups: 0 });
    const { harness } = rig;
    const store = new RecordStore(harness.redis, harness.prefix);
    const [submit, poll] = [
      { queue: 'knowhere.submit', jobId: 'late' },
      { queue: 'knowhere.poll', jobId: 'late' },
    ];
    await harness.push('knowhere', 'parse', { input: urlInput() }, { jobId: 'late' });
    await harness.queue('knowhere.poll').add('parse', {}, { jobId: 'late', delay: 60_000 });
    const token = 'worker-b';
    await harness.redis.set(`${harness.prefix}:knowhere.submit:late:lock`, token);
    const now = Date.now();
    const open = { vendor: 'knowhere', submissionId: 'late', use: 'u1', note: { op: 'parse', at: now } };
    const looking: SubmissionState = {
      ...receive('late', 'u1', now, now + 60_000),
      phase: 'reconciling',
      cancelRequestedAt: now,
    };
    expect(await store.save(submit, token, looking, undefined, open, { handedOver: poll })).toEqual({ kind: 'saved' });

    const accepted: SubmissionState = { ...receive('late', 'u1', now, now + 60_000), phase: 'polling' };
    expect(await store.begin(poll, submit, accepted, '{}', 'accepted', open)).toBe('begun-canceled');

    const settled: SubmissionState = {
      ...looking,
      phase: 'settled',
      settled: { outcome: 'canceled', error: null, at: now },
    };
    const saved = await store.save(submit, token, settled, undefined, { ...open, note: null }, { handedOver: poll });
    expect(saved).toEqual({ kind: 'handed-over' });
    expect((await store.read(submit))?.settled).toBeUndefined();
  });

  it('is left as the answer to one submit, and to no other', async () => {
    rig = await startKnowhere({ groups: 0 });
    const { harness } = rig;
    const store = new RecordStore(harness.redis, harness.prefix);
    const submit = { queue: 'knowhere.submit', jobId: 'late' };
    const field = (): Promise<number> =>
      harness.redis.hexists(`${harness.prefix}:knowhere.submit:late`, 'jobferry.answer');
    await harness.push('knowhere', 'parse', { input: urlInput() }, { jobId: 'late' });
    await harness.redis.set(`${harness.prefix}:knowhere.submit:late:lock`, 'worker-b');
    const now = Date.now();
    const open = { vendor: 'knowhere', submissionId: 'late', use: 'u1', note: { op: 'parse', at: now } };
    const save = (state: SubmissionState): Promise<unknown> => store.save(submit, 'worker-b', state, undefined, open);
    const intent = { attempt: 1, at: now, fingerprint: '0123456789abcdef' };
    const later = { ...intent, attempt: 2, at: now + 1 };
    const reply = { jobs: [{ id: 'job_late', kind: 'job' }] };
    const looking: SubmissionState = { ...receive('late', 'u1', now, now + 60_000), phase: 'reconciling', intent };

    expect(await store.leaveAnswer(submit, intent, reply), 'before any record').toBe(false);
    await save(looking);
    expect(await store.leaveAnswer(submit, later, reply), 'to a submit that the record does not know').toBe(false);
    expect(await store.leftFor(submit, intent)).toBeUndefined();
    expect(await store.leaveAnswer(submit, intent, reply)).toBe(true);
    expect(await store.leftFor(submit, intent)).toEqual({ intent, reply });
    expect(await store.leftFor(submit, later)).toBeUndefined();

    await save({ ...looking, phase: 'accepted', intent: undefined } as never);
    expect(await field(), 'gone once it was taken over').toBe(0);

    const settled = { outcome: 'canceled', error: null, at: now } as const;
    await save({ ...looking, phase: 'settled', settled });
    expect(await store.leaveAnswer(submit, intent, reply), 'after the end').toBe(false);
    expect(await field()).toBe(0);
  });
});
