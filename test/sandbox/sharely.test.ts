import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';

/** The documented rows of Sharely's API, over real HTTP. */

/** Answers as they come off the wire: tests look into them as they please. */
type Wire = ReturnType<typeof JSON.parse>;

let sandbox: Sandbox;
let token = '';
const workspaceId: string = randomUUID();
const organizationid = randomUUID();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

beforeAll(async () => {
  sandbox = await startSandbox({ speed: 10_000, vendors: ['sharely'] });
});
beforeEach(async () => {
  token = (await exchange()).body.token as string;
});
afterEach(() => sandbox.reset());
afterAll(() => sandbox.close());

async function http(method: string, url: string, body: unknown, headers: Record<string, string>) {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
}
const exchange = (body: unknown = {}, key = 'sk-sharely-test', workspace = workspaceId) =>
  http('POST', `${sandbox.sharelyUrl}/workspaces/${workspace}/generate-access-key-token`, body, { 'x-api-key': key });
const v1 = (path: string, workspace = workspaceId) => `${sandbox.sharelyUrl}/v1/workspaces/${workspace}${path}`;
const auth = () => ({ authorization: `Bearer ${token}`, organizationid });
const api = (method: string, path: string, body?: unknown) => http(method, v1(path), body, auth());
const control = async (method: string, path: string, body?: unknown) =>
  (await http(method, `${sandbox.url}/_control/sharely${path}`, body, {})).body;
const seedRole = async (fields = {}) => (await control('POST', '/roles', { workspaceId, ...fields })).roles[0];
const seedKnowledge = async (fields = {}) =>
  (await control('POST', '/knowledge', { workspaceId, ...fields })).knowledge[0];
const seedTaxonomy = async (fields = {}) =>
  (await control('POST', '/taxonomies', { workspaceId, ...fields })).taxonomies[0];
const jobs = async (...jobIds: string[]) => (await api('POST', '/background-jobs', { jobIds })).body as Wire[];
async function completed(workflowId: string): Promise<Wire> {
  await expect
    .poll(async () => (await jobs(workflowId))[0]?.status.name, { interval: 3, timeout: 5_000 })
    .toBe('COMPLETED');
}
const NEW_ERROR = { error: expect.any(String), errorId: expect.stringMatching(UUID) };

describe('tokens', () => {
  const claims = (jwt: string) => JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString());

  test('an exchange answers a JWT for 24 hours, another one each time, and is counted', async () => {
    sandbox.ledger.clear();
    const { status, body } = await exchange();
    expect([status, Object.keys(body as object)]).toEqual([200, ['token']]);
    const { exp, iat } = claims(body.token);
    expect(exp - iat).toBe(86_400);
    expect((await exchange()).body.token).not.toBe(body.token);
    expect(sandbox.ledger.summary().byRoute).toEqual({ 'sharely.token': 2 });
    const text = JSON.stringify(sandbox.ledger.entries({ route: 'token' }));
    expect(text).toContain('"x-api-key":"… (');
    expect(text).not.toContain('sk-sharely-test');
  });

  test('an empty body will do; the endpoint is not below /v1', async () => {
    const url = `${sandbox.sharelyUrl}/workspaces/${workspaceId}/generate-access-key-token`;
    expect((await http('POST', url, undefined, { 'x-api-key': 'sk-sharely-test' })).status).toBe(200);
    expect((await http('POST', url.replace('/workspaces', '/v1/workspaces'), {}, auth())).status).toBe(404);
  });

  test.each([
    ['both roles', { roleId: randomUUID(), customerRoleId: 'a' }, 400],
    ['a malformed customerRoleId', { customerRoleId: 'a b' }, 400],
    ['a customerRoleId of 256', { customerRoleId: 'a'.repeat(256) }, 400],
    ['a roleId that is no UUID', { roleId: 'x' }, 400],
    ['a body that is no JSON', '{', 400],
    ['an unknown role', { roleId: randomUUID() }, 404],
    ['an unknown customer role', { customerRoleId: 'nobody' }, 404],
  ])('refuses %s', async (_what, body, status) => {
    expect(await exchange(body)).toMatchObject({
      status,
      body: { error: expect.any(String), message: expect.any(String) },
    });
  });

  test('refuses bad keys with 401 and a workspace that is no UUID with 400', async () => {
    for (const key of ['sk-sharely-bad-1', 'sk_other', '']) expect((await exchange({}, key)).status).toBe(401);
    expect((await exchange({}, 'sk-sharely-1', 'main')).status).toBe(400);
  });

  test('a token can be bound to a role, and dies with it', async () => {
    const role = await seedRole({ customerRoleId: 'editors' });
    const bound = (await exchange({ customerRoleId: 'editors' })).body.token as string;
    expect(claims(bound).roleId).toBe(role.id);
    const look = () => http('GET', v1('/role'), undefined, { authorization: `Bearer ${bound}`, organizationid });
    expect((await look()).status).toBe(200);
    await completed((await api('DELETE', `/role/${role.id as string}`)).body.workflowId);
    expect((await look()).status).toBe(401);
    expect((await exchange({ roleId: role.id })).status).toBe(404);
  });

  test('tokens live as long as set, say so or not, and can be minted', async () => {
    sandbox.setLimits({ tokenSeconds: 0.1, tokenExp: 'absent' }, 'sharely');
    token = (await exchange()).body.token as string;
    expect(claims(token)).not.toHaveProperty('exp');
    expect((await api('GET', '/role')).status).toBe(200);
    await expect.poll(async () => (await api('GET', '/role')).status).toBe(401);
    sandbox.setLimits({ tokenExp: 'unreadable' }, 'sharely');
    expect(typeof claims((await exchange()).body.token).exp).toBe('string');
    token = (await control('POST', '/tokens', { workspaceId, seconds: 60 })).token as string;
    expect((await api('GET', '/role')).status).toBe(200);
    expect(await control('POST', '/tokens/revoke')).toEqual({ revoked: expect.any(Number) });
    expect((await api('GET', '/role')).status).toBe(401);
  });
});

