import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { readRecord } from '../../src/core/record.ts';
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
import { redisUrl } from '../helpers/redis.ts';
import type { ScriptedCall, ScriptedReply } from '../helpers/scripted-vendor.ts';

let rig: FiniRig;
const start = async (options: FiniOptions = {}): Promise<FiniRig> =>
  (rig = await startFini({ graceMs: 400, ...options }));
afterEach(() => rig.stop());

async function run(operation: string, input: unknown, rest: object = {}): Promise<CompletionEvent['data']> {
  const id = await rig.harness.submit('fini', operation, input, { poll, ...rest });
  return (await rig.harness.event(id)).data;
}

const jobOf = (documentId: string): string => documentId.replace(/^0{8}/, '11111111');
const documentsOf = (count: number): string[] => Array.from({ length: count }, (_, index) => uuid(index + 1));

/** Takes every document in. */
function takeAll({ json }: ScriptedCall): ScriptedReply {
  const ids = json.documentIds as string[];
  return { json: { jobs: ids.map((documentId) => ({ documentId, backgroundJobId: jobOf(documentId) })) } };
}

/** Every job asked for is over; rows backwards. */
function allCompleted({ json }: ScriptedCall): ScriptedReply {
  const ids = json.jobIds as string[];
  const jobs = ids.map((id) => ({ id, jobStatus: 'COMPLETED', hcArticleId: `article-${id}` }));
  return { json: { jobs: jobs.reverse() } };
}

