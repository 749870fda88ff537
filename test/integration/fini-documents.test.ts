import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { silentLogger, type Logger } from '../../src/ports/logger.ts';
import {
  quickPoll as poll,
  refusal,
  routes,
  startFini,
  uuid,
  type FiniOptions,
  type FiniRig,
} from '../helpers/fini.ts';
import { until } from '../helpers/harness.ts';
import type { ScriptedCall, ScriptedReply } from '../helpers/scripted-vendor.ts';

let rig: FiniRig;
const start = async (options: FiniOptions = {}): Promise<FiniRig> =>
  (rig = await startFini({ graceMs: 400, ...options }));
afterEach(() => rig.stop());

async function run(operation: string, input: unknown, timeoutMs?: number): Promise<CompletionEvent['data']> {
  const id = await rig.harness.submit('fini', operation, input, { poll });
  return (await rig.harness.event(id, timeoutMs)).data;
}

describe('fini.documents.ingest of web pages', () => {
  it('sends URLs and reports each by its record', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, ({ json }) => {
      const added = (json.documentIdsToAdd as string[]).map((originalUrl, index) => {
        const { id } = workspace.add(uuid(index), { originalUrl, linkedJobStatus: 'PENDING', success: false });
        workspace.run(id, { success: true });
        return id;
      });
      return { json: { addedDocumentIds: added.reverse(), updatedDocumentIds: [] } };
    });
    const urls = ['https://a.test/one', 'https://a.test/two'];
    const data = await run('documents.ingest', { documentIdsToAdd: urls, english: true });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.ingest).map((call) => call.json)).toEqual([
      { source: 'web', documentIdsToAdd: urls, english: true },
    ]);
    const results = data.vendorJobs.map((job) => job.result as { documentId: string; originalUrl: string });
    expect(new Set(results.map((one) => `${one.documentId} ${one.originalUrl}`))).toEqual(
      new Set([`${uuid(0)} ${urls[0]}`, `${uuid(1)} ${urls[1]}`]),
    );
    expect(vendor.callsTo(routes.ingest)[0]?.headers).toMatchObject({
      authorization: 'Bearer fini_test',
      'content-type': 'application/json',
    });
  });

  it('adds and refreshes in one request, and takes no earlier COMPLETED for the refresh', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1), { originalUrl: 'https://a.test/old' });
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(2), { originalUrl: 'https://a.test/new' });
      // The refresh begins late: for a while the record shows the run of last month.
      setTimeout(() => workspace.run(uuid(1), { title: 'fresh' }), 700);
      return { json: { addedDocumentIds: [uuid(2)], updatedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', {
      documentIdsToAdd: ['https://a.test/new'],
      documentIdsToRefresh: ['https://a.test/old'],
    });
    expect(data.outcome).toBe('succeeded');
    const refreshed = data.vendorJobs.find((job) => job.id === uuid(1));
    expect(refreshed?.result).toMatchObject({ title: 'fresh' });
    expect(vendor.callsTo(routes.ingest)).toHaveLength(1);
  });

  it('finds the record of a URL that the reply does not name, in the list by originalUrl', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/one' });
      workspace.add(uuid(2), { originalUrl: 'https://a.test/two/', linkedJobStatus: 'PENDING' });
      workspace.run(uuid(2));
      return { json: { addedDocumentIds: [uuid(1)], updatedDocumentIds: [] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/one', 'https://a.test/two'] });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs.map((job) => [job.id, (job.result as { documentId: string }).documentId])).toEqual([
      [uuid(1), uuid(1)],
      ['https://a.test/two', uuid(2)],
    ]);
  });

  it('loses a URL of which no record shows up, and only that', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/one' });
      return { json: { addedDocumentIds: [uuid(1), uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/one', 'https://a.test/two'] });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual(['succeeded', 'lost']);
  });

  it('accounts by number for a page that is recorded under another address', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://www.a.test/moved' });
      return { json: { addedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/one'] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: uuid(1) }] });
  });

  it('looks at the record of each spelling of an address, where each has one', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/guide' });
      workspace.add(uuid(2), {
        originalUrl: 'https://a.test/guide/',
        linkedJobStatus: 'FAILED',
        success: false,
        error: 'login wall',
      });
      // The newest of all, and of a third page: no spelling that was asked for.
      workspace.add(uuid(3), { originalUrl: 'https://a.test/guide#top' });
      return { json: { addedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/guide', 'https://a.test/guide/'] });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map(({ id, outcome }) => [id, outcome])).toEqual([
      [uuid(1), 'succeeded'],
      ['https://a.test/guide/', 'failed'],
    ]);
  });

  it('takes the record of another spelling only when a second look shows no exact one', async () => {
    const { vendor, workspace } = await start();
    let walks = 0;
    let isLate = true;
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/guide' });
      walks = 0;
      return { json: { addedDocumentIds: [uuid(1)] } };
    });
    vendor.on(routes.list, () => {
      // The record of the second page shows late.
      if (++walks === 2 && isLate) {
        const end = { linkedJobStatus: 'FAILED', success: false, error: 'robots.txt' };
        workspace.add(uuid(2), { originalUrl: 'https://a.test/guide#faq', ...end });
      }
      return undefined;
    });
    const urls = ['https://a.test/guide', 'https://a.test/guide#faq'];
    const late = await run('documents.ingest', { documentIdsToAdd: urls });
    expect(late).toMatchObject({ outcome: 'partial', vendorJobs: [{}, { outcome: 'failed' }] });

    workspace.records.clear();
    isLate = false;
    const one = await run('documents.ingest', { documentIdsToAdd: urls });
    expect(one.outcome).toBe('succeeded');
    expect(one.vendorJobs.map((job) => (job.result as { documentId: string }).documentId)).toEqual([uuid(1), uuid(1)]);
  });

  it('accounts by number for a redirected page beside one that the reply does not name', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://www.a.test/moved' });
      workspace.add(uuid(2), { originalUrl: 'https://a.test/two' });
      return { json: { addedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/one', 'https://a.test/two'] });
    expect(data).toMatchObject({
      outcome: 'succeeded',
      vendorJobs: [{ id: uuid(1) }, { id: 'https://a.test/two', result: { documentId: uuid(2) } }],
    });
    expect(data.vendorJobs).toHaveLength(2);
  });

  it('loses a page beside a record of another spelling, which accounts for that page alone', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/guide' });
      return { json: { addedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/guide/', 'https://a.test/two'] });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map(({ id, outcome }) => [id, outcome])).toEqual([
      [uuid(1), 'succeeded'],
      ['https://a.test/guide/', 'succeeded'],
      ['https://a.test/two', 'lost'],
    ]);
  });

  it('after a cut socket tells two spellings of an address apart', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/guide' });
      workspace.add(uuid(2), { originalUrl: 'https://a.test/guide/', linkedJobStatus: 'FAILED', error: 'login wall' });
      return 'cut';
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/guide', 'https://a.test/guide/'] });
    expect(data.vendorJobs.map(({ id, outcome }) => [id, outcome])).toEqual([
      [uuid(1), 'succeeded'],
      [uuid(2), 'failed'],
    ]);
    expect(vendor.callsTo(routes.ingest)).toHaveLength(1);
  });

  it('sends a URL that is listed twice once, and one that is in both lists in both', async () => {
    const { vendor, workspace } = await start();
    const [one, two] = ['https://a.test/1', 'https://a.test/2'];
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: one });
      workspace.add(uuid(2), { originalUrl: two });
      return { json: { addedDocumentIds: [uuid(1), uuid(2)] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: [one, two, one], documentIdsToRefresh: [two] });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.ingest).map((call) => call.json)).toEqual([
      { source: 'web', documentIdsToAdd: [one, two], documentIdsToRefresh: [two] },
    ]);
    expect(data.vendorJobs).toHaveLength(2);
  });

  it('ends each document by its own record: FAILED, COMPLETED without success, success', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/1', linkedJobStatus: 'FAILED', error: 'login wall' });
      workspace.add(uuid(2), { originalUrl: 'https://a.test/2', success: false, error: '' });
      workspace.add(uuid(3), { originalUrl: 'https://a.test/3' });
      return { json: { addedDocumentIds: [uuid(3), uuid(2), uuid(1)] } };
    });
    const data = await run('documents.ingest', {
      documentIdsToAdd: ['https://a.test/1', 'https://a.test/2', 'https://a.test/3'],
    });
    expect(data.outcome).toBe('partial');
    const byId = new Map(data.vendorJobs.map((job) => [job.id, job]));
    expect(byId.get(uuid(1))).toMatchObject({ outcome: 'failed', error: { message: 'login wall' } });
    expect(byId.get(uuid(2))).toMatchObject({ outcome: 'failed', error: { code: 'outcome_contradicted' } });
    expect(byId.get(uuid(3))).toMatchObject({ outcome: 'succeeded', error: null });
  });

  it('refuses ids for web before anything is sent', async () => {
    const { vendor } = await start();
    const data = await run('documents.ingest', { documentIdsToAdd: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'rejected', error: { code: 'invalid_submission' } });
    expect(data.error?.message).toContain('is a record id; with source "web"');
    expect(vendor.calls).toHaveLength(0);
  });

  it('a refusal of the request is a rejected submission with the vendor’s words', async () => {
    const { vendor } = await start();
    vendor.on(routes.ingest, refusal(400, ['source must be valid', 'bad url'], 'Bad Request'));
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/1'] });
    expect(data).toMatchObject({ outcome: 'rejected', vendorJobs: [], error: { code: 'vendor_rejected' } });
    expect(data.error?.message).toContain('source must be valid; bad url');
  });

  it('after a cut socket finds the pages in the list and sends nothing twice', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(9), { originalUrl: 'https://a.test/1' });
    vendor.on(routes.ingest, () => {
      workspace.run(uuid(9));
      workspace.add(uuid(2), { originalUrl: 'https://a.test/2' });
      return 'cut';
    });
    const data = await run('documents.ingest', {
      documentIdsToAdd: ['https://a.test/2'],
      documentIdsToRefresh: ['https://a.test/1'],
    });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs.map((job) => job.id).sort()).toEqual([uuid(2), uuid(9)]);
    expect(vendor.callsTo(routes.ingest)).toHaveLength(1);
  });

  it('after a cut socket and an untouched list sends again', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1), { originalUrl: 'https://a.test/1' });
    vendor.on(routes.ingest, 'cut', () => {
      workspace.run(uuid(1));
      return { json: { updatedDocumentIds: [uuid(1)] } };
    });
    const data = await run('documents.ingest', { documentIdsToRefresh: ['https://a.test/1'] });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.ingest)).toHaveLength(2);
  });

  it.each([
    ['an unreadable 2xx', { text: '<html>', headers: { 'content-type': 'text/html' } }],
    ['an empty 2xx', { status: 204 }],
    ['a 2xx of another shape', { json: { ok: true } }],
    ['a 500', { status: 500, json: { statusCode: 500, message: 'x' } }],
  ])('%s is looked up, not believed', async (_, reply) => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/1' });
      return reply;
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/1'] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: uuid(1) }] });
    expect(vendor.callsTo(routes.ingest)).toHaveLength(1);
  });

  it('waits for every page when the accepted list is empty', async () => {
    const { vendor, workspace } = await start();
    vendor.on(routes.ingest, () => {
      workspace.add(uuid(1), { originalUrl: 'https://a.test/1' });
      return { json: { addedDocumentIds: [], updatedDocumentIds: [] } };
    });
    const data = await run('documents.ingest', { documentIdsToAdd: ['https://a.test/1'] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'https://a.test/1' }] });
  });
});

