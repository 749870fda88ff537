import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Harness } from '../helpers/harness.ts';
import {
  fastPoll as poll,
  hurried,
  refuse,
  refuseOld,
  ScriptedSharely,
  workspaceId,
} from '../helpers/scripted-sharely.ts';

describe('operations of Sharely', () => {
  let vendor: ScriptedSharely;
  let harness: Harness;

  beforeEach(async () => {
    vendor = await ScriptedSharely.start();
    harness = await Harness.start({
      env: vendor.env,
      adapters: [hurried({ graceMs: 400, confirmGraceMs: 600 })],
    });
  });

  afterEach(async () => {
    await harness.stop();
    await vendor.close();
  });

  async function run(operation: string, input: unknown, rest: object = {}) {
    return (await harness.event(await harness.submit('sharely', operation, input, { poll, ...rest }))).data;
  }

  describe.each(['workflowId', 'workflowIds', 'none', '204'] as const)('with the answer shape %s', (shape) => {
    beforeEach(() => {
      vendor.shape = shape;
    });
    const isTracked = shape === 'workflowId' || shape === 'workflowIds';

    it.skipIf(shape === '204')('role.create ends with the role that was read back', async () => {
      const input = { name: 'Reader', description: 'May read', customerRoleId: 'reader-1' };
      const data = await run('role.create', input);
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      const [role] = [...vendor.roles.values()];
      expect(data.vendorJobs).toHaveLength(1);
      expect(data.vendorJobs[0]?.result).toMatchObject({ role: { id: role?.id, ...input } });
      if (isTracked) {
        const [workflow] = [...vendor.workflows.values()];
        expect(data.vendorJobs[0]).toMatchObject({ id: workflow?.id, status: 'COMPLETED' });
        expect(data.vendorJobs[0]?.result).toMatchObject({ workflowId: workflow?.id, runId: workflow?.runId });
        expect(data.polls).toBeGreaterThan(0);
      } else {
        expect(data.vendorJobs[0]).toMatchObject({ id: role?.id, status: 'ACCEPTED' });
        expect(data.polls).toBe(0);
      }
      expect(vendor.sent(/^POST \/role$/)[0]?.body).toEqual(input);
    });

    it('role.update ends when the role has the asked values', async () => {
      const { id } = vendor.addRole();
      const data = await run('role.update', { roleId: id, name: 'Writer', description: '' });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(vendor.roles.get(id)).toMatchObject({ name: 'Writer', description: '' });
      expect(vendor.sent(/^PUT \/role\//)[0]?.body).toEqual({ name: 'Writer', description: '' });
    });

    it('role.upsert tells whether it created', async () => {
      const first = await run('role.upsert', { customerRoleId: 'ops', name: 'Ops' });
      const second = await run('role.upsert', { customerRoleId: 'ops', name: 'Operations' });
      expect([first.outcome, second.outcome]).toEqual(['succeeded', 'succeeded']);
      expect(vendor.roles.size).toBe(1);
      if (shape === '204') return;
      expect(first.vendorJobs[0]?.result).toMatchObject({ created: true });
      expect(second.vendorJobs[0]?.result).toMatchObject({ created: false, role: { name: 'Operations' } });
    });

    it('role.delete ends when the role is gone', async () => {
      const { id } = vendor.addRole();
      const data = await run('role.delete', { roleId: id });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(data.vendorJobs[0]?.result).toMatchObject({ roleId: id, deleted: true });
      expect(vendor.sent(/^DELETE \/role\//)[0]?.body).toBeUndefined();
    });

    it('knowledge.assignRoles ends when the item has the roles', async () => {
      const item = vendor.addItem();
      const roleIds = [randomUUID(), randomUUID()];
      const data = await run('knowledge.assignRoles', { knowledgeId: item.id, roleIds });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect([...item.roles].sort()).toEqual([...roleIds].sort());
      expect(vendor.sent(/^POST \/knowledge\/.*\/role$/)[0]?.body).toEqual({ roleIds });
    });

    it('knowledge.unassignRoles sends a DELETE with a body and ends when the roles are off', async () => {
      const [kept, off] = [randomUUID(), randomUUID()];
      const item = vendor.addItem({ roles: new Set([kept, off]) });
      const data = await run('knowledge.unassignRoles', { knowledgeId: item.id, roleIds: [off] });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(data.vendorJobs[0]?.result).toMatchObject({ roleIds: [kept] });
      const [call] = vendor.sent(/^DELETE \/knowledge\/.*\/role$/);
      expect(call?.body).toEqual({ roleIds: [off] });
      expect(call?.headers['content-type']).toBe('application/json');
    });

    it('knowledge.delete ends when the item answers 404', async () => {
      const item = vendor.addItem();
      const data = await run('knowledge.delete', { knowledgeId: item.id });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(vendor.sent(/^DELETE /)[0]?.path).toBe(`/v1/workspaces/${workspaceId}/knowledge/${item.id}`);
    });

    it('knowledge.delete with cascade looks after the children too', async () => {
      const child = vendor.addItem();
      const item = vendor.addItem({ children: [child.id] });
      const data = await run('knowledge.delete', { knowledgeId: item.id, cascade: true });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(data.vendorJobs[0]?.result).toMatchObject({ deleted: true, childrenChecked: 1 });
      expect(vendor.sent(/^DELETE \/knowledge\/[^/]+\/children$/)).toHaveLength(1);
    });

    it('taxonomy.publish ends when the taxonomy is published', async () => {
      const taxonomy = { id: randomUUID(), name: 'Topics', published: false };
      vendor.taxonomies.set(taxonomy.id, taxonomy);
      const data = await run('taxonomy.publish', { taxonomyId: taxonomy.id });
      expect(data).toMatchObject({ outcome: 'succeeded', error: null });
      expect(data.vendorJobs[0]?.result).toMatchObject({ taxonomyId: taxonomy.id, published: true });
    });
  });

  it('takes the role from the list when the answer names none', async () => {
    vendor.shape = '204';
    const data = await run('role.create', { name: 'Nameless' });
    expect(data).toMatchObject({ outcome: 'succeeded' });
    expect(data.vendorJobs[0]?.result).toMatchObject({ role: { name: 'Nameless' } });
  });

  it('makes one vendor job of each workflow', async () => {
    const { id } = vendor.addRole();
    const flows = [vendor.addWorkflow(), vendor.addWorkflow(() => vendor.roles.delete(id))];
    vendor.script(/^DELETE \/role/, { status: 200, json: { workflowIds: flows.map((flow) => flow.id) } });
    const data = await run('role.delete', { roleId: id });
    expect(data.outcome).toBe('succeeded');
    expect(data.vendorJobs.map((job) => job.id)).toEqual(flows.map((flow) => flow.id));
  });

  it('uses the workspace of the input for every call, with a token of its own', async () => {
    const other = randomUUID();
    vendor.workspaces.add(other);
    const { id } = vendor.addRole();
    const data = await run('role.delete', { roleId: id, workspaceId: other });
    expect(data.outcome).toBe('succeeded');
    expect(vendor.calls.filter((call) => !call.path.includes(`/workspaces/${other}/`))).toEqual([]);
    expect(vendor.exchanges).toBe(1);
  });

  describe('a status that is not the outcome', () => {
    beforeEach(() => {
      vendor.isEffective = false;
    });

    it.each([
      ['role.update', () => ({ roleId: vendor.addRole().id, name: 'Changed' })],
      ['role.delete', () => ({ roleId: vendor.addRole().id })],
      ['knowledge.assignRoles', () => ({ knowledgeId: vendor.addItem().id, roleIds: [randomUUID()] })],
      [
        'knowledge.unassignRoles',
        () => {
          const role = randomUUID();
          return { knowledgeId: vendor.addItem({ roles: new Set([role]) }).id, roleIds: [role] };
        },
      ],
      ['knowledge.delete', () => ({ knowledgeId: vendor.addItem().id })],
      [
        'taxonomy.publish',
        () => {
          const id = randomUUID();
          vendor.taxonomies.set(id, { id, name: 'T', published: false });
          return { taxonomyId: id };
        },
      ],
    ])('%s: COMPLETED and unchanged is failed, with a code of its own', async (operation, input) => {
      const data = await run(operation, input());
      expect(data.outcome).toBe('failed');
      expect(data.error?.code).toBe('outcome_contradicted');
      const [workflow] = [...vendor.workflows.values()];
      expect(data.error?.details).toMatchObject({
        vendorJobs: [{ workflowId: workflow?.id, runId: workflow?.runId }],
      });
      expect(data.vendorJobs[0]).toMatchObject({ status: 'COMPLETED', outcome: 'failed' });
    });

    it('a 204 and unchanged is the same contradiction', async () => {
      vendor.shape = '204';
      const data = await run('knowledge.delete', { knowledgeId: vendor.addItem().id });
      expect(data).toMatchObject({ outcome: 'failed', error: { code: 'outcome_contradicted' } });
    });

    it('an answer that claims nothing is waited for until the deadline', async () => {
      vendor.shape = 'none';
      const item = vendor.addItem();
      const role = randomUUID();
      const id = await harness.submit(
        'sharely',
        'knowledge.assignRoles',
        { knowledgeId: item.id, roleIds: [role] },
        { poll },
      );
      setTimeout(() => item.roles.add(role), 1_500);
      expect((await harness.event(id)).data.outcome).toBe('succeeded');
      const late = await run(
        'knowledge.assignRoles',
        { knowledgeId: item.id, roleIds: [randomUUID()] },
        { poll: { ...poll, deadlineMs: 1_500 } },
      );
      expect(late.outcome).toBe('expired');
    });

    it('a read that lags behind is given a moment', async () => {
      const { id } = vendor.addRole();
      const submission = await harness.submit('sharely', 'role.delete', { roleId: id }, { poll });
      vendor.script(/^GET \/role\//, () => {
        setTimeout(() => vendor.roles.delete(id), 50);
        return undefined;
      });
      expect((await harness.event(submission)).data.outcome).toBe('succeeded');
    });

    it('a cascade that leaves a child is a contradiction', async () => {
      const child = vendor.addItem();
      const item = vendor.addItem({ children: [child.id] });
      vendor.statuses = ['RUNNING', 'COMPLETED'];
      const submission = await harness.submit(
        'sharely',
        'knowledge.delete',
        { knowledgeId: item.id, cascade: true },
        { poll },
      );
      vendor.script(/^POST \/background-jobs/, () => {
        vendor.items.delete(item.id);
        return undefined;
      });
      const { data } = await harness.event(submission);
      expect(data).toMatchObject({ outcome: 'failed', error: { code: 'outcome_contradicted' } });
      expect(data.error?.message).toContain(child.id);
    });
  });

  describe('a refusal', () => {
    it.each([
      [400, refuse(400, 'name must be a string')],
      [404, refuse(404, 'Role not found')],
      [409, refuse(409, 'Role is in use')],
      [422, refuse(422, 'RBAC is inactive')],
    ])('%i in the new shape rejects, with the errorId', async (status, reply) => {
      vendor.script(/^DELETE \/role/, reply);
      const data = await run('role.delete', { roleId: vendor.addRole().id });
      expect(data).toMatchObject({ outcome: 'rejected', vendorJobs: [], error: { code: 'vendor_rejected' } });
      expect(data.error?.details).toMatchObject({
        httpStatus: status,
        errorId: 'e7a1b0c2-0000-4000-8000-000000000001',
      });
      expect(vendor.sent(/^DELETE/)).toHaveLength(1);
    });

    it('in the old shape rejects with its message, its class and its details', async () => {
      vendor.script(
        /^POST \/role$/,
        refuseOld(400, 'Validation Error', 'name is too long', { field: 'name', token: 'eyJhbGciOiJIUzI1NiJ9.e30.x' }),
      );
      const data = await run('role.create', { name: 'x' });
      expect(data).toMatchObject({ outcome: 'rejected' });
      expect(data.error?.message).toContain('name is too long');
      expect(data.error?.details).toMatchObject({ error: 'Validation Error', details: { field: 'name' } });
      expect(JSON.stringify(data)).not.toContain('eyJ');
    });

    it('of a taken customerRoleId rejects', async () => {
      vendor.addRole({ customerRoleId: 'ops' });
      const data = await run('role.create', { name: 'Ops', customerRoleId: 'ops' });
      expect(data).toMatchObject({ outcome: 'rejected', error: { details: { httpStatus: 409 } } });
    });

    it('of an unknown id rejects a delete at its first try', async () => {
      for (const [operation, input] of [
        ['role.delete', { roleId: randomUUID() }],
        ['knowledge.delete', { knowledgeId: randomUUID() }],
        ['knowledge.delete', { knowledgeId: randomUUID(), cascade: true }],
      ] as const) {
        expect(await run(operation, input)).toMatchObject({
          outcome: 'rejected',
        });
      }
    });

    it('of an item with children rejects a delete without cascade', async () => {
      const item = vendor.addItem({ children: [vendor.addItem().id] });
      const data = await run('knowledge.delete', { knowledgeId: item.id });
      expect(data).toMatchObject({ outcome: 'rejected' });
      expect(vendor.items.size).toBe(2);
    });

    it('with 429 is waited for and sent again', async () => {
      vendor.script(
        /^POST \/role$/,
        { ...(refuse(429, 'slow down') as object), status: 429, headers: { 'retry-after': '1' } },
        1,
      );
      const data = await run('role.create', { name: 'Patient' });
      expect(data.outcome).toBe('succeeded');
      expect(vendor.roles.size).toBe(1);
    });
  });

  it('goes on when confirming fails for a while', async () => {
    const { id } = vendor.addRole();
    vendor.script(/^GET \/role\//, refuse(503, 'down'), 2);
    const data = await run('role.delete', { roleId: id });
    expect(data.outcome).toBe('succeeded');
  });
});
