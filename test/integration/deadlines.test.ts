import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { readRecord } from '../../src/core/record.ts';
import { receive, type SubmissionState } from '../../src/core/submission.ts';
import { startSandbox } from '../../sandbox/index.ts';
import { BrokenLine } from '../helpers/broken-line.ts';
import { Harness, until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { refuse, ScriptedSharely } from '../helpers/scripted-sharely.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(options: Parameters<typeof startKnowhere>[0] = {}): Promise<KnowhereRig> {
  const rig = await startKnowhere(options);
  stops.push(() => rig.stop());
  return rig;
}

/** Workers whose way to the vendor can be cut. */
async function startBehindLine(): Promise<{ harness: Harness; line: BrokenLine; lookUps: () => number }> {
  const sandbox = await startSandbox({ vendors: ['knowhere'], speed: 50 });
  stops.push(() => sandbox.close());
  const { port, pathname } = new URL(sandbox.knowhereUrl);
  const line = await BrokenLine.to(Number(port));
  stops.push(() => line.down());
  const harness = await Harness.start({
    env: { KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: `http://127.0.0.1:${line.port}${pathname}` },
  });
  stops.push(() => harness.stop());
  return { harness, line, lookUps: () => sandbox.ledger.entries({ route: 'lookup' }).length };
}

/** The first look-up of these is the one at the deadline. */
function lookOnceAt(deadlineMs: number): object {
  return { initialDelayMs: deadlineMs, maxDelayMs: deadlineMs, deadlineMs };
}

async function acceptedAt(harness: Harness, id: string): Promise<number> {
  return until(async () => {
    const record = readRecord(await harness.record('knowhere', id));
    return record?.acceptedAt ?? undefined;
  });
}

async function reach(time: number): Promise<void> {
  await until(() => Date.now() >= time, 60_000);
}

/** How long after its acceptance a submission ended, ms. */
function livedMs({ data }: CompletionEvent): number {
  return Date.parse(data.timings.settledAt) - Date.parse(data.timings.submittedAt ?? '');
}

describe('a submission that waits in line', { timeout: 60_000 }, () => {
  it('does not spend its deadline: 40 of an account that is held for longer than that all succeed', async () => {
    const { harness, sandbox, ...vendor } = await start();
    const { id: fault } = sandbox.faults.arm({ fault: 'unauthorized', route: 'create', times: 'always' });
    const pushedAt = Date.now();
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        harness.submit('knowhere', 'parse', urlInput(`${index}.pdf`), { poll: { ...quickPoll, deadlineMs: 3_000 } }),
      ),
    );
    await reach(pushedAt + 4_000);
    sandbox.faults.disarm(fault);
    const events = await Promise.all(ids.map((id) => harness.event(id, 40_000)));
    expect(events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
    expect(vendor.created()).toHaveLength(40);
  });

  it('ends as expired when it is not accepted in time, and nothing was made of it', async () => {
    const { harness, sandbox, ...vendor } = await start();
    sandbox.faults.arm({ fault: 'unauthorized', route: 'create', times: 'always' });
    const poll = { ...quickPoll, submitWithinMs: 2_000 };
    const ids = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => harness.submit('knowhere', 'parse', urlInput(`${name}.pdf`), { poll })),
    );
    for (const id of ids) {
      const { data } = await harness.event(id);
      expect(data).toMatchObject({
        outcome: 'expired',
        error: {
          code: 'not_submitted_in_time',
          message: 'not accepted within 2 s after it was enqueued',
          details: { lastError: { code: 'vendor_unauthorized' } },
        },
        vendorJobs: [],
      });
      const { enqueuedAt, settledAt } = data.timings;
      expect(Date.parse(settledAt) - Date.parse(enqueuedAt)).toBeGreaterThanOrEqual(2_000);
      expect(Date.parse(settledAt) - Date.parse(enqueuedAt)).toBeLessThan(3_500);
    }
    expect(vendor.created()).toEqual([]);
    // Those under way together, each with its key read anew; then probes.
    expect(vendor.creates().length).toBeLessThanOrEqual(12);
  });

  it('is given the time for which its producer held it back as well', async () => {
    const { harness } = await start();
    const data = { input: urlInput(), poll: { ...quickPoll, submitWithinMs: 1_500 } };
    await harness.push('knowhere', 'parse', data, { jobId: 'held-back', delay: 2_500 });
    expect((await harness.event('held-back')).data.outcome).toBe('succeeded');
  });

  it('is told as unconfirmed where the fate of its submit is unknown by then', async () => {
    const { harness, sandbox } = await start();
    sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    sandbox.faults.arm({ fault: 'server-error', route: 'list', times: 'always' });
    const poll = { ...quickPoll, submitWithinMs: 3_000 };
    const { data } = await harness.event(await harness.submit('knowhere', 'parse', urlInput(), { poll }));
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(data.error?.message).toContain('3 s after it was enqueued');
  });

  it('is accepted at once where it adopts work that runs already', async () => {
    const { harness, sandbox } = await start();
    const first = await harness.submit('knowhere', 'parse', urlInput('x.pdf?sandbox=stall'), { poll: quickPoll });
    const jobId = await until(() => sandbox.ledger.entries({ route: 'create' })[0]?.jobId ?? undefined);
    const poll = { ...quickPoll, submitWithinMs: 1_000, deadlineMs: 2_500 };
    const id = await harness.submit('knowhere', 'watch', { jobIds: [jobId] }, { poll });
    const event = await harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'expired', vendorJobs: [{ id: jobId, outcome: null }] });
    expect(event.data.error?.message).toContain('not over 2.5 s after it was accepted');
    expect(livedMs(event)).toBeGreaterThanOrEqual(2_490);
    await harness.stopWorkers();
    expect(harness.events.map((told) => told.subject)).not.toContain(first);
  });
});