describe('fini.documents.ingest and refresh by id', () => {
  it('ingests registered provider documents', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1), { source: 'notion', linkedJobStatus: null as never, linkedJobId: null as never });
    vendor.on(routes.ingest, ({ json }) => {
      for (const id of json.documentIdsToAdd as string[]) workspace.run(id);
      return { json: { addedDocumentIds: json.documentIdsToAdd } };
    });
    const data = await run('documents.ingest', { source: 'notion', documentIdsToAdd: [uuid(1)], baser: false });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ result: { source: 'notion' } }] });
    expect(vendor.callsTo(routes.ingest)[0]?.json).toEqual({
      source: 'notion',
      documentIdsToAdd: [uuid(1)],
      baser: false,
    });
  });

  it('refreshes, ignoring foreign and repeated ids of the reply and their order', async () => {
    const { vendor, workspace } = await start();
    for (const number of [1, 2, 3]) workspace.add(uuid(number));
    vendor.on(routes.refresh, ({ json }) => {
      for (const id of json.documentIds as string[]) workspace.run(id);
      return { json: [uuid(3), uuid(77), uuid(2), uuid(3), uuid(1)] };
    });
    const data = await run('documents.refresh', { documentIds: [uuid(1), uuid(2), uuid(3)] });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs.map((job) => job.id)).toEqual([uuid(1), uuid(2), uuid(3)]);
  });

  it('follows an id that the reply leaves out when its record shows a run', async () => {
    const { vendor, workspace } = await start();
    for (const number of [1, 2]) workspace.add(uuid(number));
    vendor.on(routes.refresh, ({ json }) => {
      for (const id of json.documentIds as string[]) workspace.run(id);
      return { json: [uuid(1)] };
    });
    const data = await run('documents.refresh', { documentIds: [uuid(1), uuid(2)] });
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual(['succeeded', 'succeeded']);
  });

  it('leaves unknown ids out of the request and reports each', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1));
    vendor.on(routes.refresh, ({ json }) => {
      for (const id of json.documentIds as string[]) workspace.run(id);
      return { json: json.documentIds };
    });
    const data = await run('documents.refresh', { documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('partial');
    expect(vendor.callsTo(routes.refresh)[0]?.json).toEqual({ documentIds: [uuid(1)] });
    expect(data.vendorJobs.find((job) => job.id === uuid(2))?.error?.message).toContain('has no document');
  });

  it('is rejected when the workspace has none of the ids', async () => {
    const { vendor } = await start();
    const data = await run('documents.refresh', { documentIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'rejected', vendorJobs: [] });
    expect(vendor.callsTo(routes.refresh)).toHaveLength(0);
  });

  it('is rejected when the vendor refuses raw files', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1), { source: 'files' });
    vendor.on(routes.refresh, refusal(400, 'files must be uploaded again'));
    const data = await run('documents.refresh', { documentIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'rejected' });
    expect(data.error?.message).toContain('files must be uploaded again');
  });

  it('splits a long list, and a refused part does not end the others', async () => {
    const { vendor, workspace } = await start({ account: { submitBatchSize: 2 } });
    for (const number of [1, 2, 3, 4, 5]) workspace.add(uuid(number));
    vendor.on(routes.refresh, ({ json }) => {
      const ids = json.documentIds as string[];
      if (ids.includes(uuid(3))) return refusal(400, 'raw file');
      for (const id of ids) workspace.run(id);
      return { json: ids };
    });
    const data = await run('documents.refresh', { documentIds: [1, 2, 3, 4, 5].map(uuid) });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => [job.id, job.outcome])).toEqual([
      [uuid(1), 'succeeded'],
      [uuid(2), 'succeeded'],
      [uuid(3), 'failed'],
      [uuid(4), 'failed'],
      [uuid(5), 'succeeded'],
    ]);
    expect(vendor.callsTo(routes.refresh)).toHaveLength(3);
  });

  it('goes on with the parts that were accepted when the others may wait no longer', async () => {
    const { vendor, workspace, harness } = await start({ account: { submitBatchSize: 1 } });
    for (const number of [1, 2, 3]) workspace.add(uuid(number));
    vendor.on(routes.refresh, ({ json }) => {
      const ids = json.documentIds as string[];
      if (!ids.includes(uuid(1))) return { status: 429, headers: { 'retry-after': '60' } };
      for (const id of ids) workspace.run(id);
      return { json: ids };
    });
    const quick = { ...poll, submitWithinMs: 2_000, deadlineMs: 1_000 };
    const documentIds = [1, 2, 3].map(uuid);
    const { data } = await harness.event(
      await harness.submit('fini', 'documents.refresh', { documentIds }, { poll: quick }),
    );
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => [job.id, job.outcome, job.error?.code])).toEqual([
      [uuid(1), 'succeeded', undefined],
      [uuid(2), 'failed', 'not_submitted_in_time'],
      [uuid(3), 'failed', 'not_submitted_in_time'],
    ]);
  });

  it('begins its deadline when the last part was accepted', async () => {
    const { vendor, workspace, harness } = await start({ account: { submitBatchSize: 1 } });
    for (const number of [1, 2]) workspace.add(uuid(number));
    const take = ({ json }: ScriptedCall): ScriptedReply => {
      for (const id of json.documentIds as string[]) workspace.touch(id, { linkedJobStatus: 'PENDING' });
      return { json: json.documentIds as string[] };
    };
    vendor.on(routes.refresh, take, { status: 429, headers: { 'retry-after': '2' } }, take);
    const documentIds = [1, 2].map(uuid);
    const id = await harness.submit(
      'fini',
      'documents.refresh',
      { documentIds },
      { poll: { ...poll, deadlineMs: 1_500 } },
    );
    const { data } = await harness.event(id);
    expect(data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(data.vendorJobs.map((job) => job.id)).toEqual(documentIds);
    const { enqueuedAt, submittedAt, settledAt } = data.timings;
    expect(Date.parse(submittedAt ?? '') - Date.parse(enqueuedAt)).toBeGreaterThanOrEqual(2_000);
    expect(Date.parse(settledAt) - Date.parse(submittedAt ?? '')).toBeGreaterThanOrEqual(1_490);
  });

  it('is rejected when every part is refused', async () => {
    const { vendor, workspace } = await start({ account: { submitBatchSize: 1 } });
    for (const number of [1, 2]) workspace.add(uuid(number));
    vendor.on(routes.refresh, refusal(400, 'raw file'));
    const data = await run('documents.refresh', { documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('rejected');
  });

  it('after a 500 looks at the records and adopts the runs that began', async () => {
    const { vendor, workspace } = await start();
    for (const number of [1, 2]) workspace.add(uuid(number));
    vendor.on(routes.refresh, ({ json }) => {
      for (const id of json.documentIds as string[]) workspace.run(id);
      return refusal(500);
    });
    const data = await run('documents.refresh', { documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
  });

  it('after a 500 and untouched records refreshes once more', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(1));
    vendor.on(routes.refresh, refusal(500), () => {
      workspace.run(uuid(1));
      return { json: [uuid(1)] };
    });
    const data = await run('documents.refresh', { documentIds: [uuid(1)] });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.refresh)).toHaveLength(2);
  });
});

