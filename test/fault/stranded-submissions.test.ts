import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

let rig: KnowhereRig | undefined;
afterEach(async () => {
  await rig?.stop();
});

/** A sweep every 10 s sees it, another one ends it. */
const timeoutMs = 45_000;
const slowPoll = { initialDelayMs: 60_000, maxDelayMs: 60_000 };

async function start(options: Parameters<typeof startKnowhere>[0] = {}): Promise<KnowhereRig> {
  rig = await startKnowhere(options);
  return rig;
}

async function push(id: string, rest: object = {}): Promise<void> {
  await rig!.harness.push('knowhere', 'parse', { input: urlInput(`${id}.pdf`), ...rest }, { jobId: id });
}

async function inPhase(id: string, phase: string): Promise<void> {
  await until(async () => (await rig!.harness.record('knowhere', id))?.includes(`"phase":"${phase}"`));
}

async function openIds(): Promise<string[]> {
  return rig!.harness.redis.hkeys(`${rig!.harness.prefix}:jobferry:open:knowhere`);
}

function events(id: string): CompletionEvent[] {
  return rig!.harness.events.filter((event) => event.subject === id);
}

/** What is left when Redis forgot the outcome, and then took the completion that was sent again. */
async function completeTooEarly(id: string): Promise<void> {
  const keys = `${rig!.harness.prefix}:knowhere.poll`;
  const now = Date.now();
  await rig!.harness.redis
    .multi()
    .zrem(`${keys}:delayed`, id)
    .zadd(`${keys}:completed`, now, id)
    .hset(`${keys}:${id}`, { finishedOn: now, returnvalue: '"succeeded"', delay: 0 })
    .exec();
}

describe('a submission that no job will carry on', () => {
  it(
    'ends with one event that tells what is known of it, or is taken up again',
    { timeout: timeoutMs + 20_000 },
    async () => {
      const { harness, sandbox } = await start({
        change: (config) => ({ ...config, reconcile: { minAbsentLooks: 9, inFlightMs: 60_000, absenceMs: 60_000 } }),
      });
      await harness.consume('invoices.results');
      const poll = harness.queue('knowhere.poll');
      const submit = harness.queue('knowhere.submit');

      await push('polled', { poll: slowPoll, replyTo: 'invoices.results', metadata: { order: 17 } });
      await inPhase('polled', 'polling');
      await push('cleaned', { poll: slowPoll });
      await inPhase('cleaned', 'polling');
      await push('kept', { poll: slowPoll });
      await inPhase('kept', 'polling');
      await push('lost-outcome', { poll: slowPoll });
      // Not before its submit job is gone: until then the hand-over is under way.
      await until(async () => (await submit.getJob('lost-outcome')) === undefined);
      await completeTooEarly('lost-outcome');
      await (await poll.getJob('polled'))!.remove();
      // As another client's tidying does.
      await harness.redis.del(`${harness.prefix}:knowhere.poll:cleaned`);
      await harness.redis.zrem(`${harness.prefix}:knowhere.poll:delayed`, 'cleaned');

      sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
      sandbox.faults.arm({ fault: 'list-empty', times: 1_000 });
      await push('unclear');
      await inPhase('unclear', 'reconciling');
      await until(async () =>
        (await submit.getJob('unclear'))!.remove().then(
          () => true,
          () => false,
        ),
      );

      sandbox.faults.arm({ fault: 'unauthorized', route: 'create', times: 1_000 });
      await push('held');
      await until(async () => (await submit.getJob('held'))?.isDelayed());
      await (await submit.getJob('held'))!.remove();

      for (const [id, replyTo, metadata] of [
        ['polled', 'invoices.results', { order: 17 }],
        ['cleaned', 'results', null],
      ] as const) {
        const event = await harness.event(id, timeoutMs);
        const vendorJob = rig!.created().find((entry) => JSON.stringify(entry.body).includes(`${id}.pdf`))?.jobId;
        expect(event.data, replyTo).toMatchObject({
          outcome: 'canceled',
          operation: 'parse',
          error: { code: 'job_removed' },
          vendorJobs: [{ id: vendorJob, outcome: null }],
          metadata,
        });
        expect(event.data.timings.submittedAt).not.toBeNull();
      }
      const held = await harness.event('held', timeoutMs);
      expect(held.data).toMatchObject({ outcome: 'canceled', vendorJobs: [] });
      expect(rig!.created().some((entry) => JSON.stringify(entry.body).includes('held.pdf'))).toBe(false);
      const takenUp = await harness.event('lost-outcome', timeoutMs);
      expect(takenUp.data).toMatchObject({ outcome: 'succeeded', polls: 1 });
      const unclear = await harness.event('unclear', timeoutMs);
      expect(unclear.data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'job_removed' } });
      expect(rig!.created().filter((entry) => JSON.stringify(entry.body).includes('unclear.pdf'))).toHaveLength(1);
      await until(async () => (await openIds()).length === 1);
      expect(await openIds()).toEqual(['kept']);
      for (const id of ['polled', 'cleaned', 'held', 'unclear', 'lost-outcome']) expect(events(id)).toHaveLength(1);
      expect(events('kept')).toEqual([]);
    },
  );
});