describe('access below /v1', () => {
  const withHeaders = (headers: Record<string, string>, workspace = workspaceId) =>
    http('GET', v1('/role', workspace), undefined, headers);
  const bearer = (value: string) => ({ authorization: `Bearer ${value}`, organizationid });

  test('every answer has X-API-Version', async () => {
    expect((await api('GET', '/role')).headers.get('x-api-version')).toBe('v1');
    expect((await withHeaders({})).headers.get('x-api-version')).toBe('v1');
    expect((await exchange()).headers.get('x-api-version')).toBeNull();
  });

  test('401 without a token, with a strange one, with a raw key, with one of another workspace', async () => {
    expect(await withHeaders({ organizationid })).toMatchObject({ status: 401, body: NEW_ERROR });
    expect((await withHeaders(bearer('a.b.c'))).status).toBe(401);
    expect((await withHeaders(bearer('sk-sharely-test'))).status).toBe(401);
    expect((await withHeaders({ 'x-api-key': 'sk-sharely-test', organizationid })).status).toBe(401);
    expect((await withHeaders(auth(), randomUUID())).status).toBe(401);
    sandbox.setLimits({ acceptsRawKey: true }, 'sharely');
    expect((await withHeaders(bearer('sk-sharely-test'))).status).toBe(200);
    expect((await withHeaders(bearer('sk-sharely-bad'))).status).toBe(401);
  });

  test('the organization is required, a UUID, and the right one', async () => {
    const { authorization } = auth();
    expect(await withHeaders({ authorization })).toMatchObject({ status: 400, body: NEW_ERROR });
    expect((await withHeaders({ authorization, organizationid: 'org' })).status).toBe(400);
    sandbox.setLimits({ organizationId: randomUUID() }, 'sharely');
    expect((await withHeaders(auth())).status).toBe(401);
    sandbox.setLimits({ organizationId: organizationid }, 'sharely');
    expect((await withHeaders(auth())).status).toBe(200);
  });

  test('tokens of some keys are never good: 401 for useless ones, 403 for weak ones', async () => {
    for (const [key, status] of [
      ['sk-sharely-useless', 401],
      ['sk-sharely-weak', 403],
    ] as const) {
      token = (await exchange({}, key)).body.token as string;
      expect((await api('GET', '/role')).status).toBe(status);
    }
  });

  test('RBAC can want a role in the token', async () => {
    sandbox.setLimits({ rbacRefusesRoleless: true }, 'sharely');
    expect(await api('GET', '/role')).toMatchObject({ status: 401, body: { error: expect.stringContaining('Role') } });
    const { id } = await seedRole();
    token = (await exchange({ roleId: id })).body.token as string;
    expect((await api('GET', '/role')).status).toBe(200);
    expect((await api('PUT', '/rbac-status', { rbacStatus: 'INACTIVE' })).body).toMatchObject({
      id: workspaceId,
      rbacStatus: 'INACTIVE',
    });
    token = (await exchange()).body.token as string;
    expect((await api('GET', '')).body).toMatchObject({ rbacStatus: 'INACTIVE', organizationId: organizationid });
  });

  test('errors have the new shape, or the old one', async () => {
    expect((await api('GET', `/role/${randomUUID()}`)).body).toEqual(NEW_ERROR);
    sandbox.setLimits({ errorShape: 'old' }, 'sharely');
    expect((await api('GET', `/role/${randomUUID()}`)).body).toEqual({ error: 'Not Found', message: 'Role not found' });
  });

  test('unknown paths are 404', async () => {
    expect((await api('GET', '/nothing')).status).toBe(404);
    expect((await http('GET', `${sandbox.sharelyUrl}/elsewhere`, undefined, {})).status).toBe(404);
  });
});

