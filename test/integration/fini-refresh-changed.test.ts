import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { quickPoll as poll, refusal, routes, startFini, uuid, type FiniRig } from '../helpers/fini.ts';
import { redisUrl } from '../helpers/redis.ts';
import type { ScriptedCall } from '../helpers/scripted-vendor.ts';

let rig: FiniRig;
afterEach(() => rig.stop());

const jobOf = (documentId: string): string => documentId.replace(/^0{8}/, '11111111');
const action = (data: CompletionEvent['data'], id: string) =>
  data.vendorJobs.find((job) => job.id === id)?.result as Record<string, unknown> | undefined;

async function run(input: unknown, timeoutMs?: number): Promise<CompletionEvent['data']> {
  const id = await rig.harness.submit('fini', 'knowledge.refreshChanged', input, { poll });
  return (await rig.harness.event(id, timeoutMs)).data;
}

/** Upstream changes by document; the jobs of the generation end as `jobStatus` says. */
function script(changes: Record<string, boolean>, failing: readonly string[] = []): void {
  const { vendor, workspace } = rig;
  vendor.on(routes.refresh, ({ json }: ScriptedCall) => {
    const ids = json.documentIds as string[];
    for (const id of ids) workspace.run(id, { changed: changes[id] ?? false });
    return { json: ids };
  });
  vendor.on(routes.bulk, ({ json }: ScriptedCall) => ({
    json: {
      jobs: (json.documentIds as string[]).map((documentId) => ({ documentId, backgroundJobId: jobOf(documentId) })),
    },
  }));
  vendor.on(routes.status, ({ json }: ScriptedCall) => ({
    json: {
      jobs: (json.jobIds as string[]).map((id) => ({
        id,
        jobStatus: failing.includes(id) ? 'FAILED' : 'COMPLETED',
        hcArticleId: failing.includes(id) ? null : `article-${id}`,
      })),
    },
  }));
}

