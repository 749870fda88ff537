import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sharely } from '../../src/vendors/sharely/adapter.ts';
import { Harness } from '../helpers/harness.ts';
import { fastPoll as poll, ScriptedSharely, type Call, type Reply } from '../helpers/scripted-sharely.ts';

/** What a lost submit of Sharely leads to, operation by operation. */
describe('a submit of unknown fate at Sharely', () => {
  let vendor: ScriptedSharely;
  let harness: Harness;

  beforeEach(async () => {
    vendor = await ScriptedSharely.start();
    harness = await Harness.start({
      env: vendor.env,
      adapters: [sharely],
      change: (config) => ({
        ...config,
        reconcile: { ...config.reconcile, absenceMs: 300, minAbsentLooks: 2, gapsMs: [100] },
      }),
    });
  });

  afterEach(async () => {
    await harness.stop();
    await vendor.close();
  });

  async function run(operation: string, input: unknown) {
    return (await harness.event(await harness.submit('sharely', operation, input, { poll }))).data;
  }

  /** The vendor takes it, and its answer never arrives. */
  function takenAndCut(call: Call): Reply {
    vendor.handle(call);
    return 'cut';
  }

  const unreadable: Reply = { status: 201, text: 'created', headers: { 'content-type': 'text/plain' } };

  it.each(['cut', unreadable] as const)(
    'role.create without customerRoleId ends as unconfirmed (%j)',
    async (reply) => {
      vendor.script(/^POST \/role$/, reply);
      const data = await run('role.create', { name: 'Reader' });
      expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
      expect(vendor.sent(/^POST \/role$/)).toHaveLength(1);
    },
  );

  it('role.upsert is repeated until the vendor answers, however often', { timeout: 90_000 }, async () => {
    const upsert = /^POST \/role\/upsert/;
    vendor.script(upsert, { status: 500, json: { error: 'down' } }, 5);
    const input = { name: 'Reader', customerRoleId: 'reader' };
    const id = await harness.submit('sharely', 'role.upsert', input, { poll });
    expect((await harness.event(id, 80_000)).data.outcome).toBe('succeeded');
    expect(vendor.sent(upsert)).toHaveLength(6);
  });

  it('role.upsert that is never answered ends as unconfirmed when it may wait no longer', async () => {
    vendor.script(/^POST \/role\/upsert/, { status: 500, json: { error: 'down' } });
    const input = { name: 'Reader', customerRoleId: 'reader' };
    const id = await harness.submit('sharely', 'role.upsert', input, { poll: { ...poll, submitWithinMs: 3_000 } });
    const { data } = await harness.event(id);
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(data.error?.message).toContain('within 3 s after it was enqueued');
  });

  it('role.create with customerRoleId that was taken is found and adopted', async () => {
    vendor.script(/^POST \/role$/, takenAndCut, 1);
    const data = await run('role.create', { name: 'Reader', customerRoleId: 'reader' });
    expect(data).toMatchObject({ outcome: 'succeeded' });
    const [role] = [...vendor.roles.values()];
    expect(data.vendorJobs).toMatchObject([{ id: role?.id, status: 'FOUND', result: { role: { id: role?.id } } }]);
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(1);
    expect(vendor.roles.size).toBe(1);
  });

  it('role.create with customerRoleId that was not taken is sent again', async () => {
    vendor.script(/^POST \/role$/, 'cut', 1);
    const data = await run('role.create', { name: 'Reader', customerRoleId: 'reader' });
    expect(data).toMatchObject({ outcome: 'succeeded' });
    expect(vendor.sent(/^POST \/role$/)).toHaveLength(2);
    expect(vendor.sent(/^GET \/role\/by-customer-role-id\/reader$/).length).toBeGreaterThanOrEqual(2);
    expect(vendor.roles.size).toBe(1);
  });

  it('role.create under an id that an older role has is left to the vendor to refuse', async () => {
    const createdAt = new Date(Date.now() - 86_400_000).toISOString();
    vendor.addRole({ name: 'Reader', customerRoleId: 'reader', createdAt });
    vendor.script(/^POST \/role$/, 'cut', 1);
    const data = await run('role.create', { name: 'Reader', customerRoleId: 'reader' });
    expect(data).toMatchObject({ outcome: 'rejected', error: { details: { httpStatus: 409 } } });
    expect(vendor.roles.size).toBe(1);
  });

  it('two creates under one customerRoleId never adopt the same role', async () => {
    vendor.script(/^POST \/role$/, takenAndCut, 2);
    const input = { name: 'Reader', customerRoleId: 'reader' };
    const both = await Promise.all([run('role.create', input), run('role.create', input)]);
    expect(both.map((data) => data.outcome).sort()).toEqual(['rejected', 'succeeded']);
  });

  it.each([
    ['role.update', /^PUT /, () => ({ roleId: vendor.addRole().id, name: 'Writer' })],
    ['role.upsert', /^POST \/role\/upsert/, () => ({ customerRoleId: 'ops', name: 'Ops' })],
    ['role.delete', /^DELETE /, () => ({ roleId: vendor.addRole().id })],
    ['knowledge.delete', /^DELETE /, () => ({ knowledgeId: vendor.addItem().id })],
    [
      'taxonomy.publish',
      /^POST \/taxonomy/,
      () => {
        const id = randomUUID();
        vendor.taxonomies.set(id, { id, name: 'T', published: false });
        return { taxonomyId: id };
      },
    ],
  ])('%s is repeated', async (operation, request, input) => {
    vendor.script(request, 'cut', 1);
    const data = await run(operation, input());
    expect(data).toMatchObject({ outcome: 'succeeded', error: null });
    expect(vendor.sent(request)).toHaveLength(2);
  });

  it.each([
    ['role.delete', () => ({ roleId: vendor.addRole().id })],
    ['knowledge.delete', () => ({ knowledgeId: vendor.addItem().id })],
    [
      'knowledge.delete',
      () => ({ knowledgeId: vendor.addItem({ children: [vendor.addItem().id] }).id, cascade: true }),
    ],
  ])('%s that had worked finds a 404 at its repeat, and that is success', async (operation, input) => {
    vendor.shape = '204';
    vendor.script(/^DELETE /, takenAndCut, 1);
    const data = await run(operation, input());
    expect(data).toMatchObject({ outcome: 'succeeded', error: null });
    expect(data.vendorJobs).toMatchObject([{ status: 'GONE', outcome: 'succeeded' }]);
    expect(vendor.sent(/^DELETE /)).toHaveLength(2);
  });

  it('a 404 after a 429 is still a wrong id', async () => {
    vendor.script(/^DELETE /, { status: 429, json: { error: 'slow' }, headers: { 'retry-after': '0' } }, 1);
    expect(await run('role.delete', { roleId: randomUUID() })).toMatchObject({ outcome: 'rejected' });
  });

  describe.each(['knowledge.assignRoles', 'knowledge.unassignRoles'])('%s', (operation) => {
    const method = operation === 'knowledge.assignRoles' ? /^POST \/knowledge/ : /^DELETE \/knowledge/;
    function prepare() {
      const role = randomUUID();
      const item = vendor.addItem({ roles: new Set(operation === 'knowledge.assignRoles' ? [] : [role]) });
      return { knowledgeId: item.id, roleIds: [role] };
    }

    it('is read back first, and not repeated where it worked', async () => {
      vendor.shape = 'none';
      vendor.script(method, takenAndCut, 1);
      const data = await run(operation, prepare());
      expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ status: 'FOUND' }] });
      expect(vendor.sent(method)).toHaveLength(1);
    });

    it('is repeated where it did not', async () => {
      vendor.script(method, 'cut', 1);
      const data = await run(operation, prepare());
      expect(data.outcome).toBe('succeeded');
      expect(vendor.sent(method)).toHaveLength(2);
    });
  });
});