describe('roles', () => {
  const role = {
    id: expect.stringMatching(UUID),
    name: 'Editors',
    description: null,
    customerRoleId: null,
    createdAt: expect.stringMatching(TIME),
    updatedAt: expect.stringMatching(TIME),
  };

  test('create answers 201 with workflow and role, and the role is there at once', async () => {
    const { status, body } = await api('POST', '/role', { name: 'Editors' });
    expect([status, body]).toEqual([201, { workflowId: expect.stringMatching(UUID), role }]);
    expect((await api('GET', `/role/${body.role.id as string}`)).body).toEqual(body.role);
    expect(sandbox.ledger.entries({ route: 'role-create' })).toMatchObject([
      { kind: 'create', jobCreated: true, jobId: body.workflowId, source: 'Editors', idCount: null },
    ]);
  });

  test('or when the workflow has ended, with a delay of reads', async () => {
    sandbox.setSpeed(0.001);
    sandbox.setLimits({ roleEffect: 'at-end', readDelayMs: 150 }, 'sharely');
    const { role: made, workflowId } = (await api('POST', '/role', { name: 'E', customerRoleId: 'e' })).body;
    const look = async () => (await api('GET', `/role/${made.id as string}`)).status;
    expect([await look(), (await api('GET', '/role/by-customer-role-id/e')).status]).toEqual([404, 404]);
    // The id is taken all the same.
    expect((await api('POST', '/role', { name: 'E', customerRoleId: 'e' })).status).toBe(409);
    sandbox.finishJob(workflowId, { outcome: 'done' });
    expect((await jobs(workflowId))[0]).toMatchObject({ status: { code: 2, name: 'COMPLETED' } });
    expect(await look()).toBe(404);
    await expect.poll(look).toBe(200);
  });

  test.each([
    ['no name', {}],
    ['a name of 256', { name: 'n'.repeat(256) }],
    ['a description of 1001', { name: 'n', description: 'd'.repeat(1_001) }],
    ['a customerRoleId of 256', { name: 'n', customerRoleId: 'c'.repeat(256) }],
    ['a body that is no JSON', '['],
  ])('create refuses %s with 400', async (_what, body) => {
    expect(await api('POST', '/role', body)).toMatchObject({ status: 400, body: NEW_ERROR });
  });

  test('a second role with the same customerRoleId is refused', async () => {
    await api('POST', '/role', { name: 'A', customerRoleId: 'same' });
    expect((await api('POST', '/role', { name: 'B', customerRoleId: 'same' })).status).toBe(409);
    sandbox.setLimits({ duplicateStatus: 400 }, 'sharely');
    expect((await api('POST', '/role', { name: 'B', customerRoleId: 'same' })).status).toBe(400);
    expect((await api('GET', '/role')).body).toMatchObject({ total: 1, roles: [{ name: 'A' }] });
    expect(sandbox.ledger.creates('dataId')).toEqual([{ key: 'same', requests: 3, jobIds: [expect.any(String)] }]);
  });

  test('update changes what is given; 404 for an unknown role', async () => {
    const { id } = await seedRole({ name: 'Old', description: 'kept', customerRoleId: 'c' });
    const { status, body } = await api('PUT', `/role/${id as string}`, { name: 'New' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ workflowId: expect.any(String), role: { name: 'New', description: 'kept' } });
    expect((await api('GET', '/role/by-customer-role-id/c')).body).toMatchObject({ id, name: 'New' });
    await api('PUT', `/role/${id as string}`, { description: null });
    expect((await api('GET', `/role/${id as string}`)).body.description).toBeNull();
    expect((await api('PUT', `/role/${randomUUID()}`, { name: 'x' })).status).toBe(404);
  });

  test('upsert creates with 201, updates with 200, and can be repeated', async () => {
    const one = await api('POST', '/role/upsert', { customerRoleId: 'u/1', name: 'U' });
    const two = await api('POST', '/role/upsert', { customerRoleId: 'u/1', description: 'd' });
    expect([one.status, one.body.created, two.status, two.body.created]).toEqual([201, true, 200, false]);
    expect(two.body.role).toMatchObject({ id: one.body.role.id, name: 'U', description: 'd' });
    expect(two.body.workflowId).not.toBe(one.body.workflowId);
    expect((await api('GET', `/role/by-customer-role-id/${encodeURIComponent('u/1')}`)).body.name).toBe('U');
    expect((await api('POST', '/role/upsert', { name: 'no key' })).status).toBe(400);
  });

  test('delete answers 200; the role is gone when the workflow has ended, from knowledge too', async () => {
    sandbox.setSpeed(0.001);
    const { id } = await seedRole();
    const item = await seedKnowledge({ roleIds: [id] });
    const { status, body } = await api('DELETE', `/role/${id as string}`);
    expect([status, body]).toEqual([200, { workflowId: expect.any(String), message: expect.any(String) }]);
    expect((await api('GET', `/role/${id as string}`)).status).toBe(200);
    sandbox.finishJob(body.workflowId, { outcome: 'done' });
    expect((await api('GET', `/role/${id as string}`)).status).toBe(404);
    expect((await api('GET', `/knowledge/${item.id as string}/role`)).body).toEqual([]);
    expect((await api('DELETE', `/role/${id as string}`)).status).toBe(404);
  });

  test('delete refuses roles in use with 409 and ids that are none with 400', async () => {
    const used = await seedRole({ isInUse: true });
    const onTaxonomy = await seedRole();
    await seedTaxonomy({ roleIds: [onTaxonomy.id] });
    for (const { id } of [used, onTaxonomy]) expect((await api('DELETE', `/role/${id as string}`)).status).toBe(409);
    expect((await api('DELETE', '/role/x')).status).toBe(400);
  });
});

