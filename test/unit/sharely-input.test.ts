import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { toFaults } from '../../src/queues/submit-job.ts';
import { account } from '../../src/vendors/sharely/account.ts';
import { sharely } from '../../src/vendors/sharely/adapter.ts';
import { submitReply } from '../../src/vendors/sharely/wire.ts';

const id = '11111111-2222-4333-8444-555555555555';
const other = '22222222-2222-4333-8444-555555555555';

function faults(operation: keyof typeof sharely.operations, input: unknown): string[] {
  const parsed = (sharely.operations[operation].input as z.ZodType).safeParse(input);
  return parsed.success ? [] : toFaults(parsed.error).map((fault) => fault.path);
}

describe('input of Sharely operations', () => {
  it.each([
    ['role.create', { name: 'Reader' }],
    ['role.create', { name: 'x'.repeat(255), description: 'y'.repeat(1_000), customerRoleId: 'a_B-9' }],
    ['role.update', { roleId: id, description: '' }],
    ['role.upsert', { customerRoleId: 'z'.repeat(255) }],
    ['role.delete', { roleId: id.toUpperCase(), workspaceId: other }],
    ['knowledge.assignRoles', { knowledgeId: id, roleIds: [id, other] }],
    ['knowledge.unassignRoles', { knowledgeId: id, roleIds: [id] }],
    ['knowledge.delete', { knowledgeId: id, cascade: true }],
    ['knowledge.upload', { file: 'docs/a.pdf', title: 'A', description: 'B', language: 'en' }],
    ['taxonomy.publish', { taxonomyId: id }],
    ['watch', { workflowIds: ['workflow-id-1', id] }],
  ] as const)('%s accepts %j', (operation, input) => {
    expect(faults(operation, input)).toEqual([]);
  });

  it.each([
    ['role.create', {}, ['name']],
    ['role.create', { name: '' }, ['name']],
    ['role.create', { name: 'x'.repeat(256) }, ['name']],
    ['role.create', { name: 'x', description: 'y'.repeat(1_001) }, ['description']],
    ['role.create', { name: 'x', customerRoleId: 'has space' }, ['customerRoleId']],
    ['role.create', { name: 'x', customerRoleId: 'z'.repeat(256) }, ['customerRoleId']],
    ['role.create', { name: 'x', permissions: [] }, ['permissions']],
    ['role.create', { name: 'x', workspaceId: '../other' }, ['workspaceId']],
    ['role.update', { roleId: id }, ['']],
    ['role.update', { roleId: '42', name: 'x' }, ['roleId']],
    ['role.upsert', { name: 'x' }, ['customerRoleId']],
    ['role.delete', { roleId: `${id}/..` }, ['roleId']],
    ['knowledge.assignRoles', { knowledgeId: id, roleIds: [] }, ['roleIds']],
    ['knowledge.assignRoles', { knowledgeId: id, roleIds: [id, id.toUpperCase()] }, ['roleIds']],
    ['knowledge.assignRoles', { knowledgeId: id, roleIds: ['reader'] }, ['roleIds[0]']],
    ['knowledge.delete', { knowledgeId: id, cascade: 'yes' }, ['cascade']],
    ['knowledge.upload', { file: '' }, ['file']],
    ['knowledge.upload', { file: 'a.pdf', description: 'y'.repeat(801) }, ['description']],
    ['taxonomy.publish', { taxonomyId: 'main' }, ['taxonomyId']],
    ['watch', { workflowIds: [] }, ['workflowIds']],
    ['watch', { workflowIds: ['a', 'a'] }, ['workflowIds']],
    ['watch', { workflowIds: ['with space'] }, ['workflowIds[0]']],
  ] as const)('%s refuses %j', (operation, input, paths) => {
    expect(faults(operation, input)).toEqual(paths);
  });

  it('can be printed as JSON Schema, every field described', () => {
    for (const [name, operation] of Object.entries(sharely.operations)) {
      const schema = z.toJSONSchema(operation.input, { io: 'input' }) as {
        properties: Record<string, { description?: string }>;
      };
      for (const [field, { description }] of Object.entries(schema.properties)) {
        expect(description, `${name}.${field}`).toBeTruthy();
      }
    }
  });
});

describe('a Sharely account', () => {
  const ids = { organizationId: id, workspaceId: other };

  it('takes a key or a token, and the documented address when none is given', () => {
    expect(account.parse({ apiKey: 'sk-sharely-x', ...ids })).toMatchObject({
      baseUrl: 'https://api.sharely.ai',
      statusBatchSize: 50,
    });
    expect(account.safeParse({ accessToken: 'eyJ.e30.x', ...ids }).success).toBe(true);
  });

  it.each([
    ['neither key nor token', { ...ids }],
    ['both', { apiKey: 'sk-sharely-x', accessToken: 'eyJ.e30.x', ...ids }],
    ['a key that would break a header', { apiKey: 'sk\nx', ...ids }],
    ['an organization that is no UUID', { apiKey: 'sk-sharely-x', ...ids, organizationId: 'acme' }],
    ['no workspace', { apiKey: 'sk-sharely-x', organizationId: id }],
    ['a batch of nothing', { apiKey: 'sk-sharely-x', ...ids, statusBatchSize: 0 }],
  ])('refuses %s', (_, fields) => {
    expect(account.safeParse(fields).success).toBe(false);
  });
});

describe('workflow ids in an answer', () => {
  it.each([
    [{ workflowId: 'a' }, ['a']],
    [{ workflowIds: ['a', 'b'] }, ['a', 'b']],
    [{ workflowId: 'a', workflowIds: ['a', 'b', 'b'] }, ['a', 'b']],
    [{ success: true, assignedCount: 2 }, []],
    [{ workflowId: null, workflowIds: null }, []],
    [undefined, []],
    [null, []],
    [
      [{ workflowId: 'a' }, { workflowId: 'b' }],
      ['a', 'b'],
    ],
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [[], []],
  ])('of %j are %j', (body, workflows) => {
    expect(submitReply.parse(body).workflows).toEqual(workflows);
  });

  it.each(['ok', 17, true])('are not looked for in %j', (body) => {
    expect(submitReply.safeParse(body).success).toBe(false);
  });
});
