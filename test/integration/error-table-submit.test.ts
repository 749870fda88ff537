import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { closedPort, quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

/** The left column of the error table: what a failed submit leads to. */
describe('a submit that fails', () => {
  let rig: KnowhereRig;

  beforeAll(async () => {
    rig = await startKnowhere();
  });
  afterAll(() => rig.stop());
  beforeEach(() => {
    return rig.sandbox.reset();
  });

  const submit = (name: string): Promise<string> =>
    rig.harness.submit('knowhere', 'parse', urlInput(name), { poll: quickPoll });

  it.each([
    ['bad-request', 'INVALID_ARGUMENT'],
    ['not-found', 'NOT_FOUND'],
  ])('is rejected for good by %s', async (fault, code) => {
    rig.sandbox.faults.arm({ fault, route: 'create' });
    const event = await rig.harness.event(await submit('x.pdf'));
    expect(event.data).toMatchObject({ outcome: 'rejected', error: { code }, polls: 0, vendorJobs: [] });
    expect(event.data.timings.submittedAt).toBeNull();
    expect(rig.creates()).toHaveLength(1);
  });

  it.each(['rate-limited', 'rate-limited-header', 'rate-limited-body'])(
    'waits for the hint of %s and sends again',
    async (fault) => {
      rig.sandbox.faults.arm({ fault, argument: 1, route: 'create' });
      const event = await rig.harness.event(await submit('x.pdf'));
      expect(event.data.outcome).toBe('succeeded');
      const [refused, accepted] = rig.creates();
      expect(rig.created()).toHaveLength(1);
      expect(accepted!.atMs - refused!.atMs).toBeGreaterThanOrEqual(1_000);
    },
  );

  it.each([
    ['quota-exceeded', 'vendor_quota_exhausted'],
    ['unauthorized', 'vendor_unauthorized'],
    ['payment-required', 'vendor_quota_exhausted'],
    ['forbidden', 'vendor_forbidden'],
  ])('is held back on %s and goes on by itself when the account works again', async (fault, code) => {
    rig.sandbox.faults.arm({ fault, route: 'create', times: 2 });
    const ids = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((name) => submit(`${name}.pdf`)));
    const events = await Promise.all(ids.map((id) => rig.harness.event(id, 25_000)));
    expect(events.map((event) => event.data.outcome)).toEqual(ids.map(() => 'succeeded'));
    expect(rig.created()).toHaveLength(ids.length);
    const logs = (await Promise.all(ids.map((id) => rig.harness.logs('knowhere', id)))).flat();
    expect(logs.join('\n')).toContain(code);
  });

  it.each(['unavailable', 'conflict'])('sends again after %s, which created nothing', async (fault) => {
    rig.sandbox.faults.arm({ fault, route: 'create', ...(fault === 'unavailable' ? { argument: 1 } : {}) });
    const event = await rig.harness.event(await submit('x.pdf'));
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.created()).toHaveLength(1);
  });

  it.each([
    'server-error-after',
    'gateway-error-after',
    'cut-after',
    'malformed-json',
    'wrong-content-type',
    'html-page',
    'empty-body',
    'truncated-body',
  ])('is found and adopted after %s: one vendor job, no second create', async (fault) => {
    rig.sandbox.faults.arm({ fault, route: 'create' });
    const event = await rig.harness.event(await submit('x.pdf'));
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
    expect(event.data.vendorJobs.map((job) => job.id)).toEqual([rig.created()[0]!.jobId]);
  });

  it.each(['server-error', 'gateway-error', 'cut-before'])(
    'is sent again after %s, once it is surely absent',
    async (fault) => {
      rig.sandbox.faults.arm({ fault, route: 'create' });
      const event = await rig.harness.event(await submit('x.pdf'), 25_000);
      expect(event.data.outcome).toBe('succeeded');
      expect(rig.creates()).toHaveLength(2);
      expect(rig.created()).toHaveLength(1);
      const labels = new Set(rig.creates().map((entry) => entry.dataId));
      expect(labels.size).toBe(1);
    },
  );

  it('is found although the list shows it late', async () => {
    rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    const event = await rig.harness.event(await submit('late.pdf?sandbox=list-late--1200'), 25_000);
    expect(event.data.outcome).toBe('succeeded');
    expect(rig.creates()).toHaveLength(1);
  });

  it('is adopted under a label of the caller’s own, each job by one submission', async () => {
    const dataId = 'shared-label';
    const input = { ...urlInput('mine.pdf'), dataId };
    const first = await rig.harness.submit('knowhere', 'parse', input, { poll: quickPoll });
    const firstJob = (await rig.harness.event(first)).data.vendorJobs[0]!.id;
    rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
    const second = await rig.harness.event(await rig.harness.submit('knowhere', 'parse', input, { poll: quickPoll }));
    expect(second.data.outcome).toBe('succeeded');
    expect(second.data.vendorJobs[0]!.id).not.toBe(firstJob);
    expect(rig.created()).toHaveLength(2);
  });
});

describe('a submit whose fate can not be told', () => {
  it('ends as unconfirmed where the vendor has no list, and is not sent twice', async () => {
    const rig = await startKnowhere({ dialect: 'doc' });
    try {
      rig.sandbox.faults.arm({ fault: 'cut-after', route: 'create' });
      const id = await rig.harness.submit('knowhere', 'parse', urlInput(), { poll: quickPoll });
      const event = await rig.harness.event(id);
      expect(event.data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
      expect(rig.creates()).toHaveLength(1);
    } finally {
      await rig.stop();
    }
  });

  it('is sent again until it may wait no longer while nothing listens', async () => {
    const rig = await startKnowhere({ env: { KNOWHERE_BASE_URL: `http://127.0.0.1:${await closedPort()}/` } });
    try {
      const poll = { ...quickPoll, submitWithinMs: 3_000 };
      const id = await rig.harness.submit('knowhere', 'parse', urlInput(), { poll });
      const event = await rig.harness.event(id);
      expect(event.data).toMatchObject({ outcome: 'expired', error: { code: 'not_submitted_in_time' } });
      expect(JSON.stringify(event.data.error)).toContain('ECONNREFUSED');
    } finally {
      await rig.stop();
    }
  });
});
