import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

/** The right column of the error table: a failed look-up ends nothing before the deadline. */
describe('a look-up that fails', () => {
  let rig: KnowhereRig;

  beforeAll(async () => {
    rig = await startKnowhere();
  });
  afterAll(() => rig.stop());
  beforeEach(() => {
    return rig.sandbox.reset();
  });

  const submit = (name: string, rest: object = {}): Promise<string> =>
    rig.harness.submit('knowhere', 'parse', urlInput(name), { poll: quickPoll, ...rest });

  it.each([
    'bad-request',
    'not-found',
    'server-error',
    'gateway-error',
    'cut-before',
    'malformed-json',
    'wrong-content-type',
    'html-page',
    'empty-body',
    'truncated-body',
    'foreign-json',
    'huge-body',
    'unauthorized',
    'payment-required',
    'forbidden',
    'quota-exceeded',
  ])('does not end the submission: %s, twice', async (fault) => {
    rig.sandbox.faults.arm({ fault, route: 'lookup', times: 2 });
    const event = await rig.harness.event(await submit('x.pdf'), 25_000);
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });

  it.each(['extra-fields', 'duplicate-keys'])('is read all the same: %s', async (fault) => {
    rig.sandbox.faults.arm({ fault, route: 'lookup', times: 'always' });
    const event = await rig.harness.event(await submit('x.pdf'));
    expect(event.data.outcome).toBe('succeeded');
  });

  it('waits for the hint of a 429, and not one look-up comes earlier', async () => {
    rig.sandbox.faults.arm({ fault: 'rate-limited', argument: 2, route: 'lookup' });
    const ids = await Promise.all(['a.pdf', 'b.pdf', 'c.pdf'].map((name) => submit(name)));
    await Promise.all(ids.map((id) => rig.harness.event(id)));
    const looks = rig.lookups();
    const refused = looks.find((entry) => entry.status === 429)!;
    const early = looks.filter((entry) => entry.atMs > refused.atMs + 600 && entry.atMs < refused.atMs + 2_000);
    expect(early).toEqual([]);
    const sameJob = looks.filter((entry) => entry.jobId === refused.jobId && entry.seq > refused.seq);
    expect(sameJob[0]!.atMs - refused.atMs).toBeGreaterThanOrEqual(2_000);
  });

  it('is lost when the vendor goes on not knowing the job, past the grace period', async () => {
    const event = await rig.harness.event(
      await submit('x.pdf?sandbox=gone-after--0', { poll: { ...quickPoll, maxDelayMs: 5_000, deadlineMs: 90_000 } }),
      60_000,
    );
    expect(event.data).toMatchObject({ outcome: 'lost', error: { code: 'vendor_job_lost' } });
    expect(event.data.vendorJobs[0]).toMatchObject({ outcome: 'lost' });
  }, 70_000);

  it('ends as expired at the deadline, after one last look-up', async () => {
    const poll = { initialDelayMs: 100, factor: 3, maxDelayMs: 60_000, deadlineMs: 2_000 };
    const id = await submit('x.pdf?sandbox=stall', { poll });
    const event = await rig.harness.event(id);
    expect(event.data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(event.data.vendorJobs[0]).toMatchObject({ outcome: null });
    const enqueuedAt = Date.parse(event.data.timings.enqueuedAt);
    const last = rig.lookups().at(-1)!;
    expect(last.atMs - enqueuedAt).toBeGreaterThanOrEqual(1_990);
    expect(event.data.polls).toBe(rig.lookups().length);
  });

  it('treats an unknown status as running', async () => {
    const event = await rig.harness.event(await submit('x.pdf?sandbox=unknown-status'));
    expect(event.data.outcome).toBe('succeeded');
  });

  it('reports a failed vendor job with the vendor’s code', async () => {
    const event = await rig.harness.event(await submit('x.pdf?sandbox=fail--PAYMENT_REQUIRED'));
    expect(event.data).toMatchObject({ outcome: 'failed', error: { code: 'PAYMENT_REQUIRED' } });
    expect(event.data.vendorJobs[0]).toMatchObject({
      status: 'failed',
      outcome: 'failed',
      error: { code: 'PAYMENT_REQUIRED' },
    });
  });

  it('polls with growing delays', async () => {
    const poll = { initialDelayMs: 100, factor: 2, maxDelayMs: 5_000, deadlineMs: 3_500 };
    await rig.harness.event(await submit('x.pdf?sandbox=stall', { poll }));
    const times = rig.lookups().map((entry) => entry.atMs);
    const gaps = times.slice(1, -1).map((at, index) => at - times[index]!);
    expect(gaps.length).toBeGreaterThanOrEqual(3);
    for (let index = 1; index < gaps.length; index += 1) expect(gaps[index]!).toBeGreaterThan(gaps[index - 1]! * 1.4);
  });
});