describe('fini.knowledge.generate', () => {
  const text = 'How to reset a password';

  it('sends the origin’s fields and reports article and draft', async () => {
    const { vendor } = await start();
    vendor.on(routes.generate, { json: { backgroundJobId: uuid(1) } });
    vendor.on(
      routes.status,
      { json: { jobs: [{ id: uuid(1), jobStatus: 'PENDING' }] } },
      { json: { jobs: [{ id: uuid(1), jobStatus: 'IN_PROGRESS', startedAt: '2026-06-11T12:00:01.000Z' }] } },
      {
        json: {
          jobs: [
            {
              id: uuid(1),
              jobStatus: 'COMPLETED',
              createdAt: '2026-06-11T12:00:00.000Z',
              completedAt: '2026-06-11T12:00:05.000Z',
              hcArticleId: 'article-1',
            },
          ],
        },
      },
    );
    const input = {
      candidateKnowledge: text,
      origin: 'sources',
      documentId: uuid(7),
      restrictedOps: ['UPDATE_ARTICLE'],
      instructions: 'be brief',
      botId: uuid(8),
    };
    const data = await run('knowledge.generate', input);
    expect(data).toMatchObject({
      outcome: 'succeeded',
      vendorJobs: [
        { id: uuid(1), status: 'COMPLETED', result: { documentId: uuid(7), articleId: 'article-1', draft: true } },
      ],
      timings: { vendorCompletedAt: '2026-06-11T12:00:05.000Z' },
    });
    expect(vendor.callsTo(routes.generate).map((call) => call.json)).toEqual([{ ...input, isDraft: true }]);
    expect(vendor.callsTo(routes.status)[0]?.json).toEqual({ jobIds: [uuid(1)] });
  });

  it('keeps its document and draft beside watches of the same job', async () => {
    const { vendor, harness } = await start();
    const together = { ...poll, initialDelayMs: 99, factor: 1, maxDelayMs: 100 };
    vendor.on(routes.generate, { json: { backgroundJobId: uuid(1) } });
    let isOver = false;
    vendor.on(routes.status, (call) =>
      isOver ? allCompleted(call) : { json: { jobs: [{ id: uuid(1), jobStatus: 'IN_PROGRESS' }] } },
    );
    const watch = (): Promise<string> => harness.submit('fini', 'watch', { jobIds: [uuid(1)] }, { poll: together });
    const watches = await Promise.all(Array.from({ length: 30 }, watch));
    const documents = [7, 8, 9, 10].map(uuid);
    const generates = await Promise.all(
      documents.map((documentId) => {
        const input = { candidateKnowledge: text, origin: 'sources', documentId, isDraft: false };
        return harness.submit('fini', 'knowledge.generate', input, { poll: together });
      }),
    );
    await until(() => vendor.callsTo(routes.generate).length === 4 && vendor.callsTo(routes.status).length > 10);
    isOver = true;
    for (const [at, id] of generates.entries()) {
      const result = { documentId: documents[at], draft: false, articleId: `article-${uuid(1)}` };
      const { data } = await harness.event(id);
      expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: uuid(1), result }] });
    }
    for (const id of watches) {
      const { data } = await harness.event(id);
      expect(data.vendorJobs[0]?.result).toEqual({ articleId: `article-${uuid(1)}`, draft: null });
    }
    const polls = harness.events.reduce((sum, { data }) => sum + data.polls, 0);
    expect(vendor.callsTo(routes.status).length).toBeLessThan(polls / 2);
  });

  it.each([
    [false, 'article-1', 'live'],
    [false, null, 'nothing'],
    [true, 'article-1', 'draft'],
    [true, null, 'no-op-draft'],
  ])('with isDraft %s and the article %s says %s', async (isDraft, articleId, saved) => {
    const { vendor } = await start();
    vendor.on(routes.generate, { json: { backgroundJobId: uuid(1) } });
    vendor.on(routes.status, { json: { jobs: [{ id: uuid(1), jobStatus: 'COMPLETED', hcArticleId: articleId }] } });
    const data = await run('knowledge.generate', { candidateKnowledge: text, origin: 'generated', isDraft });
    const result = { articleId, draft: isDraft, saved };
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ result }] });
  });

  it('a FAILED job fails the submission', async () => {
    const { vendor } = await start();
    vendor.on(routes.generate, { json: { backgroundJobId: uuid(1) } });
    vendor.on(routes.status, { json: { jobs: [{ id: uuid(1), jobStatus: 'FAILED' }] } });
    const data = await run('knowledge.generate', { candidateKnowledge: text, origin: 'inbox', hcEventId: uuid(3) });
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'vendor_job_failed' } });
  });

  it.each([
    ['a cut socket', 'cut'],
    ['a 500', refusal(500)],
    ['an unreadable 2xx', { text: '{', headers: { 'content-type': 'application/json' } }],
    ['a 2xx without a job id', { json: { ok: true } }],
  ] as const)('after %s is unconfirmed and never sent twice', async (_, reply) => {
    const { vendor } = await start();
    vendor.on(routes.generate, reply);
    const data = await run('knowledge.generate', { candidateKnowledge: text, origin: 'generated' });
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(vendor.callsTo(routes.generate)).toHaveLength(1);
  });

  it('a refusal is a rejected submission', async () => {
    const { vendor } = await start();
    vendor.on(routes.generate, refusal(400, 'documentId is unknown'));
    const data = await run('knowledge.generate', { candidateKnowledge: text, origin: 'sources', documentId: uuid(1) });
    expect(data).toMatchObject({ outcome: 'rejected', error: { code: 'vendor_rejected' } });
  });
});

