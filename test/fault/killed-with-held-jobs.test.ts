import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { FlowProducer, type Job, type JobsOptions } from 'bullmq';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { startDoomed } from '../helpers/doomed-worker.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

const inputs = {
  succeeded: urlInput(),
  failed: urlInput('x.pdf?sandbox=fail--INTERNAL_ERROR'),
  rejected: { sourceType: 'nowhere' },
};

/** A submit job that is held, and what is to be true of what waits for it. */
interface Held {
  end(submit: Job, event: CompletionEvent): Promise<void>;
}

const kinds: Record<string, (rig: KnowhereRig, input: object) => Promise<Held>> = {
  async 'the child of a flow'({ harness }, input) {
    const flows = new FlowProducer({ connection: harness.redis.duplicate(), prefix: harness.prefix });
    closing.push(() => flows.close());
    const opts = { jobId: 'held', ignoreDependencyOnFailure: true };
    const child = { name: 'parse', queueName: 'knowhere.submit', data: { input, poll: quickPoll }, opts };
    const { job: parent } = await flows.add({ name: 'report', queueName: 'reports', children: [child] });
    return {
      async end(submit, { data }) {
        await until(async () => (await parent.getState()) === 'waiting');
        const isGood = data.outcome === 'succeeded';
        expect(Object.values(await parent.getChildrenValues())).toEqual(isGood ? [data] : []);
        const failed = Object.values(await parent.getIgnoredChildrenFailures());
        expect(failed).toEqual(isGood ? [] : [submit.failedReason]);
      },
    };
  },
  async 'with a deduplication id'({ harness }, input) {
    const opts: JobsOptions = { jobId: 'held', deduplication: { id: 'invoice-17' } };
    const add = (jobId: string): Promise<Job> =>
      harness.push('knowhere', 'parse', { input, poll: quickPoll }, { ...opts, jobId });
    await add('held');
    return {
      async end() {
        expect((await add('free-again')).id).toBe('free-again');
        await harness.event('free-again');
      },
    };
  },
};

/** As killed-between-writes, for the places at which two jobs carry one submission, or the one has to end the other. */
describe('a worker killed between two writes, with a held submit job', () => {
  it.each([
    ['poll-job-added', 'succeeded'],
    ['poll-job-begun', 'succeeded'],
    ['poll-job-begun', 'failed'],
    ['outcome-saved', 'succeeded'],
    ['event-delivered', 'succeeded'],
    ['event-delivered', 'failed'],
    ['ended-noted', 'failed'],
    // Refused at the submit stage: there is no poll job.
    ['outcome-saved', 'rejected'],
    ['event-delivered', 'rejected'],
    ['ended-noted', 'rejected'],
  ] as const)(
    'at %s, %s: it ends once, with its submission',
    async (point, outcome) => {
      await Promise.all(Object.keys(kinds).map((kind) => endsOnce(kind, point, outcome)));
    },
    120_000,
  );
});

async function endsOnce(kind: string, point: string, outcome: keyof typeof inputs): Promise<void> {
  const rig = await startKnowhere({ groups: 0 });
  closing.push(() => rig.stop());
  const { harness } = rig;
  const doomed: ChildProcess = startDoomed(rig, point);
  closing.push(async () => doomed.kill('SIGKILL'));
  const held = await kinds[kind]!(rig, inputs[outcome]);
  if (doomed.exitCode === null && doomed.signalCode === null) await once(doomed, 'exit');
  expect(doomed.signalCode, kind).toBe('SIGKILL');
  await harness.startWorkers();

  const event = await harness.event('held', 40_000);
  expect(event.data.outcome, kind).toBe(outcome);
  const submits = harness.queue('knowhere.submit');
  const ended = await until(
    async () => {
      const job = await submits.getJob('held');
      return job?.finishedOn === undefined ? undefined : job;
    },
    40_000,
    () => `the end of the submit job ${kind}`,
  );
  if (outcome === 'succeeded') {
    expect(await ended.isCompleted(), kind).toBe(true);
    expect(ended.returnvalue).toEqual(event.data);
  } else {
    expect(await ended.isFailed(), kind).toBe(true);
    expect(ended.failedReason).toMatch(new RegExp(`^${outcome}: `));
  }
  expect(rig.creates()).toHaveLength(outcome === 'rejected' ? 0 : 1);
  await held.end(ended, event);

  for (const queue of [submits, harness.queue('knowhere.poll')]) {
    await until(
      async () => (await queue.getJobCountByTypes('active', 'wait', 'delayed', 'waiting-children')) === 0,
      20_000,
      async () => `${queue.name} is empty: ${JSON.stringify(await queue.getJobCounts())}`,
    );
  }
  // Once ended it is not taken up again.
  expect((await submits.getJob('held'))?.finishedOn).toBe(ended.finishedOn);
  const deliveries = harness.events.filter((one) => one.subject === 'held');
  for (const delivery of deliveries) expect(delivery).toEqual(event);
}
