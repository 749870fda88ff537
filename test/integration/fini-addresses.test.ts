import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SubmissionState } from '../../src/core/submission.ts';
import { routes, startFini, uuid, type FiniRig } from '../helpers/fini.ts';
import { until } from '../helpers/harness.ts';

/**
 * Two submissions of one web page whose record the vendor does not name: both go by the URL, so they wait for one vendor
 * job and may share the requests for it, while each has its own notes of what was there before.
 */
let rig: FiniRig;
beforeEach(async () => {
  rig = await startFini({ graceMs: 60_000 });
  rig.vendor.on(routes.ingest, { json: { addedDocumentIds: [] } });
});
afterEach(() => rig.stop());

const sleeping = { initialDelayMs: 60_000, maxDelayMs: 60_000 };

async function stateOf(id: string): Promise<SubmissionState> {
  const text = (await rig.harness.record('fini', id)) ?? '';
  return JSON.parse(text.slice(text.indexOf('{'))) as SubmissionState;
}

async function ingest(url: string): Promise<string> {
  const id = await rig.harness.submit('fini', 'documents.ingest', { documentIdsToAdd: [url] }, { poll: sleeping });
  await until(async () => (await rig.harness.record('fini', id))?.startsWith('polling '));
  await until(async () => (await rig.harness.queue('fini.poll').getJob(id))?.isDelayed());
  return id;
}

/** Lets each of them look once, at the same moment. @returns how many requests that took */
async function look(ids: readonly string[]): Promise<{ lists: number; records: number }> {
  const { harness, vendor } = rig;
  const poll = harness.queue('fini.poll');
  const count = (): { lists: number; records: number } => ({
    lists: vendor.callsTo(routes.list).filter(({ path }) => path.endsWith('/public')).length,
    records: vendor.callsTo(routes.record).filter(({ path }) => !path.endsWith('/public')).length,
  });
  const before = count();
  const polls = new Map<string, number>();
  for (const id of ids) polls.set(id, (await stateOf(id)).polls);
  await poll.pause();
  for (const id of ids) await (await poll.getJob(id))?.promote();
  await poll.resume();
  await until(async () => {
    for (const id of ids) if ((await stateOf(id)).polls === polls.get(id)) return false;
    return (await poll.getJobCountByTypes('active', 'wait')) === 0;
  });
  const after = count();
  return { lists: after.lists - before.lists, records: after.records - before.records };
}

it('share the request, and never each other’s notes', async () => {
  const { harness, workspace } = rig;
  workspace.add(uuid(9));
  let isShared = false;
  // Whether two look-ups meet in one request is a matter of milliseconds; what they are told is not.
  for (let round = 1; round <= 10 && !isShared; round += 1) {
    const url = `https://a.test/page-${round}`;
    const first = await ingest(url);
    const between = workspace.tick();
    workspace.touch(uuid(9), {});
    const second = await ingest(url);
    // A record that began after the first was submitted and before the second was: the run of the first alone.
    workspace.add(uuid(round), { originalUrl: url, createdAt: between, updatedAt: between, title: 'first' });
    isShared = (await look([first, second])).lists === 1;
    expect((await harness.event(first)).data).toMatchObject({
      outcome: 'succeeded',
      vendorJobs: [{ id: url, result: { documentId: uuid(round), title: 'first' } }],
    });
    const [job] = (await stateOf(second)).jobs;
    expect(job).toMatchObject({ id: url, status: 'pending', vendorStatus: 'COMPLETED (earlier run)' });

    workspace.run(uuid(round), { title: 'second' });
    await until(async () => {
      if ((await stateOf(second)).settled !== undefined) return true;
      await look([second]);
      return false;
    });
    expect((await harness.event(second)).data).toMatchObject({
      outcome: 'succeeded',
      vendorJobs: [{ id: url, result: { documentId: uuid(round), title: 'second' } }],
    });
  }
  expect(isShared).toBe(true);
});

it('are told of the records that each has found, where those differ', async () => {
  const { harness, workspace } = rig;
  const url = 'https://a.test/page';
  workspace.add(uuid(9));
  const newer = { originalUrl: url, createdAt: '2026-12-01T00:00:00.000Z', linkedJobStatus: 'SCRAPING' };
  const first = await ingest(url);
  workspace.add(uuid(1), newer);
  await look([first]);
  const second = await ingest(url);
  workspace.add(uuid(2), newer);
  await look([second]);
  for (const n of [1, 2]) workspace.touch(uuid(n), { linkedJobStatus: 'COMPLETED', title: `page ${n}` });
  const asked = await look([first, second]);
  for (const [id, n] of [
    [first, 1],
    [second, 2],
  ] as const) {
    expect((await harness.event(id)).data).toMatchObject({
      outcome: 'succeeded',
      vendorJobs: [{ id: url, result: { documentId: uuid(n), title: `page ${n}` } }],
    });
  }
  expect(asked.records).toBe(2);
});