describe('fini.knowledge.bulkGenerate', () => {
  it('has one vendor job per document, matched by id whatever the order', async () => {
    const { vendor } = await start();
    vendor.on(routes.bulk, ({ json }) => {
      const jobs = (json.documentIds as string[]).map((documentId) => ({
        documentId,
        backgroundJobId: jobOf(documentId),
      }));
      return { json: { jobs: [...jobs.reverse(), jobs[0], { documentId: uuid(99), backgroundJobId: uuid(98) }] } };
    });
    vendor.on(routes.status, allCompleted);
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(3) });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs.map((job) => [job.id, job.result])).toEqual(
      documentsOf(3).map((documentId) => [
        jobOf(documentId),
        { documentId, articleId: `article-${jobOf(documentId)}`, draft: true, saved: 'draft' },
      ]),
    );
    expect(vendor.callsTo(routes.bulk).map((call) => call.json)).toEqual([
      { documentIds: documentsOf(3), origin: 'sources', isDraft: true },
    ]);
  });

  it('is partial when the ends are mixed, with an outcome per document', async () => {
    const { vendor } = await start();
    vendor.on(routes.bulk, takeAll).on(routes.status, ({ json }) => ({
      json: {
        jobs: (json.jobIds as string[]).map((id) => ({
          id,
          jobStatus: id === jobOf(uuid(2)) ? 'FAILED' : 'COMPLETED',
        })),
      },
    }));
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(3) });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => [(job.result as { documentId: string }).documentId, job.outcome])).toEqual([
      [uuid(1), 'succeeded'],
      [uuid(2), 'failed'],
      [uuid(3), 'succeeded'],
    ]);
  });

  it('500 documents cost 5 status requests per round', async () => {
    const { vendor } = await start();
    vendor.on(routes.bulk, takeAll).on(routes.status, allCompleted);
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(500) });
    expect(data).toMatchObject({ outcome: 'succeeded', polls: 1 });
    expect(vendor.callsTo(routes.bulk)).toHaveLength(5);
    expect(vendor.callsTo(routes.status).map((call) => call.json.jobIds.length)).toEqual([100, 100, 100, 100, 100]);
  });

  it('a document that the answer leaves out is told of, the others go on', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, allCompleted).on(routes.bulk, (call) => {
      const reply = takeAll(call) as { json: { jobs: unknown[] } };
      reply.json.jobs.pop();
      return reply;
    });
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(3) });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs[2]).toMatchObject({
      id: `generation:${uuid(3)}`,
      outcome: 'failed',
      result: { documentId: uuid(3) },
      error: { code: 'vendor_contract' },
    });
  });

  it('adopts the jobs that a 500 names', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, allCompleted).on(routes.bulk, (call) => {
      const reply = takeAll(call) as { json: { jobs: unknown[] } };
      reply.json.jobs.pop();
      return { status: 500, json: { statusCode: 500, message: 'one failed', ...reply.json } };
    });
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(3) });
    expect(data.outcome).toBe('partial');
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual(['succeeded', 'succeeded', 'failed']);
    expect(data.vendorJobs[2]?.error?.code).toBe('submit_ambiguous');
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
  });

  it('is unconfirmed after a 500 without jobs, and after an answer that names none', async () => {
    const { vendor } = await start();
    vendor.on(routes.bulk, refusal(500), { json: { jobs: [] } });
    for (let round = 0; round < 2; round += 1) {
      const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(2) });
      expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    }
    expect(vendor.callsTo(routes.bulk)).toHaveLength(2);
  });

  it('a request of unknown fate does not end the others', async () => {
    const { vendor } = await start({ account: { submitBatchSize: 2 } });
    vendor.on(routes.bulk, (call) => ((call.json.documentIds as string[]).includes(uuid(3)) ? 'cut' : takeAll(call)));
    vendor.on(routes.status, allCompleted);
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(6) });
    expect(data.outcome).toBe('partial');
    const codes = data.vendorJobs.map((job) => job.error?.code ?? job.outcome);
    expect(codes).toEqual(['succeeded', 'succeeded', 'submit_ambiguous', 'submit_ambiguous', 'succeeded', 'succeeded']);
    expect(vendor.callsTo(routes.bulk)).toHaveLength(3);
  });

  it('is unconfirmed when the fate of every request is unknown', async () => {
    const { vendor } = await start({ account: { submitBatchSize: 2 } });
    vendor.on(routes.bulk, 'cut');
    const data = await run('knowledge.bulkGenerate', { documentIds: documentsOf(4) });
    expect(data.outcome).toBe('unconfirmed');
    expect(vendor.callsTo(routes.bulk)).toHaveLength(2);
  });

  it('keeps the first request’s jobs while the second waits, and another worker sends only what is left', async () => {
    const { vendor, harness } = await start({ account: { submitBatchSize: 2 } });
    vendor.on(routes.bulk, takeAll, { status: 429, headers: { 'retry-after': '2' } }, takeAll);
    vendor.on(routes.status, allCompleted);
    const id = await harness.submit('fini', 'knowledge.bulkGenerate', { documentIds: documentsOf(4) }, { poll });
    const between = await until(async () => {
      const state = readRecord(await harness.record('fini', id));
      return state?.part === 1 && state.phase === 'received' && state.lastError !== undefined ? state : undefined;
    });
    expect(between.jobs.map((job) => job.id)).toEqual([jobOf(uuid(1)), jobOf(uuid(2))]);
    await harness.stopWorkers();
    await harness.startWorkers();
    const { data } = await harness.event(id);
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.bulk).map((call) => call.json.documentIds)).toEqual([
      [uuid(1), uuid(2)],
      [uuid(3), uuid(4)],
      [uuid(3), uuid(4)],
    ]);
  });

  it('a worker killed between two requests repeats neither', async () => {
    const { vendor, harness } = await start({ groups: 0 });
    vendor.on(routes.bulk, takeAll).on(routes.status, allCompleted);
    const child = fork(fileURLToPath(new URL('../helpers/crash-worker.ts', import.meta.url)), {
      execArgv: ['--import', 'tsx'],
      env: {
        ...process.env,
        REDIS_URL: redisUrl(),
        JOBFERRY_PREFIX: harness.prefix,
        FINI_API_KEY: 'fini_test',
        FINI_BASE_URL: vendor.url,
        CRASH_AT: 'acceptance-saved',
      },
    });
    const id = await harness.submit('fini', 'knowledge.bulkGenerate', { documentIds: documentsOf(150) }, { poll });
    await once(child, 'exit');
    expect(child.signalCode).toBe('SIGKILL');
    expect(vendor.callsTo(routes.bulk)).toHaveLength(1);
    await harness.startWorkers();
    const { data } = await harness.event(id, 20_000);
    expect(data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.bulk).map((call) => call.json.documentIds.length)).toEqual([100, 50]);
    expect(new Set(vendor.callsTo(routes.bulk).flatMap((call) => call.json.documentIds as string[])).size).toBe(150);
  }, 60_000);
});

