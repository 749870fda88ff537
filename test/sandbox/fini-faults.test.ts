import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startSandbox, UnknownFaultError, type Sandbox } from '../../sandbox/index.ts';

/** Every fault of Fini strikes as the table says; one case each, and a last test counts them. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
const DOCUMENTS = '/v2/documents/public';
const KNOWLEDGE = '/v2/knowledge/public';
const STATUS = `${KNOWLEDGE}/jobs/status`;

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000, vendors: ['fini'] });
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

/** One request; null when the connection ended without an answer, `timeout` when none came in time. */
async function ask(method: string, path: string, body?: unknown, timeoutMs = 5_000) {
  try {
    const response = await fetch(sandbox.finiUrl + path, {
      method,
      headers: { authorization: 'Bearer fini_test', 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const { status, headers } = response;
    const text = await response.text();
    return { status, headers, text, json: (): Wire => JSON.parse(text) };
  } catch (error) {
    return (error as Error).name === 'TimeoutError' ? ('timeout' as const) : null;
  }
}
async function answered(method: string, path: string, body?: unknown) {
  const answer = await ask(method, path, body);
  if (answer === null || answer === 'timeout') throw new Error(`no answer: ${String(answer)}`);
  return answer;
}
const statusCode = (answer: Awaited<ReturnType<typeof ask>>) =>
  answer === null || answer === 'timeout' ? answer : answer.status;

const page = (marker: string, name = 'page') =>
  `https://e.com/${name}${marker === '' ? '' : `?sandbox=${marker}&n=${randomUUID()}`}`;
const ingest = (...urls: string[]) => answered('POST', DOCUMENTS, { documentIdsToAdd: urls });
const ingested = async (marker = '') => ((await ingest(page(marker))).json().addedDocumentIds as string[])[0] as string;
const refresh = (...documentIds: string[]) => answered('POST', `${DOCUMENTS}/refresh`, { documentIds });
const generate = (marker = '') =>
  answered('POST', KNOWLEDGE, {
    candidateKnowledge: `Some text ${marker === '' ? '' : `.fault-${marker}`} and more ${randomUUID()}`,
    origin: 'generated',
  });
const generated = async (marker?: string) => (await generate(marker)).json().backgroundJobId as string;
const bulk = (documentIds: readonly string[]) =>
  answered('POST', `${KNOWLEDGE}/bulk`, { documentIds, origin: 'sources' });
const check = (...jobIds: string[]) => answered('POST', STATUS, { jobIds });
const rows = async (...jobIds: string[]) => (await check(...jobIds)).json().jobs as Wire[];
const record = async (id: string) => (await answered('GET', `${DOCUMENTS}/${id}`)).json();
const seed = async (fields: Record<string, unknown> = {}) => {
  const url = `${sandbox.url}/_control/fini/records`;
  const answer = (await (await fetch(url, { method: 'POST', body: JSON.stringify(fields) })).json()) as Wire;
  return answer.records as Wire[];
};
const ids = (found: readonly Wire[]) => found.map((row) => row.id as string);

async function ended(id: string): Promise<Wire> {
  await expect.poll(() => sandbox.job(id)?.isTerminal, { interval: 3, timeout: 5_000 }).toBe(true);
  return record(id);
}
async function jobEnded(id: string): Promise<Wire> {
  await expect.poll(() => sandbox.job(id)?.isTerminal, { interval: 3, timeout: 5_000 }).toBe(true);
  return (await rows(id))[0];
}
const jobCount = () => sandbox.jobs().total;

const cases: Record<string, (fault: string) => Promise<void>> = {
  duration: async (fault) => {
    const startedAt = Date.now();
    await jobEnded(await generated(`${fault}--1000000`));
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(90);
  },
  'done-after': async (fault) => {
    sandbox.setSpeed(0.001);
    const [document, job] = [await ingested(`${fault}--4`), await generated(`${fault}--2`)];
    const seen = [];
    for (let n = 0; n < 5; n += 1) seen.push((await record(document)).linkedJobStatus);
    expect(seen).toEqual(['PENDING', 'IN_PROGRESS', 'IN_PROGRESS', 'COMPLETED', 'COMPLETED']);
    expect([(await rows(job))[0]?.jobStatus, (await rows(job))[0]?.jobStatus]).toEqual(['IN_PROGRESS', 'COMPLETED']);
  },
  'not-found-first': async (fault) => {
    const [document, job] = [await ingested(`${fault}--1`), await generated(`${fault}--2`)];
    expect((await answered('GET', `${DOCUMENTS}/${document}`)).status).toBe(404);
    expect((await answered('GET', `${DOCUMENTS}/${document}`)).status).toBe(200);
    expect([(await check(job)).status, (await check(job)).status, (await check(job)).status]).toEqual([404, 404, 200]);
  },
  'gone-after': async (fault) => {
    const job = await generated(`${fault}--1`);
    expect([(await check(job)).status, (await check(job)).status, (await check(job)).status]).toEqual([200, 404, 404]);
  },
  'pending-forever': async (fault) => {
    const [document, job] = [await ingested(fault), await generated(fault)];
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await record(document)).linkedJobStatus).toBe('PENDING');
    expect(await rows(job)).toMatchObject([{ jobStatus: 'PENDING' }]);
    expect(sandbox.finishJob(document, { outcome: 'done' })).toBe(true);
    expect(await record(document)).toMatchObject({ linkedJobStatus: 'COMPLETED', success: true });
  },
  'pending-long': async (fault) => {
    sandbox.setSpeed(1_000);
    const document = await ingested(`${fault}--200000`);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect((await record(document)).linkedJobStatus).toBe('PENDING');
    expect((await ended(document)).linkedJobStatus).toBe('COMPLETED');
  },
  'in-progress-forever': async (fault) => {
    const document = await ingested(fault);
    await expect.poll(async () => (await record(document)).linkedJobStatus).toBe('IN_PROGRESS');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await record(document)).linkedJobStatus).toBe('IN_PROGRESS');
  },
  'goes-back-to-pending': async (fault) => {
    const job = await generated(`${fault}`.concat(' .fault-in-progress-forever'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const seen = [];
    for (let n = 0; n < 4; n += 1) seen.push((await rows(job))[0]?.jobStatus);
    expect(seen).toEqual(['IN_PROGRESS', 'PENDING', 'IN_PROGRESS', 'PENDING']);
  },
  'unknown-job-status': async (fault) => {
    const job = await generated(`${fault}--WAITING_FOR_REVIEW .fault-in-progress-forever`);
    await expect.poll(async () => (await rows(job))[0]?.jobStatus).toBe('WAITING_FOR_REVIEW');
    const document = await ingested(`${fault},in-progress-forever`);
    await expect.poll(async () => (await record(document)).linkedJobStatus).toBe('PROCESSING');
  },
  'status-missing': async (fault) => {
    const [document, job] = [await ingested(fault), await generated(fault)];
    expect((await record(document)).linkedJobStatus).toBeNull();
    expect((await rows(job))[0]).not.toHaveProperty('jobStatus');
  },
  'record-fails': async (fault) => {
    const texts: Record<string, string> = {
      '': 'Failed to fetch the page',
      '--login-wall': 'The page requires authentication',
      '--robots': 'Blocked by robots.txt',
      '--Out%20of%20luck': 'Out of luck',
    };
    for (const [argument, error] of Object.entries(texts)) {
      expect(await ended(await ingested(`${fault}${argument}`))).toMatchObject({
        linkedJobStatus: 'FAILED',
        success: false,
        error,
        paragraphs: [],
      });
    }
  },
  'completed-without-success': async (fault) => {
    const wanted: Record<string, Wire> = {
      'no-success': { success: false, error: '' },
      'error-text': { success: true, error: expect.stringMatching(/./) },
      both: { success: false, error: expect.stringMatching(/./) },
    };
    for (const [argument, shown] of Object.entries(wanted)) {
      const document = await ended(await ingested(`${fault}--${argument}`));
      expect(document).toMatchObject({ linkedJobStatus: 'COMPLETED', ...shown });
    }
  },
  'stale-completed': async (fault) => {
    sandbox.setSpeed(0.001);
    const [before] = await seed({ originalUrl: page(`${fault}--3000`) });
    await refresh(before.id);
    expect(await record(before.id)).toEqual(before);
    sandbox.setSpeed(10_000);
    await expect.poll(async () => (await record(before.id)).linkedJobId).not.toBe(before.linkedJobId);
    expect((await ended(before.id)).linkedJobStatus).toBe('COMPLETED');
  },
  'content-changed': async (fault) => {
    const [linked] = await seed({ originalUrl: page(fault), isLinked: true });
    const [unlinked] = await seed({ originalUrl: page(fault) });
    const [other] = await seed({ isLinked: true });
    await refresh(linked.id, unlinked.id, other.id);
    await ended(linked.id);
    await ended(unlinked.id);
    await ended(other.id);
    const { documents } = (await answered('GET', `${DOCUMENTS}?changed=true`)).json();
    expect(ids(documents)).toEqual([linked.id]);
    expect(documents[0].paragraphs).not.toEqual(documents[0].oldParagraphs);
  },
  redirected: async (fault) => {
    const id = await ingested(fault);
    const moved = (await ended(id)).originalUrl as string;
    expect(moved).toMatch(/^https:\/\/e\.com\/moved\/page\?sandbox=redirected&n=/);
    await refresh(id);
    expect((await ended(id)).originalUrl).toBe(moved);
  },
  'changed-late': async (fault) => {
    const [linked] = await seed({ originalUrl: page(`${fault}--2,content-changed`), isLinked: true });
    await refresh(linked.id);
    await expect.poll(() => sandbox.job(linked.id as string)?.isTerminal, { interval: 3 }).toBe(true);
    const { documents } = (await answered('GET', `${DOCUMENTS}?changed=true`)).json();
    expect(ids(documents)).toEqual([linked.id]);
    const seen = [];
    for (let n = 0; n < 3; n += 1) seen.push((await record(linked.id as string)).changed);
    expect(seen).toEqual([false, false, true]);
  },
  'one-record': async (fault) => {
    sandbox.faults.arm({ fault });
    const urls = ['https://e.com/one', 'https://e.com/one/', 'https://e.com/one#top', 'https://e.com/two'];
    expect((await ingest(...urls)).json().addedDocumentIds).toHaveLength(2);
    expect((await ingest(...urls.slice(0, 2))).json()).toMatchObject({
      addedDocumentIds: [expect.any(String)],
      updatedDocumentIds: [expect.any(String)],
    });
  },
  'finished-word': async (fault) => {
    const article = { hcArticleId: expect.any(String), completedAt: expect.any(String) };
    expect(await jobEnded(await generated(fault))).toMatchObject({ jobStatus: 'completed', ...article });
    expect(await jobEnded(await generated(`${fault}--SAVED`))).toMatchObject({ jobStatus: 'SAVED', ...article });
  },
  'job-fails': async (fault) => {
    expect(await jobEnded(await generated(fault))).toMatchObject({ jobStatus: 'FAILED', hcArticleId: null });
    expect(await jobEnded(await generated(`${fault}--ERROR`))).toMatchObject({ jobStatus: 'ERROR' });
    const [source] = await seed({ originalUrl: page(fault), changed: true, isLinked: true });
    const { jobs } = (await bulk([source.id])).json();
    expect(await jobEnded(jobs[0].backgroundJobId)).toMatchObject({ jobStatus: 'FAILED' });
    expect((await record(source.id)).changed).toBe(true);
  },
  'no-article': async (fault) => {
    expect(await jobEnded(await generated(fault))).toMatchObject({ jobStatus: 'COMPLETED', hcArticleId: null });
  },
  'no-timestamps': async (fault) => {
    const row = await jobEnded(await generated(fault));
    expect(Object.keys(row as object).sort()).toEqual(['hcArticleId', 'id', 'jobStatus']);
  },
  'poison-id': async (fault) => {
    const [poison, good] = [await generated(fault), await generated()];
    expect((await check(poison, good)).status).toBe(404);
    expect((await check(poison)).status).toBe(404);
    expect((await check(good)).status).toBe(200);
    expect(sandbox.job(poison)).not.toBeNull();
  },
  'unreadable-job': async (fault) => {
    const [bad, good, passing] = [await generated(fault), await generated(), await generated(`${fault}--1`)];
    expect([(await check(bad, good)).status, (await check(bad)).status]).toEqual([500, 500]);
    expect([(await check(passing, good)).status, (await check(passing, good)).status]).toEqual([500, 200]);
  },
  'fewer-ids': async (fault) => {
    const { addedDocumentIds } = (await ingest(page(`${fault}--1`), page(''), page('', 'other'))).json();
    expect(addedDocumentIds).toHaveLength(2);
    expect(jobCount()).toBe(3);
    sandbox.faults.arm({ fault, argument: 9, route: 'refresh' });
    expect((await refresh(...(addedDocumentIds as string[]))).json()).toEqual([]);
    expect(jobCount()).toBe(5);
  },
  'bulk-half-queued': async (fault) => {
    const documents = ids(await seed({ count: 4 }));
    const before = jobCount();
    sandbox.faults.arm({ fault });
    const silent = await bulk(documents);
    expect([silent.status, silent.json()]).toEqual([
      500,
      { statusCode: 500, message: expect.any(String), error: 'Internal Server Error' },
    ]);
    expect(jobCount() - before).toBe(2);
    sandbox.faults.arm({ fault, argument: 'with-ids' });
    const telling = await bulk(documents);
    expect(telling.status).toBe(500);
    expect(telling.json().jobs).toHaveLength(2);
    expect(sandbox.ledger.entries({ route: 'bulk' }).map((entry) => entry.idCount)).toEqual([2, 2]);
    expect((await bulk(documents)).status).toBe(200);
  },
  'list-shifts': async (fault) => {
    await seed({ count: 9 });
    await new Promise((resolve) => setTimeout(resolve, 3));
    const walk = async () => {
      const seen: string[] = [];
      for (let cursor = '', n = 0; n < 10; n += 1) {
        const { documents, hasMore } = (await answered('GET', `${DOCUMENTS}?limit=3${cursor}`)).json();
        seen.push(...ids(documents));
        cursor = `&cursor=${String(seen.at(-1))}`;
        if (hasMore !== true) break;
      }
      return seen;
    };
    expect(new Set(await walk()).size).toBe(9);
    sandbox.faults.arm({ fault, argument: 'skip' });
    const skipping = await walk();
    expect([skipping.length, new Set(skipping).size]).toEqual([8, 8]);
    sandbox.faults.arm({ fault, argument: 'repeat' });
    const repeating = await walk();
    expect(repeating.length).toBeGreaterThan(new Set(repeating).size);
  },
  'rows-duplicated': async (fault) => {
    const jobs = [await generated(), await generated()];
    sandbox.faults.arm({ fault });
    expect(ids(await rows(...jobs)).sort()).toEqual([...jobs, ...jobs].sort());
  },
  'rows-reordered': async (fault) => {
    const jobs = [await generated(), await generated(), await generated()];
    const usual = ids(await rows(...jobs));
    sandbox.faults.arm({ fault });
    expect(ids(await rows(...jobs))).toEqual(usual.reverse());
  },
  'rows-left-out': async (fault) => {
    const jobs = [await generated(), await generated(), await generated()];
    sandbox.faults.arm({ fault, argument: 2 });
    expect(await rows(...jobs)).toHaveLength(1);
    const documents = ids(await seed({ count: 3 }));
    sandbox.faults.arm({ fault, route: 'bulk' });
    expect((await bulk(documents)).json().jobs).toHaveLength(2);
  },
  'rows-foreign': async (fault) => {
    const jobs = [await generated(), await generated()];
    sandbox.faults.arm({ fault, argument: 2 });
    const found = ids(await rows(...jobs));
    expect(found).toHaveLength(4);
    expect(found.filter((id) => !jobs.includes(id))).toHaveLength(2);
    await seed({ count: 2 });
    sandbox.faults.arm({ fault, route: 'list' });
    expect((await answered('GET', DOCUMENTS)).json().documents).toHaveLength(3);
  },
  'rows-empty': async (fault) => {
    const job = await generated(`${fault}--x2`);
    expect([await rows(job), await rows(job), (await rows(job)).length]).toEqual([[], [], 1]);
    sandbox.faults.arm({ fault, route: 'bulk' });
    expect((await bulk(ids(await seed()))).json()).toEqual({ jobs: [] });
  },
};

describe('each fault', () => {
  test.each(Object.entries(cases))('%s', async (name, run) => {
    await run(name);
    expect(sandbox.ledger.summary().byFault[name]).toBeGreaterThan(0);
  });

  test('has a case here, apart from those of HTTP itself', () => {
    const own = sandbox.faults.table().filter(({ definition }) => definition.routes !== 'any');
    expect(own.map(({ definition }) => definition.name).sort()).toEqual(Object.keys(cases).sort());
  });
});

describe('faults of HTTP itself', () => {
  const refusals: [string, number, string | null][] = [
    ['rate-limited', 429, 'Too Many Requests'],
    ['rate-limited-header', 429, 'Too Many Requests'],
    ['rate-limited-body', 429, 'Too Many Requests'],
    ['quota-exceeded', 429, 'Too Many Requests'],
    ['unavailable', 503, 'Service Unavailable'],
    ['unauthorized', 401, 'Unauthorized'],
    ['payment-required', 402, 'Payment Required'],
    ['forbidden', 403, 'Forbidden'],
    ['bad-request', 400, 'Bad Request'],
    ['not-found', 404, 'Not Found'],
    ['conflict', 409, 'Conflict'],
    ['server-error', 500, 'Internal Server Error'],
    ['gateway-error', 502, null],
  ];
  test.each(refusals)('%s is %i in the envelope', async (fault, status, words) => {
    const answer = await ingest(page(fault));
    expect(answer.status).toBe(status);
    if (words === null) expect(answer.text).toContain('nginx');
    else expect(answer.json()).toMatchObject({ statusCode: status, error: words });
    expect(answer.headers.has('retry-after')).toBe(
      ['rate-limited', 'rate-limited-header', 'unavailable'].includes(fault),
    );
    expect(jobCount()).toBe(0);
  });

  test.each(['ingest', 'refresh', 'generate', 'bulk'])('an answer lost after the work: %s', async (route) => {
    const [source] = await seed({ status: null, paragraphs: ['text'] });
    const send: Record<string, () => ReturnType<typeof ask>> = {
      ingest: () => ask('POST', DOCUMENTS, { documentIdsToAdd: ['https://e.com/lost'] }),
      refresh: () => ask('POST', `${DOCUMENTS}/refresh`, { documentIds: [source.id] }),
      generate: () => ask('POST', KNOWLEDGE, { candidateKnowledge: 'x', origin: 'generated' }),
      bulk: () => ask('POST', `${KNOWLEDGE}/bulk`, { documentIds: [source.id], origin: 'sources' }),
    };
    // No route: any create will do.
    sandbox.faults.arm({ fault: 'cut-after' });
    expect(await send[route]?.()).toBeNull();
    expect(jobCount()).toBe(1);
    expect(sandbox.ledger.entries({ route })).toMatchObject([{ jobCreated: true, status: null, end: 'cut' }]);
    sandbox.faults.arm({ fault: 'cut-before', route });
    expect(await send[route]?.()).toBeNull();
    expect(jobCount()).toBe(1);
  });

  test('strike at every route', async () => {
    for (const route of ['list', 'record', 'status', 'resources', 'register', 'crawl', 'delete']) {
      sandbox.faults.arm({ fault: 'server-error', argument: 503, route });
    }
    const requests: [string, string, unknown?][] = [
      ['GET', DOCUMENTS],
      ['GET', `${DOCUMENTS}/${randomUUID()}`],
      ['POST', STATUS, {}],
      ['GET', `${DOCUMENTS}/resources/notion`],
      ['POST', `${DOCUMENTS}/resources/notion`, {}],
      ['POST', `${DOCUMENTS}/deep-crawl/links`, {}],
      ['DELETE', DOCUMENTS, {}],
    ];
    for (const [method, path, body] of requests) expect(statusCode(await ask(method, path, body))).toBe(503);
    expect(sandbox.faults.armed()).toEqual([]);
  });
});

describe('markers and rules', () => {
  test('each of several URLs answers for itself', async () => {
    const { addedDocumentIds } = (await ingest(page('record-fails'), page('', 'good'))).json();
    const [bad, good] = addedDocumentIds as [string, string];
    expect((await ended(bad)).linkedJobStatus).toBe('FAILED');
    expect((await ended(good)).linkedJobStatus).toBe('COMPLETED');
  });

  test('a marker with x1 spoils the first run and spares the refresh', async () => {
    const document = await ingested('record-fails--x1');
    expect((await ended(document)).linkedJobStatus).toBe('FAILED');
    await refresh(document);
    expect(await ended(document)).toMatchObject({ linkedJobStatus: 'COMPLETED', success: true, error: '' });
  });

  test('a marker may name another route: the record, or the status of the job', async () => {
    const document = await ingested('server-error--503--x2--at-record');
    const look = async () => (await answered('GET', `${DOCUMENTS}/${document}`)).status;
    expect([await look(), await look(), await look()]).toEqual([503, 503, 200]);
    const job = await generated('rate-limited--1--at-status');
    expect([(await check(job)).status, (await check(job)).status]).toEqual([429, 200]);
  });

  test('a marker in a path part or a title works for records of any source', async () => {
    const [dotted] = await seed({ originalUrl: 'https://e.com/a.fault-job-fails.html' });
    const [titled] = await seed({ source: 'notion', title: 'Terms .fault-job-fails 2026' });
    const { jobs } = (await bulk([dotted.id, titled.id])).json();
    for (const { backgroundJobId } of jobs) expect((await jobEnded(backgroundJobId)).jobStatus).toBe('FAILED');
  });

  test('markers that fit nothing are refused with 400', async () => {
    for (const marker of ['no-such-fault', 'stale-completed--soon', 'list-shifts--at-status']) {
      const answer = await ingest(page(marker));
      expect(answer.status, marker).toBe(400);
      expect(answer.json().sandbox.error).toMatch(/fault/);
    }
  });

  test('a rule counts the jobs of a batch one by one', async () => {
    const documents = ids(await seed({ count: 10 }));
    sandbox.faults.arm({ fault: 'job-fails', times: 3, skip: 2 });
    const { jobs } = (await bulk(documents)).json();
    const words = [];
    for (const { backgroundJobId } of jobs) words.push((await jobEnded(backgroundJobId)).jobStatus);
    expect(words.map((word) => word === 'FAILED')).toEqual([
      false,
      false,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(sandbox.faults.armed()).toEqual([]);
  });

  test('a rule goes to a job that exists, or to the next run of a record', async () => {
    const job = await generated();
    sandbox.faults.arm({ fault: 'poison-id', jobId: job });
    expect((await check(job)).status).toBe(404);
    const [document] = await seed();
    sandbox.faults.arm({ fault: 'record-fails', jobId: document.id });
    expect((await record(document.id)).linkedJobStatus).toBe('COMPLETED');
    await refresh(document.id);
    expect((await ended(document.id)).linkedJobStatus).toBe('FAILED');
    expect(() => sandbox.faults.arm({ fault: 'poison-id', jobId: 'none' })).toThrow(UnknownFaultError);
  });

  test('a rule for a job strikes the batch that names it', async () => {
    const [one, two] = [await generated(), await generated()];
    sandbox.faults.arm({ fault: 'server-error', route: 'status', jobId: one });
    expect([(await check(two)).status, (await check(two, one)).status, (await check(two, one)).status]).toEqual([
      200, 500, 200,
    ]);
  });

  test('a rule by source strikes the jobs of that text only', async () => {
    sandbox.faults.arm({ fault: 'record-fails', source: 'special', times: 'always' });
    const { addedDocumentIds } = (await ingest('https://e.com/special', 'https://e.com/plain')).json();
    expect((await ended(addedDocumentIds[0])).linkedJobStatus).toBe('FAILED');
    expect((await ended(addedDocumentIds[1])).linkedJobStatus).toBe('COMPLETED');
  });
});