describe('fini.knowledge.refreshChanged', () => {
  beforeEach(async () => {
    rig = await startFini({ graceMs: 400 });
  });

  it('has one deadline for all stages, from the acceptance of the first, and its event names every vendor job', async () => {
    const { vendor, workspace, harness } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: `old-${number}` });
    script({ [uuid(1)]: true });
    vendor.on(routes.bulk, { status: 429, headers: { 'retry-after': '60' } });
    const input = { documentIds: [1, 2].map(uuid) };
    const id = await harness.submit('fini', 'knowledge.refreshChanged', input, {
      poll: { ...poll, deadlineMs: 2_500 },
    });
    const { data } = await harness.event(id);
    expect(data).toMatchObject({ outcome: 'expired', error: { code: 'deadline_exceeded' } });
    expect(data.error?.message).toContain('2.5 s after it was accepted');
    expect(data.vendorJobs.map((job) => job.id)).toEqual([1, 2].map(uuid));
    const { submittedAt, settledAt } = data.timings;
    const lived = Date.parse(settledAt) - Date.parse(submittedAt ?? '');
    expect(lived).toBeGreaterThanOrEqual(2_490);
    expect(lived).toBeLessThan(4_500);
  });

  it('refreshes, generates for what changed, and says per document what became of it', async () => {
    const { vendor, workspace } = rig;
    for (const number of [1, 2, 3, 4]) workspace.add(uuid(number), { linkedKnowledgeId: `old-${number}` });
    workspace.touch(uuid(4), { linkedKnowledgeId: null });
    // Changed, linked, and none of ours.
    workspace.add(uuid(50), { changed: true, linkedKnowledgeId: 'old-50' });
    script({ [uuid(2)]: true, [uuid(3)]: true, [uuid(4)]: true }, [jobOf(uuid(3))]);
    const data = await run({ documentIds: [1, 2, 3, 4].map(uuid), isDraft: false, instructions: 'be brief' });
    expect(data.outcome).toBe('partial');
    expect(action(data, uuid(1))).toMatchObject({ action: 'unchanged', changed: false });
    expect(action(data, uuid(2))).toMatchObject({
      action: 'generated',
      articleId: `article-${jobOf(uuid(2))}`,
      draft: false,
      jobId: jobOf(uuid(2)),
    });
    expect(action(data, uuid(3))).toMatchObject({ action: 'failed', articleId: null, jobId: jobOf(uuid(3)) });
    expect(action(data, uuid(4))).toMatchObject({ action: 'unlinked', changed: true });
    expect(vendor.callsTo(routes.bulk).map((call) => call.json)).toEqual([
      { documentIds: [uuid(2), uuid(3)], origin: 'sources', instructions: 'be brief', isDraft: false },
    ]);
    expect(vendor.callsTo(routes.list).some((call) => call.query.get('changed') === 'true')).toBe(true);
  });

  it('nothing changed: succeeded, saying so, and nothing is generated', async () => {
    const { vendor, workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({});
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect(data).toMatchObject({ outcome: 'succeeded', error: null });
    expect(data.vendorJobs.map((job) => (job.result as { action: string }).action)).toEqual(['unchanged', 'unchanged']);
    expect(vendor.callsTo(routes.bulk)).toHaveLength(0);
  });

  it('walks all pages; rows that are skipped or repeated while it walks do not matter', async () => {
    const { vendor, workspace } = rig;
    const ids = Array.from({ length: 120 }, (_, index) => uuid(index + 1));
    for (const id of ids) workspace.add(id, { linkedKnowledgeId: 'old' });
    script(Object.fromEntries(ids.map((id) => [id, true])));
    let pages = 0;
    const skipped = new Set<string>();
    vendor.on(routes.list, (call) => {
      if (call.query.get('changed') !== 'true') return undefined;
      if (++pages !== 2) return undefined;
      // What stands at the end moves to the front, where the walk has passed; what was there comes again.
      const oldest = [...workspace.records.values()].sort((a, b) => a.updatedAt.localeCompare(b.updatedAt));
      for (const { id } of oldest.slice(0, 10)) {
        skipped.add(id);
        workspace.touch(id, {});
      }
      return undefined;
    });
    const data = await run({ documentIds: ids });
    expect(pages).toBe(3);
    expect(skipped.size).toBe(10);
    expect(data.outcome).toBe('succeeded');
    for (const id of ids) expect(action(data, id)?.['action']).toBe('generated');
    expect(vendor.callsTo(routes.bulk).map((call) => call.json.documentIds.length)).toEqual([100, 20]);
  });

  it('ends a walk whose cursor comes back', async () => {
    const { vendor, workspace } = rig;
    const record = workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({});
    vendor.on(routes.list, { json: { documents: [record], hasMore: true } });
    const data = await run({ documentIds: [uuid(1)] });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.list).length).toBeLessThanOrEqual(3);
  });

  it('goes by the list where records know no changed flag', async () => {
    const { vendor, workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old', changed: undefined as never });
    script({});
    vendor.on(routes.refresh, ({ json }) => {
      for (const id of json.documentIds as string[]) workspace.run(id);
      return { json: json.documentIds };
    });
    vendor.on(routes.list, { json: { documents: [workspace.records.get(uuid(2))], hasMore: false } });
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect([uuid(1), uuid(2)].map((id) => action(data, id)?.['action'])).toEqual(['unchanged', 'generated']);
  });

  /** The list of changed records, as the vendor answers it at the n-th walk. */
  function listChanged(answer: (walk: number) => readonly object[]): void {
    let walks = 0;
    rig.vendor.on(routes.list, (call) => {
      if (call.query.get('changed') !== 'true') return undefined;
      return { json: { documents: answer(++walks), hasMore: false } };
    });
  }

  it('looks once more where list and record differ; what one of them still calls changed is generated', async () => {
    const { vendor, workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({});
    // The record of the first is behind for good; of the second the list was, at the first walk.
    listChanged((walk) =>
      [uuid(1), uuid(2)].slice(0, walk === 1 ? 2 : 1).map((id) => ({ ...workspace.records.get(id), changed: true })),
    );
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('succeeded');
    expect([uuid(1), uuid(2)].map((id) => action(data, id)?.['action'])).toEqual(['generated', 'unchanged']);
    expect(vendor.callsTo(routes.bulk).map(({ json }) => json.documentIds)).toEqual([[uuid(1)]]);
    const walks = vendor.callsTo(routes.list).filter(({ query }) => query.get('changed') === 'true');
    expect(walks).toHaveLength(2);
  });

  it('a document that is gone after its refresh is failed, and the others go on', async () => {
    const { workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({ [uuid(2)]: true });
    listChanged(() => {
      workspace.records.delete(uuid(1));
      return [workspace.records.get(uuid(2)) ?? {}];
    });
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.find((job) => job.id === uuid(1))).toMatchObject({
      outcome: 'failed',
      result: { action: 'failed', documentId: uuid(1) },
      error: { code: 'vendor_job_lost' },
    });
    expect(action(data, uuid(2))?.['action']).toBe('generated');
  });

  it.each([
    ['live, and cleared at the vendor', false, false, false],
    ['live, and not cleared yet', false, true, null],
    ['as a draft', true, true, true],
  ])('tells what the record says of changed after a save %s', async (_, isDraft, after, changed) => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({ [uuid(1)]: true });
    vendor.on(routes.status, () => {
      workspace.touch(uuid(1), { changed: after, linkedKnowledgeId: 'new' });
      return undefined;
    });
    const data = await run({ documentIds: [uuid(1)], isDraft });
    const saved = isDraft ? 'draft' : 'live';
    expect(action(data, uuid(1))).toMatchObject({ action: 'generated', changed, linkedKnowledgeId: 'new', saved });
  });

  it('ends well where the records cannot be read once all is generated', async () => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({ [uuid(1)]: true });
    vendor.on(routes.record, () => (vendor.callsTo(routes.status).length === 0 ? undefined : refusal(500)));
    const data = await run({ documentIds: [uuid(1)] });
    expect(data.outcome).toBe('succeeded');
    expect(action(data, uuid(1))).toMatchObject({ action: 'generated', changed: null });
  });

  it('a document whose refresh failed is failed, the others go on', async () => {
    const { workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({ [uuid(2)]: true });
    rig.vendor.on(routes.refresh, ({ json }) => {
      workspace.run(uuid(1), { linkedJobStatus: 'FAILED', success: false, error: 'robots.txt' });
      workspace.run(uuid(2), { changed: true });
      return { json: json.documentIds };
    });
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('partial');
    expect(action(data, uuid(1))?.['action']).toBe('failed');
    expect(action(data, uuid(2))?.['action']).toBe('generated');
  });

  it('fails when no document could be refreshed, and generates nothing', async () => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1));
    script({});
    vendor.on(routes.refresh, () => {
      workspace.run(uuid(1), { linkedJobStatus: 'FAILED', error: 'connection expired' });
      return { json: [uuid(1)] };
    });
    expect(await run({ documentIds: [uuid(1)] })).toMatchObject({
      outcome: 'failed',
      error: { message: 'connection expired' },
    });
    expect(vendor.callsTo(routes.bulk)).toHaveLength(0);
  });

  it('a bulk request of unknown fate is unconfirmed and not sent again', async () => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({ [uuid(1)]: true });
    vendor.on(routes.bulk, 'cut');
    const data = await run({ documentIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
    expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
  });

  it('a refused bulk request fails its documents, the unchanged ones stay succeeded', async () => {
    const { vendor, workspace } = rig;
    for (const number of [1, 2]) workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({ [uuid(2)]: true });
    vendor.on(routes.bulk, refusal(400, 'not ingested'));
    const data = await run({ documentIds: [uuid(1), uuid(2)] });
    expect(data.outcome).toBe('partial');
    expect(action(data, uuid(1))?.['action']).toBe('unchanged');
    expect(action(data, uuid(2))?.['action']).toBe('failed');
    expect(data.vendorJobs.find((job) => job.id === uuid(2))?.error?.message).toContain('not ingested');
  });

  it('after a cut refresh goes on from what the records show', async () => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({ [uuid(1)]: true });
    vendor.on(routes.refresh, () => {
      workspace.run(uuid(1), { changed: true });
      return 'cut';
    });
    const data = await run({ documentIds: [uuid(1)] });
    expect(action(data, uuid(1))?.['action']).toBe('generated');
    expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
  });

  it('reads the list again when a page fails', async () => {
    const { vendor, workspace } = rig;
    workspace.add(uuid(1), { linkedKnowledgeId: 'old' });
    script({ [uuid(1)]: true });
    let failures = 1;
    vendor.on(routes.list, (call) =>
      call.query.get('changed') === 'true' && failures-- > 0 ? refusal(500) : undefined,
    );
    const data = await run({ documentIds: [uuid(1)] });
    expect(action(data, uuid(1))?.['action']).toBe('generated');
  });
});