describe('checking knowledge jobs', () => {
  it('shares one request among submissions', async () => {
    const { vendor, harness } = await start();
    vendor.on(routes.status, allCompleted);
    const slow = { ...poll, initialDelayMs: 1_000, maxDelayMs: 1_000 };
    const ids = await Promise.all(
      documentsOf(20).map((jobId) => harness.submit('fini', 'watch', { jobIds: [jobId] }, { poll: slow })),
    );
    for (const id of ids) expect((await harness.event(id)).data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.status).length).toBeLessThan(20);
  });

  it('asks in batches of the configured size', async () => {
    const { vendor } = await start({ account: { statusBatchSize: 3 } });
    vendor.on(routes.status, allCompleted);
    await run('watch', { jobIds: documentsOf(7) });
    expect(vendor.callsTo(routes.status).map((call) => call.json.jobIds.length)).toEqual([3, 3, 1]);
  });

  it('isolates an unknown id among 100 within 16 requests; the others end unharmed, it is lost', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, (call) =>
      (call.json.jobIds as string[]).includes(uuid(37)) ? refusal(404, 'some job is unknown') : allCompleted(call),
    );
    const data = await run('watch', { jobIds: documentsOf(100) });
    expect(data.outcome).toBe('partial');
    const lost = data.vendorJobs.filter((job) => job.outcome === 'lost');
    expect(lost.map((job) => job.id)).toEqual([uuid(37)]);
    expect(lost[0]?.error?.code).toBe('vendor_job_lost');
    expect(vendor.callsTo(routes.status).length).toBeLessThanOrEqual(17);
  });

  it('an unknown id of one submission delays no other by more than a poll', async () => {
    const { vendor, harness } = await start({ graceMs: 3_000 });
    vendor.on(routes.status, (call) =>
      (call.json.jobIds as string[]).includes(uuid(1)) ? refusal(404) : allCompleted(call),
    );
    const submissions = await Promise.all(
      documentsOf(30).map((jobId) => harness.submit('fini', 'watch', { jobIds: [jobId] }, { poll })),
    );
    for (const id of submissions.slice(1)) {
      const { data } = await harness.event(id);
      expect(data.outcome).toBe('succeeded');
      expect(data.polls).toBeLessThanOrEqual(2);
    }
    expect((await harness.event(submissions[0] ?? '')).data.outcome).toBe('lost');
  });

  it('asks once more after a 500, then narrows; the culprit is asked until the deadline, and as long again', async () => {
    const { vendor, harness } = await start();
    vendor.on(routes.status, (call) =>
      (call.json.jobIds as string[]).includes(uuid(5)) ? refusal(500) : allCompleted(call),
    );
    const id = await harness.submit(
      'fini',
      'watch',
      { jobIds: documentsOf(20) },
      { poll: { ...poll, deadlineMs: 3_000 } },
    );
    const { data } = await harness.event(id);
    expect(data.outcome).toBe('expired');
    expect(data.vendorJobs.filter((job) => job.outcome === 'succeeded')).toHaveLength(19);
    const sizes = vendor.callsTo(routes.status).map((call) => call.json.jobIds.length as number);
    expect(sizes.slice(0, 4)).toEqual([20, 20, 10, 10]);
  });

  it('a job left out of the answer is not visible, and comes back', async () => {
    const { vendor } = await start({ graceMs: 5_000 });
    vendor.on(routes.status, { json: { jobs: [] } }, allCompleted);
    expect(await run('watch', { jobIds: [uuid(1)] })).toMatchObject({ outcome: 'succeeded', polls: 2 });
  });

  it('ignores foreign, repeated and broken rows', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, {
      json: {
        jobs: [
          { id: uuid(9), jobStatus: 'FAILED' },
          { id: uuid(1), jobStatus: 'COMPLETED', hcArticleId: 'a', completedAt: 'yesterday' },
          { id: uuid(1), jobStatus: 'IN_PROGRESS' },
          { id: 5, jobStatus: null },
          null,
        ],
      },
    });
    const data = await run('watch', { jobIds: [uuid(1)] });
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ result: { articleId: 'a', draft: null } }] });
  });

  it('takes a row without a status for running', async () => {
    const { vendor } = await start({ graceMs: 0 });
    vendor.on(routes.status, { json: { jobs: [{ id: uuid(1), hcArticleId: null }] } }, allCompleted);
    expect(await run('watch', { jobIds: [uuid(1)] })).toMatchObject({ outcome: 'succeeded', polls: 2 });
  });

  it('takes words in any case, and by its end and its article a job that is over whatever its word', async () => {
    const { vendor } = await start();
    const completedAt = '2026-06-11T12:00:05.000Z';
    const startedAt = '2026-06-11T12:00:01.000Z';
    const rows = [
      { jobStatus: 'completed' },
      { jobStatus: 'Failed' },
      { jobStatus: 'DONE', startedAt, completedAt, hcArticleId: 'article-3' },
      { completedAt, hcArticleId: 'article-4' },
      { jobStatus: 'SAVE_ERROR', completedAt, hcArticleId: 'article-5' },
      { jobStatus: 'SAVING', startedAt, completedAt, hcArticleId: null },
      { jobStatus: 'SAVING', hcArticleId: 'article-7' },
    ].map((row, index) => ({ id: uuid(index + 1), ...row }));
    vendor.on(routes.status, { json: { jobs: rows } });
    const short = { ...poll, deadlineMs: 500 };
    const data = await run('watch', { jobIds: rows.map(({ id }) => id) }, { poll: short });
    expect(data.outcome).toBe('expired');
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual([
      'succeeded',
      'failed',
      'succeeded',
      'succeeded',
      'failed',
      null,
      null,
    ]);
    expect(data.vendorJobs[2]?.result).toEqual({ articleId: 'article-3', draft: null, startedAt, completedAt });
    // What was known when time ran out.
    expect(data.vendorJobs.slice(5).map((job) => job.result)).toEqual([
      { startedAt, completedAt },
      { articleId: 'article-7' },
    ]);
  });

  it('takes an unknown status for running', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, { json: { jobs: [{ id: uuid(1), jobStatus: 'WAITING_FOR_BOT' }] } }, allCompleted);
    expect(await run('watch', { jobIds: [uuid(1)] })).toMatchObject({ outcome: 'succeeded', polls: 2 });
  });

  it('loses an id that the vendor calls malformed', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, (call) =>
      (call.json.jobIds as string[]).includes(uuid(2)) ? refusal(400, 'jobIds is malformed') : allCompleted(call),
    );
    const data = await run('watch', { jobIds: documentsOf(3) });
    expect(data.vendorJobs.map((job) => job.outcome)).toEqual(['succeeded', 'lost', 'succeeded']);
  });
});