describe('a submission whose deadline comes while the vendor can not be asked', { timeout: 60_000 }, () => {
  it('succeeds when its account, held with a 401, is mended soon after', async () => {
    const { harness, sandbox } = await start();
    const { id: fault } = sandbox.faults.arm({ fault: 'unauthorized', route: 'lookup', times: 'always' });
    const poll = lookOnceAt(5_000);
    const id = await harness.submit('knowhere', 'parse', urlInput(), { poll });
    await reach((await acceptedAt(harness, id)) + 5_500);
    sandbox.faults.disarm(fault);
    const event = await harness.event(id);
    expect(event.data.outcome).toBe('succeeded');
    expect(livedMs(event)).toBeGreaterThan(5_500);
    expect(livedMs(event)).toBeLessThan(10_500);
  });

  it('succeeds when the vendor takes connections again', async () => {
    const { harness, line } = await startBehindLine();
    const id = await harness.submit('knowhere', 'parse', urlInput(), { poll: lookOnceAt(4_000) });
    const since = await acceptedAt(harness, id);
    await line.down();
    await reach(since + 4_600);
    expect(harness.events).toEqual([]);
    await line.up();
    const event = await harness.event(id);
    expect(event.data.outcome).toBe('succeeded');
    expect(livedMs(event)).toBeGreaterThan(4_600);
  });

  it('succeeds when its result could not be fetched at the deadline, and can be a little later', async () => {
    const { harness, sandbox } = await start();
    const { id: fault } = sandbox.faults.arm({ fault: 'server-error', route: 'result', times: 'always' });
    const input = { ...urlInput(), download: true };
    const id = await harness.submit('knowhere', 'parse', input, { poll: { ...quickPoll, deadlineMs: 4_000 } });
    await reach((await acceptedAt(harness, id)) + 5_000);
    expect(harness.events).toEqual([]);
    sandbox.faults.disarm(fault);
    const { data } = await harness.event(id);
    expect(data.outcome).toBe('succeeded');
  });

  it.each(['html-page', 'malformed-json', 'foreign-json'])(
    'succeeds when answers can be read again: %s',
    async (fault) => {
      const { harness, sandbox } = await start();
      sandbox.faults.arm({ fault, route: 'lookup', times: 'always' });
      const id = await harness.submit('knowhere', 'parse', urlInput(), { poll: lookOnceAt(4_000) });
      await reach((await acceptedAt(harness, id)) + 4_500);
      sandbox.faults.reset();
      const event = await harness.event(id);
      expect(event.data.outcome).toBe('succeeded');
      expect(livedMs(event)).toBeGreaterThan(4_000);
    },
  );

  it('expires when that lasts as long as the deadline once more, with its vendor job in the event', async () => {
    const { harness, line } = await startBehindLine();
    const id = await harness.submit('knowhere', 'parse', urlInput(), { poll: lookOnceAt(3_000) });
    await acceptedAt(harness, id);
    await line.down();
    const event = await harness.event(id);
    expect(event.data).toMatchObject({
      outcome: 'expired',
      error: {
        code: 'deadline_exceeded',
        message:
          'not over 3 s after it was accepted, and the vendor could not be asked for another 3 s; the vendor may still be working',
        details: { lastError: { code: 'vendor_unavailable' } },
      },
      vendorJobs: [{ id: expect.stringMatching(/^job_/) as unknown, outcome: null }],
    });
    expect(livedMs(event)).toBeGreaterThanOrEqual(5_990);
    expect(livedMs(event)).toBeLessThan(8_000);
  });

  it('waits for a throttle that is only ours: a 429 without a hint', async () => {
    const vendor = await ScriptedSharely.start();
    stops.push(() => vendor.close());
    const harness = await Harness.start({ env: vendor.env });
    stops.push(() => harness.stop());
    vendor.statuses = ['COMPLETED'];
    vendor.script(/^POST \/background-jobs/, refuse(429, 'slow down'), 1);
    const input = { workflowIds: [vendor.addWorkflow().id] };
    const event = await harness.event(await harness.submit('sharely', 'watch', input, { poll: lookOnceAt(6_000) }));
    expect(event.data.outcome).toBe('succeeded');
    expect(vendor.sent(/^POST \/background-jobs/).length).toBeGreaterThan(1);
    expect(livedMs(event)).toBeGreaterThan(6_000);
  });
});