describe('roles on knowledge', () => {
  test('assign and unassign answer 202 with workflowIds and take effect at the end', async () => {
    const [a, b] = [await seedRole({ name: 'A', description: 'd' }), await seedRole({ name: 'B' })];
    const { id } = await seedKnowledge();
    const path = `/knowledge/${id as string}/role`;
    const assigned = await api('POST', path, { roleIds: [a.id, b.id] });
    expect([assigned.status, assigned.body.workflowIds]).toEqual([202, [expect.stringMatching(UUID)]]);
    await completed(assigned.body.workflowIds[0]);
    expect((await api('GET', path)).body).toEqual([
      { id: a.id, name: 'A', description: 'd', metadata: {} },
      { id: b.id, name: 'B', description: null, metadata: {} },
    ]);
    expect((await api('GET', `/knowledge/${id as string}`)).body.roles).toEqual([
      { id: a.id, name: 'A', metadata: {} },
      { id: b.id, name: 'B', metadata: {} },
    ]);
    const removed = await api('DELETE', path, { roleIds: [a.id] });
    expect(removed.status).toBe(202);
    await completed(removed.body.workflowIds[0]);
    expect((await api('GET', path)).body).toMatchObject([{ id: b.id }]);
  });

  test('refuses unknown knowledge and roles, bad bodies, and inactive RBAC', async () => {
    const role = await seedRole();
    const { id } = await seedKnowledge();
    const path = `/knowledge/${id as string}/role`;
    const body = { roleIds: [role.id] };
    expect((await api('POST', `/knowledge/${randomUUID()}/role`, body)).status).toBe(404);
    expect((await api('POST', path, { roleIds: [randomUUID()] })).status).toBe(404);
    for (const bad of [{}, { roleIds: [] }, { roleIds: ['x'] }])
      expect((await api('POST', path, bad)).status).toBe(400);
    sandbox.setLimits({ rbacStatus: 'INACTIVE' }, 'sharely');
    expect((await api('POST', path, body)).status).toBe(400);
  });
});