describe('a document that waits', () => {
  it('is reported once when PENDING for too long: log, board and event', async () => {
    const lines: { notice?: string }[] = [];
    const logger: Logger = {
      ...silentLogger,
      warn: (fields) => void lines.push(fields),
      child: () => logger,
    };
    const { workspace, harness } = await start({ account: { pendingNoticeMs: 1_000 }, logger });
    workspace.add(uuid(1), { linkedJobId: 'run-77', linkedJobStatus: 'PENDING', updatedAt: new Date().toISOString() });
    const id = await harness.submit('fini', 'watch', { documentIds: [uuid(1)] }, { poll });
    await until(() => lines.some((line) => line.notice !== undefined));
    await until(async () => (await harness.logs('fini', id)).some((line) => line.includes('run-77')));
    await new Promise((resolve) => setTimeout(resolve, 500));
    workspace.touch(uuid(1), { linkedJobStatus: 'COMPLETED' });
    const { data } = await harness.event(id);
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs[0]?.result).toMatchObject({ pendingNotice: { linkedJobId: 'run-77' } });
    expect(lines.filter((line) => line.notice !== undefined)).toHaveLength(1);
    expect((await harness.logs('fini', id)).filter((line) => line.includes('run-77'))).toHaveLength(1);
  });

  it('is told of in the event when the deadline passes first', async () => {
    const { workspace, harness } = await start({ account: { pendingNoticeMs: 1_000 } });
    workspace.add(uuid(1), { linkedJobId: 'run-77', linkedJobStatus: 'PENDING' });
    const id = await harness.submit(
      'fini',
      'watch',
      { documentIds: [uuid(1)] },
      { poll: { ...poll, deadlineMs: 1_500 } },
    );
    const { data } = await harness.event(id);
    expect(data.outcome).toBe('expired');
    expect(data.vendorJobs[0]?.result).toMatchObject({ pendingNotice: { linkedJobId: 'run-77' } });
  });

  it('keeps being polled through unknown statuses', async () => {
    const { workspace } = await start();
    workspace.add(uuid(1), { linkedJobStatus: 'REINDEXING' });
    setTimeout(() => workspace.touch(uuid(1), { linkedJobStatus: 'COMPLETED' }), 500);
    const data = await run('watch', { documentIds: [uuid(1)] });
    expect(data.outcome).toBe('succeeded');
  });
});