describe('a submission whose deadline comes with an answer', { timeout: 60_000 }, () => {
  it('is looked up even where it could not be prepared: its upload failed all the time', async () => {
    const { harness, sandbox, ...vendor } = await start();
    sandbox.faults.arm({ fault: 'server-error', route: 'upload', times: 'always' });
    await writeFile(path.join(harness.folder, 'a.md'), '# A');
    const data = { input: { sourceType: 'file', file: 'a.md' }, poll: { ...quickPoll, deadlineMs: 3_000 } };
    await harness.push('knowhere', 'parse', data, { jobId: 'never-uploaded', removeOnComplete: false });
    const event = await harness.event('never-uploaded');
    expect(event.data).toMatchObject({
      outcome: 'expired',
      error: { code: 'deadline_exceeded' },
      vendorJobs: [{ status: 'waiting-file', outcome: null }],
    });
    expect(vendor.lookups().length).toBeGreaterThanOrEqual(1);
    const kept = await harness.redis.hgetall(`${harness.prefix}:knowhere.submit:never-uploaded`);
    expect(JSON.stringify(kept)).toContain('never-uploaded');
    expect(JSON.stringify(kept), 'no upload link stays behind').not.toContain('http://127');
  });

  it('expires there and then where that is a refusal', async () => {
    const { harness, sandbox } = await start();
    sandbox.faults.arm({ fault: 'bad-request', route: 'lookup', times: 'always' });
    const id = await harness.submit('knowhere', 'parse', urlInput(), { poll: { ...quickPoll, deadlineMs: 2_500 } });
    const event = await harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(livedMs(event)).toBeGreaterThanOrEqual(2_490);
    expect(livedMs(event)).toBeLessThan(4_000);
  });
});