describe('the account', () => {
  it.each([
    ['401', refusal(401, 'invalid key', 'Unauthorized'), 'vendor_unauthorized'],
    ['403', refusal(403, 'missing scope', 'Forbidden'), 'vendor_forbidden'],
  ])('is held by a %s and works again when the vendor does', async (_, reply, code) => {
    const { vendor, harness } = await start();
    vendor.on(routes.generate, reply, { json: { backgroundJobId: uuid(1) } }).on(routes.status, allCompleted);
    const input = { candidateKnowledge: 'x', origin: 'generated' };
    const id = await harness.submit('fini', 'knowledge.generate', input, { poll });
    await until(async () => (await harness.record('fini', id))?.includes(code) === true);
    expect((await harness.event(id)).data.outcome).toBe('succeeded');
    expect(vendor.callsTo(routes.generate)).toHaveLength(2);
  });

  it('is held by a 403 on a record when the key can read nothing', async () => {
    const { vendor, workspace, harness } = await start();
    workspace.add(uuid(1));
    let isForbidden = true;
    vendor.on(routes.record, () => (isForbidden ? refusal(403) : undefined));
    vendor.on(routes.list, () => (isForbidden ? refusal(403) : undefined));
    const id = await harness.submit('fini', 'watch', { documentIds: [uuid(1)] }, { poll });
    await until(async () => (await harness.record('fini', id))?.includes('vendor_forbidden') === true);
    isForbidden = false;
    expect((await harness.event(id)).data.outcome).toBe('succeeded');
  });

  it('waits as a 429 asks, and spends no attempt', async () => {
    const { vendor } = await start();
    vendor.on(
      routes.generate,
      { status: 429, headers: { 'retry-after': '1' } },
      { json: { backgroundJobId: uuid(1) } },
    );
    vendor.on(routes.status, { status: 429 }, allCompleted);
    const startedAt = Date.now();
    const data = await run('knowledge.generate', { candidateKnowledge: 'x', origin: 'generated' });
    expect(data.outcome).toBe('succeeded');
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(1_000);
  });

  it('outlives a look-up that fails', async () => {
    const { vendor } = await start();
    vendor.on(routes.status, refusal(503), 'cut', { text: '<html>' }, allCompleted);
    expect((await run('watch', { jobIds: [uuid(1)] })).outcome).toBe('succeeded');
  });

  it('shows no key in event, record or log', async () => {
    const { vendor, harness } = await start();
    vendor.on(routes.generate, ({ headers }) => refusal(400, `bad: ${headers.authorization}`));
    const id = await harness.submit('fini', 'knowledge.generate', { candidateKnowledge: 'x', origin: 'generated' });
    const event = await harness.event(id);
    const seen = JSON.stringify([event, await harness.record('fini', id), await harness.logs('fini', id)]);
    expect(seen).not.toContain('fini_test');
  });
});