describe('fini.watch of documents', () => {
  it('reports what stands in the record, whenever it ended', async () => {
    const { workspace, vendor } = await start();
    workspace.add(uuid(1), { linkedKnowledgeId: 'article-1' });
    const data = await run('watch', { documentIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ result: { linkedKnowledgeId: 'article-1' } }] });
    expect(vendor.calls.every((call) => call.method === 'GET')).toBe(true);
  });

  it('loses a document that stays unknown past the grace period', async () => {
    await start();
    expect((await run('watch', { documentIds: [uuid(1)] })).outcome).toBe('lost');
  });

  it('loses an id that the vendor takes for none, and one of another workspace, without holding the account', async () => {
    const { vendor, workspace } = await start();
    workspace.add(uuid(3));
    vendor.on(`GET /v2/documents/public/${uuid(1)}`, refusal(400, 'not a UUID'));
    vendor.on(`GET /v2/documents/public/${uuid(2)}`, refusal(403, 'forbidden', 'Forbidden'));
    const data = await run('watch', { documentIds: [uuid(1), uuid(2), uuid(3)] });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual(['lost', 'lost', 'succeeded']);
  });

  it('takes no other record for the one it asked for', async () => {
    const { vendor, workspace } = await start();
    const other = workspace.add(uuid(2));
    workspace.add(uuid(1));
    vendor.on(`GET /v2/documents/public/${uuid(1)}`, { json: other }, () => undefined);
    const data = await run('watch', { documentIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ result: { documentId: uuid(1) } }] });
  });
});