describe('a submission whose deadline comes while the vendor asks not to be asked', { timeout: 60_000 }, () => {
  it.each([
    ['rate-limited', 'a 429'],
    ['unavailable', 'a 503'],
  ])('ends at its deadline, not at the hint of an hour: %s', async (fault) => {
    const { harness, sandbox, ...vendor } = await start();
    sandbox.faults.arm({ fault, argument: 3_600, route: 'lookup', times: 'always' });
    const id = await harness.submit('knowhere', 'parse', urlInput(), { poll: { ...quickPoll, deadlineMs: 3_000 } });
    const event = await harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(event.data.error?.message).toContain('the vendor asked not to be asked');
    expect(event.data.vendorJobs).toHaveLength(1);
    expect(livedMs(event)).toBeGreaterThanOrEqual(2_990);
    expect(livedMs(event)).toBeLessThan(4_500);
    expect(vendor.lookups()).toHaveLength(1);
  });

  it('ends at its deadline where another submission was told to wait', async () => {
    const { harness, sandbox, ...vendor } = await start();
    const late = await harness.submit('knowhere', 'parse', urlInput('late.pdf'), { poll: lookOnceAt(3_000) });
    await acceptedAt(harness, late);
    sandbox.faults.arm({ fault: 'rate-limited', argument: 3_600, route: 'lookup' });
    await harness.submit('knowhere', 'parse', urlInput('first.pdf'), { poll: quickPoll });
    await until(() => vendor.lookups().length === 1);
    const event = await harness.event(late);
    expect(event.data.outcome).toBe('expired');
    expect(livedMs(event)).toBeLessThan(4_500);
    expect(vendor.lookups()).toHaveLength(1);
  });

  it('ends at once where the look-up at the deadline is answered with a hint', async () => {
    const { harness, sandbox } = await start();
    sandbox.faults.arm({ fault: 'rate-limited', argument: 60, route: 'lookup' });
    const event = await harness.event(
      await harness.submit('knowhere', 'parse', urlInput(), { poll: lookOnceAt(2_000) }),
    );
    expect(event.data.outcome).toBe('expired');
    expect(livedMs(event)).toBeLessThan(3_500);
  });
});

describe('a record of the version before', { timeout: 60_000 }, () => {
  /** As that version left it, whose deadline counted from when the submission was enqueued. */
  async function leave(harness: Harness, stage: 'submit' | 'poll', change: Partial<SubmissionState>): Promise<string> {
    const id = `old-${randomUUID().slice(0, 8)}`;
    const poll = { ...quickPoll, deadlineMs: 30_000 };
    const { acceptedAt: _none, ...state } = receive(id, undefined, Date.now() - 60_000, Date.now() - 30_000);
    const opts = { jobId: id, timestamp: state.enqueuedAt };
    await harness.queue(`knowhere.${stage}`).add('parse', { input: urlInput(), poll }, opts);
    const record = JSON.stringify({ ...state, ...change });
    await harness.redis.hset(`${harness.prefix}:knowhere.${stage}:${id}`, 'progress', record);
    return id;
  }

  it('that waits in line is sent, though its deadline has passed', async () => {
    const { harness } = await start({ groups: 0 });
    const id = await leave(harness, 'submit', {});
    await harness.startWorkers();
    expect((await harness.event(id)).data.outcome).toBe('succeeded');
  });

  it('that was accepted a moment ago is polled on, though its deadline has passed', async () => {
    const { harness, sandbox } = await start({ groups: 1 });
    const first = await harness.event(await harness.submit('knowhere', 'parse', urlInput(), { poll: quickPoll }));
    await harness.stopWorkers();
    const jobId = first.data.vendorJobs[0]?.id ?? '';
    const { id: fault } = sandbox.faults.arm({ fault: 'server-error', route: 'lookup', times: 'always' });
    const id = await leave(harness, 'poll', {
      phase: 'polling',
      submittedAt: Date.now(),
      jobs: [{ id: jobId, kind: 'job', status: 'pending' }],
    });
    await harness.startWorkers();
    await until(async () => (await harness.record('knowhere', id))?.includes('vendor_unavailable'));
    sandbox.faults.disarm(fault);
    expect((await harness.event(id)).data.outcome).toBe('succeeded');
  });
});