describe("a submission whose job was removed before Redis' clock was set back", () => {
  it('ends as soon as one whose job was removed since', { timeout: timeoutMs + 20_000 }, async () => {
    const { harness } = await start();
    await push('removed', { poll: slowPoll });
    await inPhase('removed', 'polling');
    await until(async () => (await harness.queue('knowhere.submit').getJob('removed')) === undefined);
    await (await harness.queue('knowhere.poll').getJob('removed'))!.remove();
    // As the clock that was an hour ahead had it noted.
    const key = `${harness.prefix}:jobferry:open:knowhere`;
    const note = JSON.parse((await harness.redis.hget(key, 'removed')) ?? '') as object;
    const removedAt = Date.now();
    await harness.redis.hset(key, 'removed', JSON.stringify({ ...note, gone: removedAt + 3_600_000 }));
    const event = await harness.event('removed', timeoutMs);
    expect(event.data).toMatchObject({ outcome: 'canceled', error: { code: 'job_removed' } });
    expect(Date.parse(event.time)).toBeLessThan(removedAt + timeoutMs);
    expect(events('removed')).toHaveLength(1);
  });
});

describe('the list of submissions under way', () => {
  it('holds each one until it is settled, and nothing of it afterwards', async () => {
    const { harness, sandbox } = await start({ groups: 2 });
    sandbox.faults.arm({ fault: 'bad-request', route: 'create' });
    for (let index = 0; index < 12; index += 1) await push(`job-${index}`, { poll: quickPoll });
    // The same again, and bad input: neither may leave anything behind.
    await push('job-1', { poll: quickPoll });
    await harness.push('knowhere', 'parse', { input: { sourceType: 'nowhere' } }, { jobId: 'bad' });
    await until(async () => (await openIds()).length > 0);
    await until(() => harness.events.length >= 13);
    await push('job-2', { poll: quickPoll });
    await until(async () => (await harness.queue('knowhere.submit').getJob('job-2')) === undefined);
    expect(await openIds()).toEqual([]);
    expect(new Set(harness.events.map((event) => event.id)).size).toBe(13);
  });

  it('is left alone by a repeat of a settled id that has to wait', async () => {
    const { harness, sandbox } = await start();
    await push('once', { poll: quickPoll });
    await harness.event('once');
    sandbox.faults.arm({ fault: 'unauthorized', times: 1_000 });
    await push('other');
    const submit = harness.queue('knowhere.submit');
    await until(async () => (await submit.getJob('other'))?.isDelayed());
    await push('once');
    await until(async () => (await submit.getJob('once')) === undefined || (await submit.getJob('once'))?.isDelayed());
    expect(await openIds()).not.toContain('once');
  });
});