describe('fini.knowledge.refreshChanged after a crash', () => {
  const input = { documentIds: [uuid(1), uuid(2)] };

  async function startDoomed(crashAt: string): Promise<ChildProcess> {
    rig = await startFini({ groups: 0 });
    for (const number of [1, 2]) rig.workspace.add(uuid(number), { linkedKnowledgeId: 'old' });
    script({ [uuid(2)]: true });
    return fork(fileURLToPath(new URL('../helpers/crash-worker.ts', import.meta.url)), {
      execArgv: ['--import', 'tsx'],
      env: {
        ...process.env,
        REDIS_URL: redisUrl(),
        JOBFERRY_PREFIX: rig.harness.prefix,
        FINI_API_KEY: 'fini_test',
        FINI_BASE_URL: rig.vendor.url,
        CRASH_AT: crashAt,
      },
    });
  }

  it.each([
    'intent-saved',
    'vendor-answered',
    'acceptance-saved',
    'poll-job-added',
    'poll-job-begun',
    'looked-up',
    'outcome-saved',
    'event-delivered',
  ])(
    'at %s repeats no submit',
    async (point) => {
      const child = await startDoomed(point);
      const { harness, vendor } = rig;
      const id = await harness.submit('fini', 'knowledge.refreshChanged', input, { poll });
      await once(child, 'exit');
      expect(child.signalCode).toBe('SIGKILL');
      await harness.startWorkers();
      const { data } = await harness.event(id, 30_000);
      expect(data.outcome).toBe('succeeded');
      expect(action(data, uuid(2))?.['action']).toBe('generated');
      expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
      expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
    },
    60_000,
  );

  it('while the second stage polls, goes on polling', async () => {
    const child = await startDoomed('never');
    const { harness, vendor } = rig;
    let isKilled = false;
    vendor.on(routes.status, () => {
      if (isKilled) return undefined;
      isKilled = true;
      child.kill('SIGKILL');
      return 'hang';
    });
    const id = await harness.submit('fini', 'knowledge.refreshChanged', input, { poll });
    await once(child, 'exit');
    await harness.startWorkers();
    const { data } = await harness.event(id, 30_000);
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
  }, 60_000);

  it('while the bulk request is out, is unconfirmed: nobody can tell, and a second one would double the drafts', async () => {
    const child = await startDoomed('never');
    const { harness, vendor } = rig;
    vendor.on(routes.bulk, () => {
      child.kill('SIGKILL');
      return 'hang';
    });
    const id = await harness.submit('fini', 'knowledge.refreshChanged', input, { poll });
    await once(child, 'exit');
    await harness.startWorkers();
    const { data } = await harness.event(id, 30_000);
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(action(data, uuid(1))?.['action']).toBe('unchanged');
    expect(vendor.callsTo(routes.refresh)).toHaveLength(1);
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
  }, 60_000);
});
