import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';

/** The documented rows of Fini's API, over real HTTP. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const DOCUMENTS = '/v2/documents/public';
const KNOWLEDGE = '/v2/knowledge/public';
const STATUS = `${KNOWLEDGE}/jobs/status`;

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000, vendors: ['fini'] });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

async function http(method: string, url: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Wire };
}
const api = (method: string, path: string, body?: unknown, key = 'fini_test') =>
  http(method, sandbox.finiUrl + path, body, { authorization: `Bearer ${key}` });
const control = async (method: string, path: string, body?: unknown) =>
  (await http(method, `${sandbox.url}/_control${path}`, body)).body;

const seed = async (fields: Record<string, unknown> = {}) =>
  (await control('POST', '/fini/records', fields)).records as Wire[];
const seedOne = async (fields: Record<string, unknown> = {}) => (await seed(fields))[0];
const record = async (id: string) => (await api('GET', `${DOCUMENTS}/${id}`)).body;
const statusOf = async (jobIds: readonly string[]) => (await api('POST', STATUS, { jobIds })).body.jobs as Wire[];
const ids = (rows: readonly Wire[]) => rows.map((row) => row.id as string);

async function ended(id: string): Promise<Wire> {
  await expect
    .poll(async () => (await record(id)).linkedJobStatus, { interval: 3, timeout: 5_000 })
    .toMatch(/^(COMPLETED|FAILED)$/);
  return record(id);
}
async function jobEnded(id: string): Promise<Wire> {
  await expect
    .poll(async () => (await statusOf([id]))[0]?.jobStatus, { interval: 3, timeout: 5_000 })
    .toMatch(/^(COMPLETED|FAILED)$/);
  return (await statusOf([id]))[0];
}

describe('keys and scopes', () => {
  const reads = [
    ['GET', DOCUMENTS],
    ['GET', `${DOCUMENTS}/${randomUUID()}`],
    ['GET', `${DOCUMENTS}/resources/notion`],
    ['POST', STATUS],
  ] as const;
  const writes = [
    ['POST', DOCUMENTS],
    ['POST', `${DOCUMENTS}/refresh`],
    ['POST', `${DOCUMENTS}/resources/notion`],
    ['POST', `${DOCUMENTS}/deep-crawl/links`],
    ['DELETE', DOCUMENTS],
    ['POST', KNOWLEDGE],
    ['POST', `${KNOWLEDGE}/bulk`],
  ] as const;
  const send = ([method, path]: readonly [string, string], key: string) =>
    api(method, path, method === 'GET' ? undefined : {}, key);

  test.each([...reads, ...writes])('%s %s answers 401 to a key that will not do', async (method, path) => {
    for (const key of ['fini_bad_1', 'sk_other', '']) {
      expect(await send([method, path], key)).toMatchObject({
        status: 401,
        body: { statusCode: 401, message: expect.any(String), error: 'Unauthorized' },
      });
    }
    const keyless = await http(method, sandbox.finiUrl + path, method === 'GET' ? undefined : {});
    expect(keyless.status).toBe(401);
  });

  test.each(writes)('%s %s wants the write scope', async (method, path) => {
    expect(await send([method, path], 'fini_read_1')).toMatchObject({
      status: 403,
      body: { statusCode: 403, error: 'Forbidden' },
    });
    expect((await send([method, path], 'fini_write_1')).status).toBe(400);
  });

  test.each(reads)('%s %s wants the read scope, the POST too', async (method, path) => {
    expect((await send([method, path], 'fini_write_1')).status).toBe(403);
    expect((await send([method, path], 'fini_read_1')).status).not.toBe(403);
  });

  test('a workspace does not see another one', async () => {
    const { id } = await seedOne({ workspace: 'anna' });
    const { backgroundJobId } = (
      await api('POST', KNOWLEDGE, { candidateKnowledge: 'x', origin: 'generated' }, 'fini_k_ws-anna')
    ).body;
    expect((await api('GET', `${DOCUMENTS}/${id as string}`, undefined, 'fini_k_ws-anna')).status).toBe(200);
    expect((await api('GET', `${DOCUMENTS}/${id as string}`)).status).toBe(403);
    expect((await api('GET', DOCUMENTS)).body.documents).toEqual([]);
    expect((await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [id] })).status).toBe(403);
    expect((await api('POST', `${KNOWLEDGE}/bulk`, { documentIds: [id], origin: 'sources' })).status).toBe(403);
    expect((await api('DELETE', DOCUMENTS, { documentIds: [id] })).status).toBe(403);
    expect((await api('POST', STATUS, { jobIds: [backgroundJobId] })).status).toBe(404);
  });

  test('an unknown path is 404 in the envelope', async () => {
    expect(await api('GET', '/v2/sources')).toMatchObject({
      status: 404,
      body: { statusCode: 404, message: 'Cannot GET /v2/sources', error: 'Not Found' },
    });
  });
});

describe('A: queue ingestion', () => {
  test('answers ids of records, no job and no URL', async () => {
    const urls = ['https://e.com/a', 'https://e.com/b'];
    const { status, body } = await api('POST', DOCUMENTS, { source: 'web', documentIdsToAdd: urls });
    expect(status).toBe(200);
    expect(body).toEqual({
      addedDocumentIds: [expect.stringMatching(UUID), expect.stringMatching(UUID)],
      updatedDocumentIds: [],
    });
    const [entry] = sandbox.ledger.entries({ route: 'ingest' });
    expect(entry).toMatchObject({ kind: 'create', jobCreated: true, idCount: 2, source: urls.join(' ') });
    expect(sandbox.ledger.creates('source')).toEqual([
      { key: urls.join(' '), requests: 1, jobIds: entry?.jobIds as string[] },
    ]);
    expect(sandbox.ledger.summary().jobsCreated).toBe(2);
  });

  test('the record goes PENDING, IN_PROGRESS, COMPLETED and holds text then', async () => {
    sandbox.setSpeed(0.001);
    const { addedDocumentIds } = (await api('POST', DOCUMENTS, { documentIdsToAdd: ['https://e.com/page'] })).body;
    const id = addedDocumentIds[0] as string;
    const first = await record(id);
    expect(first).toEqual({
      id,
      originalUrl: 'https://e.com/page',
      title: 'page',
      storageUrl: expect.stringMatching(/^gs:\/\//),
      externalId: expect.any(String),
      mimeType: 'text/markdown',
      type: 'page',
      source: 'web',
      english: true,
      baser: false,
      paragraphs: [],
      oldParagraphs: [],
      success: false,
      error: '',
      createdAt: expect.stringMatching(TIME),
      updatedAt: expect.stringMatching(TIME),
      linkedJobId: expect.stringMatching(UUID),
      linkedJobStatus: 'PENDING',
      linkedKnowledgeId: null,
      linkedOperation: null,
      linkedReason: null,
      changed: false,
    });
    const seen = new Set(['PENDING']);
    sandbox.setSpeed(30);
    await expect
      .poll(
        async () => {
          const { linkedJobStatus } = await record(id);
          seen.add(linkedJobStatus as string);
          return linkedJobStatus;
        },
        { interval: 5, timeout: 5_000 },
      )
      .toBe('COMPLETED');
    expect([...seen]).toEqual(['PENDING', 'IN_PROGRESS', 'COMPLETED']);
    const last = await record(id);
    expect(last).toMatchObject({ success: true, error: '', linkedJobId: first.linkedJobId });
    expect(last.paragraphs.length).toBeGreaterThan(0);
    expect(Date.parse(last.updatedAt as string)).toBeGreaterThan(Date.parse(first.updatedAt as string));
  });

  test.each([
    ['no ids at all', { source: 'web' }],
    ['two empty lists', { documentIdsToAdd: [], documentIdsToRefresh: [] }],
    ['an unsupported source', { source: 'files', documentIdsToAdd: ['x'] }],
    ['ids where web wants URLs', { source: 'web', documentIdsToAdd: [randomUUID()] }],
    ['ids to refresh where web wants URLs', { source: 'web', documentIdsToRefresh: [randomUUID()] }],
    ['URLs where a provider wants ids', { source: 'notion', documentIdsToAdd: ['https://e.com/a'] }],
    ['an unknown id', { source: 'notion', documentIdsToAdd: [randomUUID()] }],
    ['an unknown URL to refresh', { documentIdsToRefresh: ['https://e.com/never'] }],
    ['a list that is none', { documentIdsToAdd: 'https://e.com/a' }],
    ['a body that is no JSON', '{'],
  ])('refuses %s with 400 and queues nothing', async (_what, body) => {
    const answer = await api('POST', DOCUMENTS, body);
    expect(answer).toMatchObject({ status: 400, body: { statusCode: 400, error: 'Bad Request' } });
    expect(sandbox.jobs().total).toBe(0);
  });

  test('a body without a JSON content type is no body', async () => {
    const headers = { authorization: 'Bearer fini_test', 'content-type': 'text/plain' };
    const body = JSON.stringify({ documentIdsToAdd: ['https://e.com/a'] });
    expect((await http('POST', sandbox.finiUrl + DOCUMENTS, body, headers)).status).toBe(400);
  });

  test('add and refresh go together; a known URL is an update', async () => {
    await seed({ originalUrl: 'https://e.com/known' });
    await seed({ originalUrl: 'https://e.com/old' });
    const { body } = await api('POST', DOCUMENTS, {
      documentIdsToAdd: ['https://e.com/new', 'https://e.com/new', 'https://e.com/known'],
      documentIdsToRefresh: ['https://e.com/old'],
      english: false,
      baser: true,
    });
    expect([body.addedDocumentIds.length, body.updatedDocumentIds.length]).toEqual([1, 2]);
    expect(await record(body.addedDocumentIds[0])).toMatchObject({ english: false, baser: true });
  });

  test.each([
    ['ignore', [0, 0]],
    ['duplicate', [1, 0]],
  ])('a known URL can also be taken as: %s', async (addKnownUrl, counts) => {
    sandbox.setLimits({ addKnownUrl }, 'fini');
    await seed({ originalUrl: 'https://e.com/known' });
    const { body } = await api('POST', DOCUMENTS, { documentIdsToAdd: ['https://e.com/known'] });
    expect([body.addedDocumentIds.length, body.updatedDocumentIds.length]).toEqual(counts);
  });

  test('provider sources take record ids, of that provider only', async () => {
    for (const source of ['googledrive', 'notion', 'zendesk', 'confluence']) {
      const { id } = await seedOne({ source, status: null });
      expect((await api('POST', DOCUMENTS, { source, documentIdsToAdd: [id] })).body).toEqual({
        addedDocumentIds: [id],
        updatedDocumentIds: [],
      });
      expect((await api('POST', DOCUMENTS, { source, documentIdsToRefresh: [id] })).body.updatedDocumentIds).toEqual([
        id,
      ]);
      const other = source === 'notion' ? 'zendesk' : 'notion';
      expect((await api('POST', DOCUMENTS, { source: other, documentIdsToAdd: [id] })).status).toBe(400);
    }
  });
});

describe('B: refresh', () => {
  test('answers a bare array and starts a new run', async () => {
    const before = await seedOne();
    const { status, body } = await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [before.id, before.id] });
    expect([status, body]).toEqual([200, [before.id]]);
    const after = await record(before.id);
    expect(after.linkedJobId).not.toBe(before.linkedJobId);
    expect(after.updatedAt).not.toBe(before.updatedAt);
    expect((await ended(before.id)).linkedJobStatus).toBe('COMPLETED');
  });

  test.each([
    ['nothing', {}],
    ['an empty list', { documentIds: [] }],
    ['a list of no strings', { documentIds: [1] }],
  ])('refuses %s with 400', async (_what, body) => {
    expect((await api('POST', `${DOCUMENTS}/refresh`, body)).status).toBe(400);
  });

  test('one unknown id or raw file refuses all, and nothing is queued', async () => {
    const good = await seedOne();
    const file = await seedOne({ source: 'files' });
    const jobs = sandbox.jobs().total;
    for (const bad of [randomUUID(), file.id]) {
      expect((await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [good.id, bad] })).status).toBe(400);
    }
    expect(sandbox.jobs().total).toBe(jobs);
  });

  test('the former run may show on for a while, and the job id may stay', async () => {
    sandbox.setSpeed(0.001);
    sandbox.setLimits({ staleAfterRefreshMs: 10_000, refreshKeepsJobId: true }, 'fini');
    const before = await seedOne();
    await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [before.id] });
    expect(await record(before.id)).toMatchObject({
      linkedJobStatus: 'COMPLETED',
      updatedAt: before.updatedAt,
      linkedJobId: before.linkedJobId,
    });
    sandbox.setSpeed(100);
    await expect.poll(async () => (await record(before.id)).linkedJobStatus, { interval: 3 }).not.toBe('COMPLETED');
    const after = await ended(before.id);
    expect(after.linkedJobId).toBe(before.linkedJobId);
    expect(after.updatedAt).not.toBe(before.updatedAt);
  });

  test('a newer run takes the place of one under way', async () => {
    sandbox.setSpeed(0.001);
    const { id, linkedJobId } = await seedOne({ status: 'PENDING' });
    await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [id] });
    expect(sandbox.job(linkedJobId as string)).toMatchObject({ status: 'SUPERSEDED', isTerminal: true });
    expect((await record(id)).linkedJobId).not.toBe(linkedJobId);
  });
});

describe('C: list', () => {
  const page = async (query: string) => (await api('GET', `${DOCUMENTS}?${query}`)).body;

  test('newest first, 50 by default, walked by the last id', async () => {
    await seed({ count: 120 });
    const first = (await api('GET', DOCUMENTS)).body;
    expect(first).toMatchObject({ hasMore: true });
    expect(Object.keys(first as object)).toEqual(['documents', 'hasMore']);
    expect(first.documents).toHaveLength(50);
    const seen = new Set(ids(first.documents));
    let rows = first.documents as Wire[];
    let hasMore = true;
    while (hasMore) {
      const next = await page(`cursor=${rows.at(-1).id as string}&direction=next`);
      rows = next.documents;
      for (const id of ids(rows)) seen.add(id);
      hasMore = next.hasMore;
    }
    expect(seen.size).toBe(120);
    const keys = first.documents.map((row: Wire) => `${row.updatedAt as string} ${row.externalId as string}`);
    expect(keys).toEqual([...keys].sort().reverse());
  });

  test('`previous` walks towards newer rows', async () => {
    await seed({ count: 10 });
    const all = ids((await page('limit=10')).documents);
    expect(ids((await page(`limit=2&cursor=${all[5] as string}&direction=previous`)).documents)).toEqual(
      all.slice(3, 5),
    );
    const newest = await page(`limit=5&cursor=${all[2] as string}&direction=previous`);
    expect([ids(newest.documents), newest.hasMore]).toEqual([all.slice(0, 2), false]);
  });

  test('filters by source, english, changed, title, URL, id, knowledge and operation', async () => {
    const [web] = await seed({ originalUrl: 'https://e.com/Refunds', title: 'Refund Policy', changed: true });
    const [notion] = await seed({ source: 'notion', english: false, isLinked: true, title: 'Other' });
    const found = async (query: string) => ids((await page(query)).documents);
    expect(await found('source=web')).toEqual([web.id]);
    expect(await found('english=false')).toEqual([notion.id]);
    expect(await found('changed=true')).toEqual([web.id]);
    expect(await found('changed=true&source=notion')).toEqual([]);
    expect(await found('title=refund')).toEqual([web.id]);
    expect(await found('originalUrl=REFUNDS')).toEqual([web.id]);
    expect(await found(`id=${notion.id as string}`)).toEqual([notion.id]);
    expect(await found(`linkedKnowledgeId=${notion.linkedKnowledgeId as string}`)).toEqual([notion.id]);
    expect(await found('linkedOperation=ADD_ARTICLE_TO_FOLDER')).toEqual([notion.id]);
  });

  test.each(['limit=0', 'limit=x', 'source=ftp', 'changed=yes', 'direction=up', `cursor=${randomUUID()}`])(
    'refuses %s with 400',
    async (query) => {
      expect((await api('GET', `${DOCUMENTS}?${query}`)).status).toBe(400);
    },
  );

  test('a record that is worked on moves to the front under the walker', async () => {
    await seed({ count: 6 });
    const first = ids((await page('limit=3')).documents);
    const all = ids((await page('limit=6')).documents);
    await api('POST', `${DOCUMENTS}/refresh`, { documentIds: [all[3]] });
    await ended(all[3] as string);
    const second = ids((await page(`limit=3&cursor=${first[2] as string}`)).documents);
    // The moved record was on neither page.
    expect([...first, ...second]).not.toContain(all[3]);
  });
});

describe('D: one record', () => {
  test('400 for no UUID, 404 for an unknown one', async () => {
    expect(await api('GET', `${DOCUMENTS}/not-a-uuid`)).toMatchObject({ status: 400, body: { error: 'Bad Request' } });
    expect(await api('GET', `${DOCUMENTS}/${randomUUID()}`)).toMatchObject({ status: 404, body: { statusCode: 404 } });
  });

  test('a registered record has no run: null, or no field', async () => {
    const { id } = await seedOne({ source: 'notion', status: null });
    expect(await record(id)).toMatchObject({ linkedJobId: null, linkedJobStatus: null, success: false });
    sandbox.setLimits({ unsetFields: 'omitted' }, 'fini');
    expect(await record(id)).not.toHaveProperty('linkedJobStatus');
  });
});

describe('E, F, G, H: resources, crawl, delete', () => {
  test('resources are found, registered, queued, and then not found any more', async () => {
    const path = `${DOCUMENTS}/resources/notion`;
    const resources = (await api('GET', path)).body as Wire[];
    expect(resources[0]).toEqual({
      externalId: expect.any(String),
      title: expect.any(String),
      originalUrl: expect.any(String),
      mimeType: 'text/markdown',
      iconLink: null,
      object: 'page',
    });
    const { body } = await api('POST', path, { resources });
    expect(body).toEqual({
      addedDocumentIds: [expect.any(String), expect.any(String), expect.any(String)],
      updatedDocumentIds: [],
    });
    expect(sandbox.jobs().total).toBe(0);
    expect((await record(body.addedDocumentIds[0])).linkedJobStatus).toBeNull();
    expect((await api('POST', path, { resources })).body).toEqual({
      addedDocumentIds: [],
      updatedDocumentIds: body.addedDocumentIds,
    });
    const [id] = body.addedDocumentIds as string[];
    await api('POST', DOCUMENTS, { source: 'notion', documentIdsToAdd: [id] });
    await ended(id as string);
    expect((await api('GET', path)).body).toHaveLength(2);
  });

  test('every provider has a shape of its own; others and the unconnected are 400', async () => {
    expect((await api('GET', `${DOCUMENTS}/resources/zendesk`)).body[0].sections[0].articles).toHaveLength(3);
    expect((await api('GET', `${DOCUMENTS}/resources/confluence`)).body[0].pages).toHaveLength(3);
    expect((await api('GET', `${DOCUMENTS}/resources/googledrive`)).status).toBe(400);
    sandbox.setLimits({ connectedProviders: ['notion'] }, 'fini');
    expect((await api('GET', `${DOCUMENTS}/resources/zendesk`)).status).toBe(400);
    const item = { originalUrl: 'https://n.com/a', title: 'A', externalId: 'a' };
    expect((await api('POST', `${DOCUMENTS}/resources/notion`, { resources: [item] })).status).toBe(400);
  });

  test('crawl answers URLs at once, at most `limit`', async () => {
    const path = `${DOCUMENTS}/deep-crawl/links`;
    const { status, body } = await api('POST', path, { links: ['https://e.com'], limit: 3 });
    expect([status, body]).toEqual([
      200,
      { data: ['https://e.com', 'https://e.com/page-1', 'https://e.com/page-2'], message: expect.any(String) },
    ]);
    expect((await api('POST', path, { links: [] })).status).toBe(400);
  });

  test('delete takes all or nothing, articles when asked', async () => {
    const { id } = await seedOne();
    const { jobs } = (await api('POST', `${KNOWLEDGE}/bulk`, { documentIds: [id], origin: 'sources' })).body;
    const { hcArticleId } = await jobEnded(jobs[0].backgroundJobId);
    expect((await api('DELETE', DOCUMENTS, { documentIds: [id, randomUUID()] })).status).toBe(400);
    expect((await api('DELETE', DOCUMENTS, { documentIds: [id], deleteArticles: true })).body).toEqual({
      deletedDocuments: [id],
      deletedArticles: [hcArticleId],
    });
    expect((await api('GET', `${DOCUMENTS}/${id as string}`)).status).toBe(404);
  });
});

describe('I: generate', () => {
  test('answers one job id, and the job makes an article', async () => {
    const { status, body } = await api('POST', KNOWLEDGE, {
      candidateKnowledge: 'Refunds take 5 days',
      origin: 'generated',
    });
    expect([status, body]).toEqual([200, { backgroundJobId: expect.stringMatching(UUID) }]);
    expect(await jobEnded(body.backgroundJobId)).toEqual({
      id: body.backgroundJobId,
      jobStatus: 'COMPLETED',
      createdAt: expect.stringMatching(TIME),
      startedAt: expect.stringMatching(TIME),
      completedAt: expect.stringMatching(TIME),
      hcArticleId: expect.stringMatching(UUID),
    });
    expect(sandbox.ledger.creates('source')).toEqual([
      { key: 'Refunds take 5 days', requests: 1, jobIds: [body.backgroundJobId] },
    ]);
  });

  test.each([
    ['no text', { origin: 'generated' }],
    ['an unknown origin', { candidateKnowledge: 'x', origin: 'elsewhere' }],
    ['sources without documentId', { candidateKnowledge: 'x', origin: 'sources' }],
    ['inbox without hcEventId', { candidateKnowledge: 'x', origin: 'inbox' }],
    ['an unknown operation', { candidateKnowledge: 'x', origin: 'generated', restrictedOps: ['DELETE'] }],
    ['an unknown document', { candidateKnowledge: 'x', origin: 'sources', documentId: randomUUID() }],
  ])('refuses %s with 400', async (_what, body) => {
    expect((await api('POST', KNOWLEDGE, body)).status).toBe(400);
    expect(sandbox.jobs().total).toBe(0);
  });

  test('the origins sources and inbox; drafts unless told otherwise', async () => {
    const { id } = await seedOne({ changed: true, isLinked: true });
    const one = await api('POST', KNOWLEDGE, { candidateKnowledge: 'x', origin: 'sources', documentId: id });
    const two = await api('POST', KNOWLEDGE, {
      candidateKnowledge: 'x',
      origin: 'inbox',
      hcEventId: 'e1',
      isDraft: false,
    });
    await jobEnded(one.body.backgroundJobId);
    await jobEnded(two.body.backgroundJobId);
    expect(await record(id)).toMatchObject({ changed: false, linkedOperation: 'UPDATE_ARTICLE' });
    const { saves } = await control('GET', '/fini/saves');
    expect(saves.map((save: Wire) => [save.documentId, save.operation, save.isDraft])).toEqual(
      expect.arrayContaining([
        [id, 'UPDATE_ARTICLE', true],
        [null, 'ADD_ARTICLE_TO_FOLDER', false],
      ]),
    );
  });
});

describe('J: bulk generate', () => {
  const bulk = (documentIds: readonly string[], more = {}) =>
    api('POST', `${KNOWLEDGE}/bulk`, { documentIds, origin: 'sources', ...more });

  test('one job per document; a save links the record and clears `changed`', async () => {
    const records = await seed({ count: 3, isLinked: true, changed: true });
    const { status, body } = await bulk(ids(records));
    expect(status).toBe(200);
    expect(body.jobs.map((job: Wire) => job.documentId)).toEqual(ids(records));
    expect(sandbox.ledger.entries({ route: 'bulk' })).toMatchObject([{ jobCreated: true, idCount: 3 }]);
    for (const { documentId, backgroundJobId } of body.jobs) {
      const before = records.find((row) => row.id === documentId);
      expect(await record(documentId)).toMatchObject({ linkedJobId: before.linkedJobId });
      expect((await jobEnded(backgroundJobId)).hcArticleId).toBe(before.linkedKnowledgeId);
      expect(await record(documentId)).toMatchObject({ changed: false, linkedKnowledgeId: before.linkedKnowledgeId });
    }
  });

  test('`changed` is cleared by the save only, not by the request', async () => {
    sandbox.setSpeed(0.001);
    const { id } = await seedOne({ changed: true, isLinked: true });
    const { jobs } = (await bulk([id])).body;
    expect((await record(id)).changed).toBe(true);
    sandbox.finishJob(jobs[0].backgroundJobId, { outcome: 'failed' });
    expect((await record(id)).changed).toBe(true);
    const again = (await bulk([id])).body.jobs[0].backgroundJobId as string;
    sandbox.finishJob(again, { outcome: 'done' });
    expect((await record(id)).changed).toBe(false);
  });

  test.each([
    ['nothing', {}],
    ['an empty list', { documentIds: [], origin: 'sources' }],
    ['another origin', { documentIds: [randomUUID()], origin: 'generated' }],
    ['no origin', { documentIds: [randomUUID()] }],
    ['an unknown id', { documentIds: [randomUUID()], origin: 'sources' }],
  ])('refuses %s with 400', async (_what, body) => {
    expect((await api('POST', `${KNOWLEDGE}/bulk`, body)).status).toBe(400);
  });

  test('unknown ids can be left out or fail, instead', async () => {
    const { id } = await seedOne();
    const unknown = randomUUID();
    sandbox.setLimits({ bulkUnknownIds: 'leave-out' }, 'fini');
    expect((await bulk([id, unknown])).body.jobs).toHaveLength(1);
    sandbox.setLimits({ bulkUnknownIds: 'fail' }, 'fini');
    const { jobs } = (await bulk([unknown])).body;
    expect(await statusOf([jobs[0].backgroundJobId])).toMatchObject([{ jobStatus: 'FAILED', hcArticleId: null }]);
  });

  test('DO_NOTHING alone saves nothing, but for a no-op draft; a source never ingested fails', async () => {
    const { id } = await seedOne({ changed: true, isLinked: true });
    for (const isDraft of [true, false]) {
      const nothing = (await bulk([id], { restrictedOps: ['DO_NOTHING'], isDraft })).body.jobs[0];
      expect(await jobEnded(nothing.backgroundJobId)).toMatchObject({ jobStatus: 'COMPLETED', hcArticleId: null });
    }
    expect((await record(id)).changed).toBe(true);
    const { saves } = await control('GET', '/fini/saves');
    expect(saves).toMatchObject([{ documentId: id, operation: 'DO_NOTHING', articleId: null, isDraft: true }]);
    const raw = await seedOne({ source: 'notion', status: null });
    expect((await jobEnded((await bulk([raw.id])).body.jobs[0].backgroundJobId)).jobStatus).toBe('FAILED');
  });
});

describe('K: check jobs', () => {
  const start = async (count: number) => ids((await control('POST', '/fini/jobs', { count })).jobs as Wire[]);

  test('rows for all, in an order of their own, timestamps only when known', async () => {
    sandbox.setSpeed(0.001);
    const jobIds = await start(30);
    const rows = await statusOf(jobIds);
    expect(new Set(ids(rows))).toEqual(new Set(jobIds));
    expect(ids(rows)).not.toEqual(jobIds);
    expect(rows[0]).toEqual({
      id: expect.any(String),
      jobStatus: 'PENDING',
      createdAt: expect.stringMatching(TIME),
      hcArticleId: null,
    });
    sandbox.setSpeed(300_000);
    await expect.poll(async () => (await statusOf(jobIds))[0]?.jobStatus, { interval: 2 }).toBe('COMPLETED');
    expect(sandbox.ledger.entries({ route: 'status' })[0]).toMatchObject({ kind: 'lookup', idCount: 30, jobIds });
    expect(sandbox.ledger.lookups(jobIds[0] as string).length).toBe(sandbox.job(jobIds[0] as string)?.lookups);
  });

  test('IN_PROGRESS has a start and no end', async () => {
    const candidateKnowledge = 'A text .fault-in-progress-forever with a marker';
    const [job] = (await control('POST', '/fini/jobs', { candidateKnowledge })).jobs as Wire[];
    await expect.poll(async () => (await statusOf([job.id]))[0]?.jobStatus, { interval: 1 }).toBe('IN_PROGRESS');
    const [row] = await statusOf([job.id]);
    expect(row).toHaveProperty('startedAt');
    expect(row).not.toHaveProperty('completedAt');
  });

  test('one unknown id fails the whole batch, and the answer does not name it', async () => {
    const jobIds = await start(5);
    const { linkedJobId } = await seedOne();
    for (const bad of [randomUUID(), 'no-uuid', linkedJobId as string]) {
      const answer = await api('POST', STATUS, { jobIds: [...jobIds, bad] });
      expect(answer).toMatchObject({ status: 404, body: { statusCode: 404, error: 'Not Found' } });
      expect(JSON.stringify(answer.body)).not.toContain(bad);
    }
    expect(await statusOf(jobIds)).toHaveLength(5);
  });

  test.each([
    ['nothing', {}],
    ['an empty list', { jobIds: [] }],
    ['numbers', { jobIds: [1] }],
    ['a body that is no JSON', 'jobIds'],
  ])('refuses %s with 400', async (_what, body) => {
    const answer = await api('POST', STATUS, body);
    expect(answer.status).toBe(400);
    expect(Array.isArray(answer.body.message)).toBe(true);
  });

  test('an id asked twice has one row', async () => {
    const [id] = await start(1);
    expect(await statusOf([id as string, id as string])).toHaveLength(1);
  });
});

describe('settings', () => {
  test('errors can have strings or arrays everywhere, creates 201', async () => {
    sandbox.setLimits({ messageForm: 'string', postStatus: 201 }, 'fini');
    expect(typeof (await api('POST', STATUS, {})).body.message).toBe('string');
    expect((await api('POST', KNOWLEDGE, { candidateKnowledge: 'x', origin: 'generated' })).status).toBe(201);
    sandbox.setLimits({ messageForm: 'array' }, 'fini');
    expect((await api('GET', DOCUMENTS, undefined, 'fini_bad')).body.message).toEqual([expect.any(String)]);
  });

  test('limits on requests and ids are off until set', async () => {
    sandbox.setLimits({ requestsPerMinute: 2, minuteMs: 3_600_000, throttleHint: 'both', maxStatusIds: 1 }, 'fini');
    const answers = [await api('GET', DOCUMENTS), await api('GET', DOCUMENTS), await api('GET', DOCUMENTS)];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429]);
    const wait = Number(answers[2]?.headers.get('retry-after'));
    expect(wait).toBeGreaterThan(0);
    expect(answers[2]?.body).toMatchObject({ statusCode: 429, retryAfter: wait });
    expect((await api('GET', DOCUMENTS, undefined, 'fini_other')).status).toBe(200);
    sandbox.setLimits({ requestsPerMinute: null, maxBulkIds: 1, maxListLimit: 1 }, 'fini');
    expect((await api('POST', STATUS, { jobIds: ['a', 'b'] })).status).toBe(400);
    expect((await api('POST', `${KNOWLEDGE}/bulk`, { documentIds: ['a', 'b'], origin: 'sources' })).status).toBe(400);
    await seed({ count: 2 });
    expect((await api('GET', `${DOCUMENTS}?limit=9`)).body).toMatchObject({ documents: [{}], hasMore: true });
  });

  test('bad ones are refused', async () => {
    expect(() => sandbox.setLimits({ nope: 1 }, 'fini')).toThrow(/nope/);
    const answer = await http('POST', `${sandbox.url}/_control/limits`, { vendor: 'fini', minuteMs: 1 });
    expect(answer.status).toBe(400);
  });
});

describe('control', () => {
  test('records are seeded, changed, removed', async () => {
    const [pending] = await seed({ records: [{ status: 'PENDING', title: 'P' }, { status: 'FAILED' }] });
    expect(pending).toMatchObject({ linkedJobStatus: 'PENDING', title: 'P' });
    const { records } = await control('GET', '/fini/records');
    expect(records).toHaveLength(2);
    expect(records[1]).toMatchObject({ linkedJobStatus: 'FAILED', success: false, error: expect.stringMatching(/./) });
    const path = `/fini/records/${records[1].id as string}`;
    expect(await control('POST', path, { changed: true, linkedKnowledgeId: 'a1' })).toMatchObject({
      changed: true,
      linkedKnowledgeId: 'a1',
    });
    expect(await control('GET', path)).toMatchObject({ changed: true });
    await control('DELETE', path);
    expect((await api('GET', `${DOCUMENTS}/${records[1].id as string}`)).status).toBe(404);
    expect((await control('POST', path, {})).sandbox.error).toContain('no record');
    expect((await control('POST', '/fini/records', { titel: 'misspelt' })).sandbox.error).toEqual(expect.any(String));
  });

  test('jobs are shown and ended by record id or job id', async () => {
    sandbox.setSpeed(0.001);
    const { id } = await seedOne({ status: 'PENDING', originalUrl: 'https://e.com/x' });
    expect(sandbox.job(id)).toMatchObject({ vendor: 'fini', status: 'PENDING', dataId: id, source: 'https://e.com/x' });
    expect(sandbox.finishJob(id, { outcome: 'failed', message: 'by hand' })).toBe(true);
    expect(await record(id)).toMatchObject({ linkedJobStatus: 'FAILED', success: false, error: 'by hand' });
    expect(sandbox.finishJob(id, { outcome: 'done' })).toBe(false);
    const { jobs } = await control('POST', '/fini/jobs', { count: 2, documentId: id });
    expect(sandbox.finishJob(jobs[0].id, { outcome: 'failed', code: 'ERROR' })).toBe(true);
    expect(sandbox.jobs({ vendor: 'fini', isTerminal: false, dataId: id }).total).toBe(1);
    expect(sandbox.jobs({ status: 'ERROR' }).jobs).toMatchObject([{ id: jobs[0].id, lookups: 0 }]);
  });

  test('thousands of jobs need no timers and answer quickly', async () => {
    sandbox.setSpeed(1);
    const records = await seed({ count: 5_000 });
    const startedAt = performance.now();
    const { jobs } = (await api('POST', `${KNOWLEDGE}/bulk`, { documentIds: ids(records), origin: 'sources' })).body;
    const jobIds = jobs.map((job: Wire) => job.backgroundJobId as string) as string[];
    for (let at = 0; at < jobIds.length; at += 100) {
      expect(await statusOf(jobIds.slice(at, at + 100))).toHaveLength(100);
    }
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(50);
    sandbox.setSpeed(1e6);
    await expect.poll(() => sandbox.jobs({ isTerminal: false }).total).toBe(0);
  });
});
