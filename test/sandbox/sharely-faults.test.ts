import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startSandbox, UnknownFaultError, type Sandbox } from '../../sandbox/index.ts';

/** Every fault of Sharely strikes as the table says; one case each, and a last test counts them. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
let token = '';
const workspaceId: string = randomUUID();
const organizationid: string = randomUUID();

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000, vendors: ['sharely'] });
});
beforeEach(async () => {
  token = (await exchange()).json().token as string;
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

/** One request; null when the connection ended without an answer, `timeout` when none came in time. */
async function ask(method: string, url: string, init: RequestInit = {}, timeoutMs = 5_000) {
  try {
    const response = await fetch(url, { method, ...init, signal: AbortSignal.timeout(timeoutMs) });
    const { status, headers } = response;
    const text = await response.text();
    return { status, headers, text, json: (): Wire => JSON.parse(text) };
  } catch (error) {
    return (error as Error).name === 'TimeoutError' ? ('timeout' as const) : null;
  }
}
async function answered(method: string, url: string, init: RequestInit = {}) {
  const answer = await ask(method, url, init);
  if (answer === null || answer === 'timeout') throw new Error(`no answer: ${String(answer)}`);
  return answer;
}
const sent = (body: unknown, headers: Record<string, string>): RequestInit => ({
  headers: { 'content-type': 'application/json', ...headers },
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
});
const exchange = (body: unknown = {}) =>
  answered(
    'POST',
    `${sandbox.sharelyUrl}/workspaces/${workspaceId}/generate-access-key-token`,
    sent(body, { 'x-api-key': 'sk-sharely-test' }),
  );
const v1 = (path: string) => `${sandbox.sharelyUrl}/v1/workspaces/${workspaceId}${path}`;
const auth = () => ({ authorization: `Bearer ${token}`, organizationid });
const api = (method: string, path: string, body?: unknown) => answered(method, v1(path), sent(body, auth()));
const control = async (path: string, body: unknown) =>
  (await answered('POST', `${sandbox.url}/_control/sharely${path}`, sent(body, {}))).json();
const seedRole = async (fields = {}) => (await control('/roles', { workspaceId, ...fields })).roles[0];
const seedKnowledge = async (fields = {}) => (await control('/knowledge', { workspaceId, ...fields })).knowledge[0];
const workflow = async (marker = '') =>
  (await control('/workflows', { workspaceId, source: marker === '' ? 'x' : `Some work .fault-${marker}` }))
    .workflows[0].workflowId as string;
const check = (...jobIds: string[]) => api('POST', '/background-jobs', { jobIds });
const rows = async (...jobIds: string[]) => (await check(...jobIds)).json() as Wire[];
const names = async (times: number, id: string) => {
  const seen: (string | null)[] = [];
  for (let n = 0; n < times; n += 1) seen.push((await rows(id))[0]?.status.name ?? null);
  return seen;
};
const marked = (marker: string) => `Editors .fault-${marker}`;
const createRole = async (marker: string, more = {}) =>
  (await api('POST', '/role', { name: marked(marker), ...more })).json();
const roleStatus = async (id: string) => (await api('GET', `/role/${id}`)).status;
const upload = async (
  title: string,
  more: Record<string, string> = { status: 'BACKGROUND_START' },
  bytes = 10,
  timeoutMs = 5_000,
) => {
  const form = new FormData();
  form.set('title', title);
  for (const [key, value] of Object.entries(more)) form.set(key, value);
  form.set('file', new Blob([Buffer.alloc(bytes)]), 'a.txt');
  return ask('POST', v1('/knowledge/file'), { headers: auth(), body: form }, timeoutMs);
};
const uploaded = async (title: string, more?: Record<string, string>) => {
  const answer = await upload(title, more);
  if (answer === null || answer === 'timeout') throw new Error('no answer');
  return answer.json();
};
const knowledge = async (id: string) => (await api('GET', `/knowledge/${id}`)).json();
const jobCount = () => sandbox.jobs().total;
const over = (id: string) => expect.poll(() => sandbox.job(id)?.isTerminal, { interval: 3, timeout: 5_000 }).toBe(true);

