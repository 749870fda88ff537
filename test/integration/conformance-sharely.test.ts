import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'vitest';
import { conformance, type Given, type OperationCases } from '../../src/conformance/index.ts';
import { sharely } from '../../src/vendors/sharely/adapter.ts';
import { redisUrl } from '../helpers/redis.ts';
import { sandboxDouble, type SandboxDouble } from './vendor-adapter.contract.ts';

const organizationId = '0a8d7c1e-5b1f-4c5e-9a51-5d0a3f1b2c3d';
const workspaceId = '11111111-2222-4333-8444-555555555555';
const workspace = '/v1/workspaces/*';
const backgroundJobs = `POST ${workspace}/background-jobs` as const;
const readKnowledge = `GET ${workspace}/knowledge/*` as const;

const submits = {
  'role.create': [`POST ${workspace}/role`, 'role-create'],
  'role.update': [`PUT ${workspace}/role/*`, 'role-update'],
  'role.upsert': [`POST ${workspace}/role/upsert`, 'role-upsert'],
  'role.delete': [`DELETE ${workspace}/role/*`, 'role-delete'],
  'knowledge.assignRoles': [`POST ${workspace}/knowledge/*/role`, 'roles-assign'],
  'knowledge.unassignRoles': [`DELETE ${workspace}/knowledge/*/role`, 'roles-unassign'],
  'knowledge.delete': [`DELETE ${workspace}/knowledge/*`, 'knowledge-delete'],
  'knowledge.delete cascade': [`DELETE ${workspace}/knowledge/*/children`, 'children-delete'],
  'knowledge.upload': [`POST ${workspace}/knowledge/file`, 'knowledge-upload'],
  'taxonomy.publish': [`POST ${workspace}/taxonomy/*/publish`, 'taxonomy-publish'],
} as const;

function play(): Promise<SandboxDouble> {
  return sandboxDouble({
    vendor: 'sharely',
    routes: {
      ...Object.fromEntries(Object.values(submits)),
      [backgroundJobs]: 'background-jobs',
      [readKnowledge]: 'knowledge-get',
    },
    own(fault, { argument, job, route }) {
      const isWorkflow = route === backgroundJobs;
      const only = job === undefined ? {} : { jobId: job };
      if (fault === 'empty' && !isWorkflow) return { fault: 'foreign-json', route: 'knowledge-get' };
      if (fault === 'gone') {
        return isWorkflow
          ? { fault: 'vanish', argument: 'without-effect' }
          : { fault: 'not-found', route: 'knowledge-get' };
      }
      if (fault === 'poison') return { fault: 'bad-request', route: 'background-jobs', ...only };
      if (fault === 'unknown-status') {
        return { fault: isWorkflow ? 'workflow-runs-as' : 'knowledge-runs-as', argument: 'REHEARSING' };
      }
      const at = { route: isWorkflow ? 'background-jobs' : 'knowledge-get' };
      if (fault === 'odd-word') return { fault: 'field-is', argument: 'status=null', ...at };
      if (fault === 'other-case') return { fault: 'field-case', argument: isWorkflow ? 'name' : 'status', ...at };
      if (fault === 'shared-job') return { fault: 'joins-workflow' };
      if (fault !== 'ends-as') return undefined;
      if (argument === 'COMPLETED') return 'nothing-to-do';
      return { fault: isWorkflow ? 'workflow-ends-as' : 'knowledge-ends-as', argument: argument ?? '', ...only };
    },
  });
}

type GivenDouble = Given<SandboxDouble>;

async function seed(
  { double }: GivenDouble,
  what: 'roles' | 'knowledge' | 'taxonomies',
  fields: object = {},
): Promise<string> {
  const reply = await double.control<Record<string, [{ id: string }]>>(`/_control/sharely/${what}`, {
    workspaceId,
    ...fields,
  });
  return reply[what]![0].id;
}

const noBody = {
  unreadable: 'a 204 has no body to be unreadable',
  'huge-reply': 'a 204 has no body to be huge',
} as const;

async function upload({ filesDir, n }: GivenDouble): Promise<object> {
  await writeFile(path.join(filesDir, `${n}.txt`), `File ${n}`);
  return { file: `${n}.txt` };
}

