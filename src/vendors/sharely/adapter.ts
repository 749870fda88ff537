import { defineVendor } from '../define-vendor.ts';
import { account, obtainToken } from './account.ts';
import { readError } from './errors.ts';
import { knowledgeAssignRoles, knowledgeDelete, knowledgeUnassignRoles } from './operations/knowledge.ts';
import { knowledgeLookup, workflowLookup } from './lookups.ts';
import { roleCreate, roleDelete, roleUpdate, roleUpsert } from './operations/roles.ts';
import { taxonomyPublish, watch } from './operations/taxonomy.ts';
import { knowledgeUpload } from './operations/upload.ts';
import { listVendorJobs } from './vendor-jobs.ts';

/** Roles, knowledge and taxonomies of a Sharely workspace: https://docs.sharely.ai, API v1, which its vendor calls BETA. */
export const sharely = defineVendor({
  name: 'sharely',
  summary: 'Roles, knowledge and taxonomies of a workspace, by background workflows.',
  account,
  environment: {
    apiKey: 'SHARELY_API_KEY',
    accessToken: 'SHARELY_ACCESS_TOKEN',
    organizationId: 'SHARELY_ORGANIZATION_ID',
    workspaceId: 'SHARELY_WORKSPACE_ID',
    baseUrl: 'SHARELY_BASE_URL',
  },
  secrets: ['apiKey', 'accessToken'],
  credentials: ['apiKey', 'accessToken'],
  http: {
    baseUrl: ({ baseUrl }) => baseUrl,
    credential: obtainToken,
    // The vendor's own client renews on both.
    renewOn: [401, 403],
    headers: ({ organizationId }, credential) => ({
      authorization: `Bearer ${credential?.token ?? ''}`,
      organizationid: organizationId,
    }),
    readError,
  },
  lookups: { workflow: workflowLookup, knowledge: knowledgeLookup },
  operations: {
    'role.create': roleCreate,
    'role.update': roleUpdate,
    'role.upsert': roleUpsert,
    'role.delete': roleDelete,
    'knowledge.assignRoles': knowledgeAssignRoles,
    'knowledge.unassignRoles': knowledgeUnassignRoles,
    'knowledge.delete': knowledgeDelete,
    'knowledge.upload': knowledgeUpload,
    'taxonomy.publish': taxonomyPublish,
    watch,
  },
  listVendorJobs,
});