const cases: Record<string, (fault: string) => Promise<void>> = {
  duration: async (fault) => {
    const startedAt = Date.now();
    await over(await workflow(`${fault}--1000000`));
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(90);
  },
  'done-after': async (fault) => {
    sandbox.setSpeed(0.001);
    expect(await names(4, await workflow(`${fault}--3`))).toEqual(['RUNNING', 'RUNNING', 'COMPLETED', 'COMPLETED']);
    const { role, workflowId } = (await api('POST', '/role', { name: 'x' })).json();
    await api('PUT', `/role/${role.id as string}`, { name: marked(`${fault}--1`) });
    const [changing] = sandbox.jobs().jobs;
    expect(await names(1, changing?.id ?? '')).toEqual(['COMPLETED']);
    expect(await names(1, workflowId)).toEqual(['RUNNING']);
  },
  'visible-late': async (fault) => {
    const [late, other] = [await workflow(`${fault}--2`), await workflow()];
    expect(await rows(late, other)).toMatchObject([{ workflowId: other }]);
    expect(await rows(late)).toEqual([]);
    expect(await rows(late)).toHaveLength(1);
  },
  vanish: async (fault) => {
    for (const [argument, status] of [
      ['with-effect', 200],
      ['without-effect', 404],
    ] as const) {
      const { role, workflowId } = await createRole(`${fault}--${argument}`);
      await over(workflowId);
      expect(await names(3, workflowId)).toEqual([null, null, null]);
      expect((await api('POST', '/background-jobs', {})).json()).toEqual([]);
      expect(await roleStatus(role.id)).toBe(status);
    }
  },
  'vanish-after': async (fault) => {
    const seen = await names(4, await workflow(`${fault}--2`));
    expect([seen[0] === null, seen[1] === null, seen[2], seen[3]]).toEqual([false, false, null, null]);
  },
  'workflow-ends-as': async (fault) => {
    const codes = { FAILED: 3, CANCELLED: 4, CANCELED: 4, TERMINATED: 5, TIMED_OUT: 7 };
    for (const [name, code] of Object.entries(codes)) {
      const { role, workflowId } = await createRole(`${fault}--${name}`, { customerRoleId: name });
      await over(workflowId);
      expect(await rows(workflowId)).toMatchObject([{ status: { code, name } }]);
      expect(await roleStatus(role.id)).toBe(404);
      // Nothing is left of it: the same id may be used again.
      expect((await api('POST', '/role', { name: 'again', customerRoleId: name })).status).toBe(201);
    }
    const { knowledgeId } = await uploaded(`T .fault-${fault}`);
    await expect.poll(async () => (await knowledge(knowledgeId)).status).toBe('FAILED');
  },
  'workflow-ends-half-way': async (fault) => {
    const { id, childIds } = await seedKnowledge({ title: `Site .fault-${fault}`, children: 5 });
    const { workflowId } = (await api('DELETE', `/knowledge/${id as string}/children`)).json();
    await over(workflowId);
    expect(await names(1, workflowId)).toEqual(['TIMED_OUT']);
    const left = [];
    for (const child of childIds as string[]) left.push((await api('GET', `/knowledge/${child}`)).status);
    expect(left).toEqual([404, 404, 404, 200, 200]);
    expect((await knowledge(id)).id).toBe(id);
    const [a, b] = [await seedRole({ name: 'a' }), await seedRole({ name: 'b' })];
    const item = await seedKnowledge({ title: `Page .fault-${fault}--FAILED` });
    const { workflowIds } = (
      await api('POST', `/knowledge/${item.id as string}/role`, { roleIds: [a.id, b.id] })
    ).json();
    await over(workflowIds[0]);
    expect((await api('GET', `/knowledge/${item.id as string}/role`)).json()).toMatchObject([{ name: 'a' }]);
  },
  'workflow-stays-as': async (fault) => {
    const codes = { RUNNING: 1, CONTINUED_AS_NEW: 6, UNSPECIFIED: 0, PAUSED: 8, WAITING: 99 };
    for (const [name, code] of Object.entries(codes)) {
      const id = await workflow(`${fault}--${name}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await rows(id)).toMatchObject([{ status: { code, name } }]);
      expect(sandbox.finishJob(id, { outcome: 'done' })).toBe(true);
      expect(await names(1, id)).toEqual(['COMPLETED']);
    }
  },
  'workflow-runs-as': async (fault) => {
    sandbox.setSpeed(0.001);
    const id = await workflow(fault);
    expect(await rows(id)).toMatchObject([{ status: { code: 8, name: 'PAUSED' } }]);
    sandbox.setSpeed(1e6);
    await over(id);
    expect(await names(1, id)).toEqual(['COMPLETED']);
  },
  'continued-as-new': async (fault) => {
    const id = await workflow(`${fault}--2`);
    await over(id);
    const seen = [];
    for (let n = 0; n < 4; n += 1) seen.push(...(await rows(id)));
    expect(seen.map((row) => row.status)).toEqual([
      { code: 6, name: 'CONTINUED_AS_NEW' },
      { code: 6, name: 'CONTINUED_AS_NEW' },
      { code: 2, name: 'COMPLETED' },
      { code: 2, name: 'COMPLETED' },
    ]);
    expect(new Set(seen.map((row) => row.runId as string)).size).toBe(3);
    expect(new Set(seen.map((row) => row.workflowId as string)).size).toBe(1);
  },
  'code-mismatch': async (fault) => {
    const id = await workflow(`${fault}--7`);
    await over(id);
    expect(await rows(id)).toMatchObject([{ status: { code: 7, name: 'COMPLETED' } }]);
  },
  'status-only': async (fault) => {
    const [code, name] = [await workflow(fault), await workflow(`${fault}--name`)];
    await over(code);
    await over(name);
    expect((await rows(code))[0].status).toEqual({ code: 2 });
    expect((await rows(name))[0].status).toEqual({ name: 'COMPLETED' });
  },
  'several-workflows': async (fault) => {
    const { role, workflowIds } = await createRole(`${fault}--COMPLETED-TIMED_OUT-RUNNING`);
    expect(workflowIds).toHaveLength(3);
    for (const id of workflowIds as string[]) await over(id);
    const seen = await rows(...(workflowIds as string[]));
    expect(workflowIds.map((id: string) => seen.find((row) => row.workflowId === id)?.status.name)).toEqual([
      'COMPLETED',
      'TIMED_OUT',
      'RUNNING',
    ]);
    expect(await roleStatus(role.id)).toBe(200);
    const spoilt = await createRole(`${fault}--FAILED-COMPLETED`);
    for (const id of spoilt.workflowIds as string[]) await over(id);
    expect(await roleStatus(spoilt.role.id)).toBe(404);
  },
  'joins-workflow': async (fault) => {
    sandbox.setSpeed(0.001);
    const items = [await seedRole({ name: 'one' }), await seedRole({ name: 'two' }), await seedRole({ name: 'three' })];
    sandbox.faults.arm({ fault, times: 2 });
    const started = [];
    for (const { id } of items) started.push((await api('DELETE', `/role/${id as string}`)).json().workflowId);
    expect(started[1]).toBe(started[0]);
    expect(started[2]).not.toBe(started[0]);
    sandbox.finishJob(started[0] as string, { outcome: 'done' });
    const seen = [];
    for (const { id } of items) seen.push(await roleStatus(id as string));
    expect(seen).toEqual([404, 404, 200]);
  },
  'completed-without-effect': async (fault) => {
    const never = await createRole(fault);
    await over(never.workflowId);
    expect(await names(1, never.workflowId)).toEqual(['COMPLETED']);
    expect(await roleStatus(never.role.id)).toBe(404);
    const late = await createRole(`${fault}--1`);
    await over(late.workflowId);
    expect(await names(1, late.workflowId)).toEqual(['COMPLETED']);
    expect(await roleStatus(late.role.id)).toBe(404);
    await expect.poll(() => roleStatus(late.role.id), { timeout: 3_000 }).toBe(200);
    // Deletes, too: the item is still there.
    const item = await seedKnowledge({ title: `Stays .fault-${fault}` });
    await api('DELETE', `/knowledge/${item.id as string}`);
    await over(sandbox.jobs().jobs[0]?.id ?? '');
    expect((await knowledge(item.id)).id).toBe(item.id);
  },
  'reply-ids': async (fault) => {
    const none = await createRole(fault);
    expect(none).not.toHaveProperty('workflowId');
    expect((await createRole(`${fault}--workflowIds`)).workflowIds).toHaveLength(1);
    const item = await seedKnowledge({ title: `T .fault-${fault}--workflowId` });
    const answer = await api('DELETE', `/knowledge/${item.id as string}`);
    expect([answer.status, Object.keys(answer.json() as object)]).toEqual([200, ['workflowId', 'message']]);
    expect((await uploaded(`T .fault-${fault}--workflowId`)).workflowId).toEqual(expect.any(String));
  },
  'knowledge-runs-as': async (fault) => {
    const { knowledgeId } = await uploaded(`T .fault-${fault}--INDEXING .fault-workflow-stays-as`);
    expect((await knowledge(knowledgeId)).status).toBe('INDEXING');
  },
  'knowledge-ends-as': async (fault) => {
    for (const status of ['PROCESSED', 'COMPLETED', 'FAILED', 'EMBEDDING_ERROR', 'ODD']) {
      const { knowledgeId } = await uploaded(`T .fault-${fault}--${status}`);
      await expect.poll(async () => (await knowledge(knowledgeId)).status).toBe(status);
      expect((await knowledge(knowledgeId)).processedAt === null).toBe(/FAIL|ERROR/.test(status));
    }
    expect((await uploaded(`T .fault-${fault}--FAILED`, {})).status).toBe('FAILED');
  },
  'old-reply-shape': async (fault) => {
    const id = await workflow();
    await over(id);
    sandbox.faults.arm({ fault });
    expect((await check(id)).json()).toMatchObject({ jobs: [{ id, status: 'COMPLETED', type: expect.any(String) }] });
    expect(await rows(id)).toHaveLength(1);
  },
  'tokens-revoked': async (fault) => {
    const other = (await exchange()).json().token as string;
    sandbox.faults.arm({ fault, route: 'background-jobs' });
    expect((await check('x')).status).toBe(401);
    expect((await check('x')).status).toBe(401);
    token = other;
    expect((await check('x')).status).toBe(401);
    token = (await exchange()).json().token as string;
    expect((await check('x')).status).toBe(200);
  },
  'rbac-refused': async (fault) => {
    sandbox.faults.arm({ fault, route: 'role-list' });
    const refused = await api('GET', '/role');
    expect([refused.status, refused.json().error]).toEqual([401, expect.stringContaining('Role')]);
    expect((await api('GET', '/role')).status).toBe(200);
    expect((await api('POST', '/role', { name: marked(fault) })).status).toBe(401);
    expect(jobCount()).toBe(0);
  },
  'upload-cut': async (fault) => {
    expect(await upload(`T .fault-${fault}--100000`, {}, 5_000_000)).toBeNull();
    expect((await api('GET', '/knowledge')).json().total).toBe(0);
    expect(sandbox.ledger.entries({ route: 'knowledge-upload' })).toMatchObject([{ end: 'cut', status: null }]);
  },
  'rows-duplicated': async (fault) => {
    const ids = [await workflow(), await workflow()];
    sandbox.faults.arm({ fault });
    expect((await rows(...ids)).map((row) => row.workflowId as string).sort()).toEqual([...ids, ...ids].sort());
  },
  'rows-reordered': async (fault) => {
    const ids = [await workflow(), await workflow(), await workflow()];
    const usual = (await rows(...ids)).map((row) => row.workflowId as string);
    sandbox.faults.arm({ fault });
    expect((await rows(...ids)).map((row) => row.workflowId as string)).toEqual(usual.reverse());
  },
  'rows-left-out': async (fault) => {
    const ids = [await workflow(), await workflow(), await workflow()];
    sandbox.faults.arm({ fault, argument: 2 });
    expect([(await rows(...ids)).length, (await rows(...ids)).length]).toEqual([1, 3]);
  },
  'rows-foreign': async (fault) => {
    const id = await workflow(`${fault}--3`);
    expect((await rows(id)).filter((row) => row.workflowId !== id)).toHaveLength(3);
  },
  'rows-empty': async (fault) => {
    const id = await workflow();
    sandbox.faults.arm({ fault, times: 2 });
    expect([await rows(id), await rows(id), (await rows(id)).length]).toEqual([[], [], 1]);
  },
};

describe('each fault', () => {
  test.each(Object.entries(cases))('%s', async (name, run) => {
    await run(name);
    const seen = sandbox.jobs({ limit: 1_000 }).jobs.flatMap((job) => job.faults);
    expect([...Object.keys(sandbox.ledger.summary().byFault), ...seen]).toContain(name);
  });

  test('has a case here, apart from those of HTTP itself', () => {
    const http = new Set(['tokens-revoked', 'rbac-refused']);
    const own = sandbox.faults
      .table()
      .map(({ definition }) => definition)
      .filter(({ routes, name }) => routes !== 'any' || http.has(name));
    expect(own.map(({ name }) => name).sort()).toEqual(Object.keys(cases).sort());
  });
});

describe('faults of HTTP itself', () => {
  const refusals: [string, number][] = [
    ['rate-limited', 429],
    ['rate-limited-header', 429],
    ['rate-limited-body', 429],
    ['quota-exceeded', 429],
    ['unavailable', 503],
    ['unauthorized', 401],
    ['payment-required', 402],
    ['forbidden', 403],
    ['bad-request', 400],
    ['not-found', 404],
    ['conflict', 409],
    ['server-error', 500],
    ['gateway-error', 502],
  ];
  test.each(refusals)('%s is %i in the new shape, and in the old one', async (fault, status) => {
    for (const errorShape of ['new', 'old'] as const) {
      sandbox.setLimits({ errorShape }, 'sharely');
      const answer = await api('POST', '/role', {
        name: `${marked(fault)} ${errorShape}`,
        description: `.fault-${fault}`,
      });
      expect(answer.status).toBe(status);
      if (fault === 'gateway-error') expect(answer.text).toContain('nginx');
      else expect(answer.json()).toHaveProperty(errorShape === 'new' ? 'errorId' : 'message');
      const isHinted = ['rate-limited', 'rate-limited-header', 'unavailable'].includes(fault);
      expect(answer.headers.has('retry-after')).toBe(isHinted);
      await sandbox.reset();
    }
    expect(jobCount()).toBe(0);
  });

  test('the token endpoint keeps the old shape, and can fail in every way', async () => {
    sandbox.faults.arm({ fault: 'server-error', route: 'token' });
    const answer = await exchange();
    expect([answer.status, answer.json()]).toEqual([
      500,
      { error: 'Internal Server Error', message: expect.any(String) },
    ]);
    sandbox.faults.arm({ fault: 'unauthorized', route: 'token', apiKey: 'sk-sharely-test' });
    expect([(await exchange()).status, (await exchange()).status]).toEqual([401, 200]);
  });

  test('a second 401 after a fresh token', async () => {
    sandbox.faults.arm({ fault: 'unauthorized', route: 'role-list', times: 2 });
    expect((await api('GET', '/role')).status).toBe(401);
    token = (await exchange()).json().token as string;
    expect([(await api('GET', '/role')).status, (await api('GET', '/role')).status]).toEqual([401, 200]);
  });

  const creates: Record<string, () => Promise<[string, string, unknown?]>> = {
    'role-create': async () => ['POST', '/role', { name: 'A' }],
    'role-update': async () => ['PUT', `/role/${(await seedRole()).id as string}`, { name: 'B' }],
    'role-upsert': async () => ['POST', '/role/upsert', { customerRoleId: 'c' }],
    'role-delete': async () => ['DELETE', `/role/${(await seedRole()).id as string}`],
    'roles-assign': async () => [
      'POST',
      `/knowledge/${(await seedKnowledge()).id as string}/role`,
      { roleIds: [(await seedRole()).id] },
    ],
    'roles-unassign': async () => [
      'DELETE',
      `/knowledge/${(await seedKnowledge()).id as string}/role`,
      { roleIds: [randomUUID()] },
    ],
    'knowledge-delete': async () => ['DELETE', `/knowledge/${(await seedKnowledge()).id as string}`],
    'children-delete': async () => ['DELETE', `/knowledge/${(await seedKnowledge()).id as string}/children`],
    'knowledge-create': async () => [
      'POST',
      '/knowledge',
      { type: 'URL', url: 'https://e.com', status: 'BACKGROUND_START' },
    ],
    'taxonomy-publish': async () => {
      const { taxonomies } = await control('/taxonomies', { workspaceId });
      return ['POST', `/taxonomy/${taxonomies[0].id as string}/publish`];
    },
  };
  test.each(Object.entries(creates))('an answer lost before and after the work: %s', async (route, prepare) => {
    const [method, path, body] = await prepare();
    sandbox.faults.arm({ fault: 'cut-before', route });
    expect(await ask(method, v1(path), sent(body, auth()))).toBeNull();
    expect(jobCount()).toBe(0);
    // No route: any create will do.
    sandbox.faults.arm({ fault: 'cut-after' });
    expect(await ask(method, v1(path), sent(body, auth()))).toBeNull();
    expect(jobCount()).toBe(1);
    expect(sandbox.ledger.entries({ route, jobCreated: true })).toMatchObject([{ status: null, end: 'cut' }]);
  });

  test('a bare array can swell and have unknown fields, too', async () => {
    const id = await workflow();
    sandbox.faults.arm({ fault: 'huge-body', argument: 2, route: 'background-jobs' });
    const huge = await check(id);
    expect(huge.text.length).toBeGreaterThan(2_000_000);
    expect(huge.json()).toMatchObject([{ workflowId: id }]);
    sandbox.faults.arm({ fault: 'extra-fields', route: 'background-jobs' });
    expect(await rows(id)).toMatchObject([{ workflowId: id, sandbox_more: expect.any(String) }]);
    sandbox.faults.arm({ fault: 'malformed-json', route: 'background-jobs' });
    const broken = await check(id);
    expect(() => broken.json()).toThrow(SyntaxError);
  });

  test('an upload whose answer is lost exists', async () => {
    expect(await upload('T .fault-cut-after')).toBeNull();
    expect((await api('GET', '/knowledge')).json().knowledge).toMatchObject([{ title: 'T .fault-cut-after' }]);
    expect(await upload('T .fault-timeout-before', {}, 2_000_000, 300)).toBe('timeout');
    expect((await api('GET', '/knowledge')).json().total).toBe(1);
  });
});

describe('markers and rules', () => {
  test('stand in names, descriptions, customer ids, titles and file names', async () => {
    const refused = async (body: Wire) => (await api('POST', '/role', body)).status;
    expect(await refused({ name: 'a .fault-bad-request b' })).toBe(400);
    expect(await refused({ name: 'a', description: 'see https://e.com/?sandbox=bad-request now' })).toBe(400);
    expect(await refused({ name: 'a', customerRoleId: 'c.fault-bad-request' })).toBe(400);
    const form = new FormData();
    form.set('file', new Blob(['x']), 'a.fault-bad-request.txt');
    expect((await ask('POST', v1('/knowledge/file'), { headers: auth(), body: form })) as Wire).toMatchObject({
      status: 400,
    });
  });

  test('of a resource go with every operation on it, and with its reads when they say so', async () => {
    const { id } = await seedRole({
      name: 'R .fault-workflow-ends-as--TERMINATED .fault-server-error--503--at-role-get',
    });
    expect([await roleStatus(id), await roleStatus(id)]).toEqual([503, 200]);
    const { workflowId } = (await api('DELETE', `/role/${id as string}`)).json();
    await over(workflowId);
    expect(await names(1, workflowId)).toEqual(['TERMINATED']);
    expect(await roleStatus(id)).toBe(200);
  });

  test('may strike at background-jobs, counted per workflow', async () => {
    const { workflowId } = await createRole('server-error--x2--at-background-jobs');
    const other = await workflow();
    const statuses = [];
    for (let n = 0; n < 3; n += 1) statuses.push((await check(other, workflowId)).status);
    expect([...statuses, (await check(other)).status]).toEqual([500, 500, 200, 200]);
  });

  test('that fit nothing are refused with 400', async () => {
    for (const marker of ['no-such-fault', 'visible-late--soon', 'workflow-ends-as--NOPE', 'rows-empty--at-role-get']) {
      const answer = await api('POST', '/role', { name: marked(marker) });
      expect(answer.status, marker).toBe(400);
      expect(answer.json().sandbox.error).toMatch(/fault/);
    }
  });

  test('rules go to the next workflows, to one that exists, or to those of a text', async () => {
    sandbox.faults.arm({ fault: 'workflow-ends-as', times: 2 });
    const ended = [];
    for (let n = 0; n < 3; n += 1) {
      const { workflowId } = (await api('POST', '/role', { name: `r${n}` })).json();
      await over(workflowId);
      ended.push(...(await names(1, workflowId)));
    }
    expect(ended).toEqual(['FAILED', 'FAILED', 'COMPLETED']);
    const id = await workflow();
    sandbox.faults.arm({ fault: 'vanish', jobId: id });
    expect(await rows(id)).toEqual([]);
    sandbox.faults.arm({ fault: 'vanish', source: 'special', times: 'always' });
    const [special, plain] = [
      (await api('POST', '/role', { name: 'special' })).json(),
      (await api('POST', '/role', { name: 'plain' })).json(),
    ];
    expect(await rows(special.workflowId, plain.workflowId)).toMatchObject([{ workflowId: plain.workflowId }]);
    expect(() => sandbox.faults.arm({ fault: 'vanish', jobId: 'none' })).toThrow(UnknownFaultError);
  });

  test('a rule without a vendor goes to every vendor that has the fault and the route', async () => {
    const all = await startSandbox();
    expect(() => all.faults.arm({ fault: 'server-error', route: 'lookup' })).not.toThrow();
    expect(() => all.faults.arm({ fault: 'server-error', route: 'background-jobs' })).not.toThrow();
    expect(() => all.faults.arm({ fault: 'rows-empty', times: 2 })).not.toThrow();
    expect(() => all.faults.arm({ fault: 'server-error', route: 'nowhere' })).toThrow(/fits the routes/);
    expect(() => all.faults.arm({ fault: 'server-error', route: 'lookup', vendor: 'fini' })).toThrow(/fits the routes/);
    await all.close();
  });
});