const operations: Record<string, OperationCases<SandboxDouble> | OperationCases<SandboxDouble>[]> = {
  'role.create': [
    {
      title: 'with a customerRoleId',
      input: ({ n }) => ({ name: `Role ${n}`, customerRoleId: `role-${n}-${randomUUID().slice(0, 8)}` }),
      submit: submits['role.create'][0],
    },
    {
      title: 'without one',
      input: ({ n }) => ({ name: `Role ${n} ${randomUUID().slice(0, 8)}` }),
      submit: submits['role.create'][0],
    },
  ],
  'role.update': {
    input: async (given) => ({ roleId: await seed(given, 'roles'), name: `New name ${given.n}` }),
    submit: submits['role.update'][0],
  },
  'role.upsert': {
    input: ({ n }) => ({ customerRoleId: `upsert-${n}-${randomUUID().slice(0, 8)}`, name: `Role ${n}` }),
    submit: submits['role.upsert'][0],
  },
  'role.delete': {
    input: async (given) => ({ roleId: await seed(given, 'roles') }),
    submit: submits['role.delete'][0],
  },
  'knowledge.assignRoles': {
    input: async (given) => ({
      knowledgeId: await seed(given, 'knowledge'),
      roleIds: [await seed(given, 'roles'), await seed(given, 'roles')],
    }),
    submit: submits['knowledge.assignRoles'][0],
  },
  'knowledge.unassignRoles': {
    async input(given) {
      const roleIds = [await seed(given, 'roles'), await seed(given, 'roles')];
      return { knowledgeId: await seed(given, 'knowledge', { roleIds }), roleIds };
    },
    submit: submits['knowledge.unassignRoles'][0],
  },
  'knowledge.delete': [
    {
      title: 'answered with 204',
      input: async (given) => ({ knowledgeId: await seed(given, 'knowledge') }),
      submit: submits['knowledge.delete'][0],
      notApplicable: noBody,
    },
    {
      title: 'cascade',
      input: async (given) => ({ knowledgeId: await seed(given, 'knowledge', { children: 2 }), cascade: true }),
      submit: submits['knowledge.delete cascade'][0],
    },
  ],
  'knowledge.upload': [
    {
      title: 'polled by its workflow',
      async input(given) {
        given.double.sandbox.setLimits({ replyIds: { 'knowledge-upload': 'workflowId' } }, 'sharely');
        return upload(given);
      },
      submit: submits['knowledge.upload'][0],
    },
    { title: 'polled by its record', input: upload, submit: submits['knowledge.upload'][0] },
  ],
  'taxonomy.publish': {
    input: async (given) => ({ taxonomyId: await seed(given, 'taxonomies') }),
    submit: submits['taxonomy.publish'][0],
  },
  watch: {
    async input({ double }) {
      const { workflows } = await double.control<{ workflows: [{ workflowId: string }] }>(
        '/_control/sharely/workflows',
        { workspaceId },
      );
      return { workflowIds: [workflows[0].workflowId] };
    },
  },
};

const noReason = {
  'empty-error': 'a row has no field for a reason',
  'text-error': 'a row has no field for a reason',
} as const;

conformance(
  {
    adapter: sharely,
    redisUrl,
    double: play,
    env: ({ baseUrl }) => ({
      SHARELY_API_KEY: 'sk-sharely-conformance',
      SHARELY_ORGANIZATION_ID: organizationId,
      SHARELY_WORKSPACE_ID: workspaceId,
      SHARELY_BASE_URL: baseUrl,
    }),
    operations,
    lookups: {
      workflow: {
        via: 'taxonomy.publish',
        route: backgroundJobs,
        ends: {
          COMPLETED: 'succeeded',
          FAILED: 'failed',
          CANCELLED: 'failed',
          CANCELED: 'failed',
          TERMINATED: 'failed',
          TIMED_OUT: 'failed',
        },
        poisoned: 'failed',
        notApplicable: noReason,
      },
      knowledge: {
        via: 'knowledge.upload',
        title: 'polled by its record',
        route: readKnowledge,
        ends: { COMPLETED: 'succeeded', FAILED: 'failed', PROCESSING_ERROR: 'failed' },
        notApplicable: {
          ...noReason,
          'shared-job': 'every upload has a record of its own',
          refused: 'the sandbox can refuse a read of every record, not of one',
        },
      },
    },
  },
  { describe, it },
);