describe('knowledge', () => {
  test('is listed in pages and read one by one', async () => {
    await seedKnowledge({ count: 130, title: 'K' });
    const first = (await api('GET', '/knowledge')).body;
    expect([first.knowledge.length, first.total]).toEqual([100, 130]);
    expect((await api('GET', '/knowledge?limit=50&offset=100')).body.knowledge).toHaveLength(30);
    expect((await api('GET', '/knowledge?limit=1001')).status).toBe(400);
    const role = await seedRole();
    const item = await seedKnowledge({ type: 'WEBSITE', roleIds: [role.id] });
    expect((await api('GET', `/knowledge?roleId=${role.id as string}`)).body.total).toBe(1);
    expect((await api('GET', '/knowledge?type=WEBSITE')).body.total).toBe(1);
    expect((await api('GET', `/knowledge/${item.id as string}`)).body).toEqual({
      id: item.id,
      workspaceId,
      title: 'Seeded knowledge',
      description: null,
      type: 'WEBSITE',
      status: 'COMPLETED',
      metadata: {},
      tags: [],
      categories: [],
      roles: [{ id: role.id, name: 'Seeded role', metadata: {} }],
      createdAt: expect.stringMatching(TIME),
      updatedAt: expect.stringMatching(TIME),
      processedAt: expect.stringMatching(TIME),
    });
  });

  test('delete answers 204 without a body; gone means 404', async () => {
    const { id } = await seedKnowledge();
    const answer = await api('DELETE', `/knowledge/${id as string}`);
    expect([answer.status, answer.body, answer.headers.get('x-api-version')]).toEqual([204, null, 'v1']);
    await expect.poll(async () => (await api('GET', `/knowledge/${id as string}`)).status).toBe(404);
    expect((await api('DELETE', `/knowledge/${id as string}`)).status).toBe(404);
    expect(sandbox.ledger.entries({ route: 'knowledge-delete' })[0]).toMatchObject({ jobCreated: true, dataId: id });
  });

  test('delete refuses an item with children; the cascade takes them all', async () => {
    const { id, childIds } = await seedKnowledge({ children: 3 });
    expect((await api('DELETE', `/knowledge/${id as string}`)).status).toBe(409);
    sandbox.setLimits({ childrenStatus: 422 }, 'sharely');
    expect((await api('DELETE', `/knowledge/${id as string}`)).status).toBe(422);
    const { status, body } = await api('DELETE', `/knowledge/${id as string}/children`);
    expect([status, body.workflowId]).toEqual([202, expect.stringMatching(UUID)]);
    await completed(body.workflowId);
    for (const gone of [id, ...childIds]) {
      expect((await api('GET', `/knowledge/${gone as string}`)).status).toBe(404);
    }
    expect((await api('GET', '/knowledge')).body).toEqual({ knowledge: [], total: 0 });
    expect((await api('DELETE', `/knowledge/${id as string}/children`)).status).toBe(404);
  });

  test('create is synchronous, in the background with the old field', async () => {
    const { status, body } = await api('POST', '/knowledge', {
      type: 'STRING',
      content: 'text',
      title: 'T',
      metadata: { k: 1 },
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({ id: expect.any(String), type: 'TEXT', status: 'COMPLETED', metadata: { k: 1 } });
    const later = await api('POST', '/knowledge', { type: 'URL', url: 'https://e.com', status: 'BACKGROUND_START' });
    expect(later.body).not.toHaveProperty('workflowId');
    await expect
      .poll(async () => (await api('GET', `/knowledge/${later.body.id as string}`)).body.status)
      .toBe('COMPLETED');
    for (const bad of [{}, { type: 'STRING' }, { type: 'URL' }, { type: 'SHOPIFY_STORE' }]) {
      expect((await api('POST', '/knowledge', bad)).status).toBe(400);
    }
  });
});

describe('upload', () => {
  const form = (fields: Record<string, string>, file: Blob | null = new Blob(['hello']), name = 'a.txt') => {
    const data = new FormData();
    for (const [key, value] of Object.entries(fields)) data.set(key, value);
    if (file !== null) data.set('file', file, name);
    return data;
  };
  const upload = async (body: FormData | string, headers: Record<string, string> = {}) => {
    const response = await fetch(v1('/knowledge/file'), { method: 'POST', headers: { ...auth(), ...headers }, body });
    return { status: response.status, body: (await response.json()) as Wire };
  };
  const kept = (id: string) => control('GET', `/knowledge/${id}?workspaceId=${workspaceId}`);

  test('in the background: 201 with the knowledge id and no workflow, done later', async () => {
    sandbox.setSpeed(0.001);
    const { status, body } = await upload(
      form({ title: 'Ünïcode', description: 'd', language: 'de', status: 'BACKGROUND_START' }),
    );
    expect([status, body]).toEqual([
      201,
      {
        id: body.knowledgeId,
        knowledgeId: expect.stringMatching(UUID),
        title: 'Ünïcode',
        type: 'FILE',
        status: 'PROCESSING',
      },
    ]);
    const look = async () => (await api('GET', `/knowledge/${body.knowledgeId as string}`)).body;
    expect(await look()).toMatchObject({ title: 'Ünïcode', description: 'd', status: 'PROCESSING', processedAt: null });
    sandbox.setSpeed(1e6);
    await expect.poll(async () => (await look()).status).toBe('COMPLETED');
    expect((await look()).processedAt).toMatch(TIME);
    expect((await api('GET', '/knowledge?language=de')).body.total).toBe(1);
  });

  test('without it: done with the answer', async () => {
    const { status, body } = await upload(form({}, new Blob(['x']), 'notes "final" (1).txt'));
    expect([status, body]).toMatchObject([201, { title: 'notes "final" (1).txt', status: 'PROCESSED' }]);
    expect((await api('GET', `/knowledge/${body.knowledgeId as string}`)).body.status).toBe('COMPLETED');
  });

  test('whatever the bytes and however they arrive, the file is whole', async () => {
    const bytes = Buffer.alloc(2_500_001, '\r\n--not-the-boundary\r\n');
    const data = form({ title: 'Big' }, new Blob([bytes]), 'big.bin');
    data.set('language', 'en');
    const { body } = await upload(data);
    expect((await kept(body.knowledgeId)).file).toEqual({
      name: 'big.bin',
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
    // Field after the file, and byte by byte.
    const text =
      '--b\r\nContent-Disposition: form-data; name="file"; filename=plain.txt\r\n\r\nab\r\n--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nLate\r\n--b--\r\n';
    const response = await fetch(v1('/knowledge/file'), {
      method: 'POST',
      headers: { ...auth(), 'content-type': 'multipart/form-data; boundary=b' },
      body: new ReadableStream({
        async start(controller) {
          for (const letter of text) {
            controller.enqueue(Buffer.from(letter));
            if (letter === '-') await new Promise((resolve) => setImmediate(resolve));
          }
          controller.close();
        },
      }),
      duplex: 'half',
    });
    const piecemeal = (await response.json()) as Wire;
    expect(piecemeal.title).toBe('Late');
    expect((await kept(piecemeal.knowledgeId)).file).toMatchObject({ name: 'plain.txt', bytes: 2 });
  });

  test('refuses what is no multipart, has no file, or breaks off', async () => {
    const multipart = { 'content-type': 'multipart/form-data; boundary=b' };
    expect((await upload('{}', { 'content-type': 'application/json' })).status).toBe(400);
    expect((await upload(form({ title: 'T' }, null))).status).toBe(400);
    expect(
      (await upload('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc', multipart)).status,
    ).toBe(400);
    expect((await upload('--b\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--b--', multipart)).status).toBe(400);
    sandbox.setLimits({ maxUploadBytes: 3 }, 'sharely');
    expect((await upload(form({}))).status).toBe(413);
    expect((await api('GET', '/knowledge')).body.total).toBe(0);
  });

  test('a refused upload is read to its end, and the connection lives on', async () => {
    token = 'wrong';
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => upload(form({}, new Blob([Buffer.alloc(5_000_000)]))).catch(() => null)),
    );
    expect(answers.filter((answer) => answer !== null).map((answer) => answer.status)).toContain(401);
    token = (await exchange()).body.token as string;
    expect((await api('GET', '/knowledge')).body.total).toBe(0);
  });

  test('ids and status words can be others', async () => {
    sandbox.setLimits(
      { uploadIds: 'different', knowledgeStatus: { running: 'QUEUED', done: 'READY', failed: 'BROKEN' } },
      'sharely',
    );
    sandbox.setSpeed(0.001);
    const { body } = await upload(form({ status: 'BACKGROUND_START' }));
    expect(body.status).toBe('QUEUED');
    expect(body.id).not.toBe(body.knowledgeId);
    const metadata = async () => (await api('GET', `/upload-file-metadata/${body.id as string}`)).body;
    expect(await metadata()).toEqual({ knowledge: null, spaceKnowledge: null });
    sandbox.finishJob(sandbox.jobs().jobs[0]?.id ?? '', { outcome: 'done' });
    expect((await metadata()).knowledge).toMatchObject({ id: body.knowledgeId, status: 'READY' });
    sandbox.setLimits({ uploadIds: 'only-id' }, 'sharely');
    expect((await upload(form({}))).body).not.toHaveProperty('knowledgeId');
    sandbox.setLimits({ uploadIds: 'only-knowledge-id' }, 'sharely');
    expect((await upload(form({}))).body).not.toHaveProperty('id');
  });

  test('files lie in a folder that close removes', async () => {
    const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('vendor-sandbox-'));
    const before = folders();
    const other = await startSandbox({ vendors: ['sharely'] });
    const grant = (await (
      await fetch(`${other.url}/_control/sharely/tokens`, { method: 'POST', body: JSON.stringify({ workspaceId }) })
    ).json()) as Wire;
    await fetch(`${other.sharelyUrl}/v1/workspaces/${workspaceId}/knowledge/file`, {
      method: 'POST',
      headers: { authorization: `Bearer ${grant.token as string}`, organizationid },
      body: form({}),
    });
    const own = folders().filter((name) => !before.includes(name));
    expect(own.length).toBeGreaterThan(0);
    await other.close();
    expect(own.some((name) => !existsSync(`${tmpdir()}/${name}`))).toBe(true);
  });
});

describe('taxonomies', () => {
  test('are created unpublished, listed as a bare array, published by a workflow', async () => {
    const made = (await api('POST', '/taxonomy', { name: 'Topics' })).body;
    expect(made).toMatchObject({ name: 'Topics', published: false });
    expect((await api('GET', '/taxonomy')).body).toEqual([made]);
    const full = (await api('GET', '/taxonomy?includeRoles=true&includeLanguages=true&includeCategories=true')).body;
    expect(full).toEqual([{ ...made, roles: [], languages: [], categoryCount: 0 }]);
    const { status, body } = await api('POST', `/taxonomy/${made.id as string}/publish`);
    expect([status, body.workflowId]).toEqual([202, expect.stringMatching(UUID)]);
    await completed(body.workflowId);
    expect((await api('GET', '/taxonomy')).body).toMatchObject([{ published: true }]);
    expect((await api('POST', `/taxonomy/${randomUUID()}/publish`)).status).toBe(404);
    expect((await api('POST', '/taxonomy', {})).status).toBe(400);
  });

  test('take roles at once, in counts', async () => {
    const { id } = await seedTaxonomy();
    const role = await seedRole();
    const path = `/taxonomy/${id as string}/roles`;
    const body = { roleIds: [role.id] };
    expect((await api('POST', path, body)).body).toEqual({ success: true, assignedCount: 1 });
    expect((await api('POST', path, body)).body).toEqual({ success: true, assignedCount: 0 });
    expect((await api('GET', `/taxonomy?roleId=${role.id as string}`)).body).toHaveLength(1);
    expect((await api('DELETE', path, body)).body).toEqual({ success: true, removedCount: 1 });
    expect((await api('POST', path, { roleIds: [randomUUID()] })).status).toBe(404);
    expect((await api('POST', path, {})).status).toBe(400);
  });
});

describe('background-jobs', () => {
  const start = async (count: number, workspace = workspaceId) =>
    ((await control('POST', '/workflows', { workspaceId: workspace, count })).workflows as Wire[]).map(
      (workflow) => workflow.workflowId as string,
    );

  test('a bare array of what was found, in an order of its own', async () => {
    sandbox.setSpeed(0.001);
    const workflowIds = await start(20);
    const { status, body } = await api('POST', '/background-jobs', {
      jobIds: [...workflowIds, 'unknown', randomUUID()],
    });
    expect([status, Array.isArray(body), body.length]).toEqual([200, true, 20]);
    expect(body.map((row: Wire) => row.workflowId)).not.toEqual(workflowIds);
    expect(body[0]).toEqual({
      workflowId: expect.any(String),
      status: { code: 1, name: 'RUNNING' },
      runId: expect.stringMatching(UUID),
    });
    expect(sandbox.ledger.entries({ route: 'background-jobs' })).toMatchObject([{ kind: 'lookup', idCount: 22 }]);
    expect(sandbox.ledger.lookups(workflowIds[0] ?? '')).toHaveLength(1);
    expect(sandbox.job(workflowIds[0] ?? '')).toMatchObject({ lookups: 1, status: 'RUNNING' });
  });

  test('no match is `[]`; another workspace and repeats count for nothing', async () => {
    const [foreign] = await start(1, randomUUID());
    const [own] = await start(1);
    expect(await jobs('none', foreign ?? '')).toEqual([]);
    expect(await jobs(own ?? '', own ?? '')).toHaveLength(1);
  });

  test('without jobIds: all of the workspace; an empty list as the settings say', async () => {
    await start(3);
    await start(2, randomUUID());
    expect((await api('POST', '/background-jobs', {})).body).toHaveLength(3);
    expect((await api('POST', '/background-jobs')).body).toHaveLength(3);
    await control('POST', '/workflows', { workspaceId, source: '.fault-workflow-stays-as--RUNNING' });
    expect((await api('POST', '/background-jobs', {})).body).toHaveLength(4);
    expect(await jobs()).toHaveLength(4);
    sandbox.setLimits({ emptyJobIds: 'none' }, 'sharely');
    expect(await jobs()).toEqual([]);
    sandbox.setLimits({ emptyJobIds: 'refuse', maxJobIds: 1 }, 'sharely');
    expect((await api('POST', '/background-jobs', { jobIds: [] })).status).toBe(400);
    expect((await api('POST', '/background-jobs', { jobIds: ['a', 'b'] })).status).toBe(400);
  });

  test.each([{ jobIds: 'x' }, { jobIds: [1] }, '{'])('refuses %o with 400', async (body) => {
    expect(await api('POST', '/background-jobs', body)).toMatchObject({ status: 400, body: NEW_ERROR });
  });
});

describe('settings', () => {
  test('where ids stand and which status goes out, operation by operation', async () => {
    const item = await seedKnowledge();
    sandbox.setLimits(
      {
        replyIds: { 'role-create': 'workflowIds', 'role-delete': 'none', 'knowledge-delete': 'workflowId' },
        replyStatus: { 'role-create': 202, 'role-delete': 204, 'knowledge-delete': 202 },
      },
      'sharely',
    );
    const made = await api('POST', '/role', { name: 'A' });
    expect([made.status, made.body.workflowIds.length]).toEqual([202, 1]);
    const gone = await api('DELETE', `/role/${made.body.role.id as string}`);
    expect([gone.status, gone.body]).toEqual([204, null]);
    await expect.poll(async () => (await api('GET', `/role/${made.body.role.id as string}`)).status).toBe(404);
    expect((await api('DELETE', `/knowledge/${item.id as string}`)).body.workflowId).toMatch(UUID);
    // The others are as they were.
    expect((await api('POST', '/role/upsert', { customerRoleId: 'u' })).body.workflowId).toMatch(UUID);
    expect(() => sandbox.setLimits({ replyIds: { nope: 'none' } }, 'sharely')).toThrow(/nope|Invalid/i);
  });

  test('limits are off until set, and counted per key', async () => {
    sandbox.setLimits({ requestsPerMinute: 2, minuteMs: 3_600_000, throttleHint: 'both' }, 'sharely');
    const answers = [await api('GET', '/role'), await api('GET', '/role'), await api('GET', '/role')];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429]);
    expect(answers[2]?.body).toMatchObject({ ...NEW_ERROR, retryAfter: expect.any(Number) });
    expect(Number(answers[2]?.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('durations follow the speed, or are set', async () => {
    sandbox.setLimits({ workflowMs: { 'role-create': 3_000_000 } }, 'sharely');
    const startedAt = Date.now();
    await completed((await api('POST', '/role', { name: 'slow' })).body.workflowId);
    expect(Date.now() - startedAt).toBeGreaterThan(200);
  });
});

describe('control', () => {
  test('workflows are shown, ended, forgotten and given other runs by hand', async () => {
    sandbox.setSpeed(0.001);
    const taxonomy = await seedTaxonomy();
    const { workflowId } = (await api('POST', `/taxonomy/${taxonomy.id as string}/publish`)).body;
    expect(sandbox.jobs({ vendor: 'sharely', dataId: taxonomy.id as string, isTerminal: false }).total).toBe(1);
    await control('POST', `/workflows/${workflowId as string}`, { runId: 'run-2' });
    expect(await jobs(workflowId)).toMatchObject([{ runId: 'run-2' }]);
    expect(await control('POST', `/workflows/${workflowId as string}`, { status: 'COMPLETED' })).toMatchObject({
      status: 'COMPLETED',
    });
    expect((await api('GET', '/taxonomy')).body[0].published).toBe(true);
    expect((await control('POST', `/workflows/${workflowId as string}`, { status: 'FAILED' })).sandbox.error).toContain(
      'ended',
    );
    await control('POST', `/workflows/${workflowId as string}`, { isForgotten: true });
    expect(await jobs(workflowId)).toEqual([]);
    const failing = (await api('POST', '/role', { name: 'A' })).body.workflowId as string;
    expect(sandbox.finishJob(failing, { outcome: 'failed', code: 'TERMINATED' })).toBe(true);
    expect(await jobs(failing)).toMatchObject([{ status: { code: 5, name: 'TERMINATED' } }]);
    expect(sandbox.finishJob(failing, { outcome: 'done' })).toBe(false);
  });

  test('misspelt fields and unknown ids are refused', async () => {
    expect((await control('POST', '/roles', { workspaceId, nam: 'x' })).sandbox.error).toEqual(expect.any(String));
    expect((await control('POST', '/roles', { workspaceId: 'main' })).sandbox.error).toEqual(expect.any(String));
    expect((await control('POST', '/workflows/none', {})).sandbox.error).toContain('no workflow');
    expect((await control('GET', `/knowledge/none?workspaceId=${workspaceId}`)).sandbox.error).toContain(
      'no knowledge',
    );
  });

  test('thousands of workflows need no timers and answer quickly', async () => {
    sandbox.setSpeed(1);
    const startedAt = performance.now();
    const { workflows } = await control('POST', '/workflows', { workspaceId, count: 5_000 });
    const workflowIds = workflows.map((workflow: Wire) => workflow.workflowId as string) as string[];
    for (let at = 0; at < workflowIds.length; at += 50) {
      expect(await jobs(...workflowIds.slice(at, at + 50))).toHaveLength(50);
    }
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(50);
    sandbox.setSpeed(1e6);
    await expect.poll(() => sandbox.jobs({ isTerminal: false }).total).toBe(0);
  });
});
