import * as z from 'zod';

/** What Sharely's operations take: the vendor's own fields in camelCase, and `cascade`, `file` and `workflowIds` of ours. */

const uuid = z.guid('must be a UUID');
const customerRoleId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,255}$/, 'must match ^[A-Za-z0-9_-]{1,255}$')
  .describe('Your own id of the role, unique in the workspace.');
const name = z.string().min(1).max(255).describe('Name of the role.');
const description = z.string().max(1_000).describe('What the role is for.');
const roleId = uuid.describe('The vendor’s id of the role.');
const knowledgeId = uuid.describe('The vendor’s id of the knowledge item.');
const inWorkspace = {
  workspaceId: uuid.optional().describe('Default: the workspace of the account.'),
};

const someOf = (what: string) => ({ message: `name at least one of ${what}` });

export const roleCreateInput = z.strictObject({
  name,
  description: description.optional(),
  customerRoleId: customerRoleId
    .optional()
    .describe('Your own id of the role, unique in the workspace. With it, a lost create is found again.'),
  ...inWorkspace,
});
export type RoleCreateInput = z.output<typeof roleCreateInput>;

export const roleUpdateInput = z
  .strictObject({
    roleId,
    name: name.optional(),
    description: description.optional(),
    customerRoleId: customerRoleId.optional(),
    ...inWorkspace,
  })
  .refine(
    (input) => [input.name, input.description, input.customerRoleId].some((value) => value !== undefined),
    someOf('name, description, customerRoleId'),
  );
export type RoleUpdateInput = z.output<typeof roleUpdateInput>;

export const roleUpsertInput = z.strictObject({
  customerRoleId,
  name: name.optional(),
  description: description.optional(),
  ...inWorkspace,
});
export type RoleUpsertInput = z.output<typeof roleUpsertInput>;

export const roleDeleteInput = z.strictObject({ roleId, ...inWorkspace });
export type RoleDeleteInput = z.output<typeof roleDeleteInput>;

export const knowledgeRolesInput = z.strictObject({
  knowledgeId,
  roleIds: z
    .array(uuid)
    .min(1)
    .max(500)
    .refine((ids) => isDistinct(ids.map((one) => one.toLowerCase())), { message: 'names a role twice' })
    .describe('The vendor’s ids of the roles.'),
  ...inWorkspace,
});
export type KnowledgeRolesInput = z.output<typeof knowledgeRolesInput>;

export const knowledgeDeleteInput = z.strictObject({
  knowledgeId,
  cascade: z
    .boolean()
    .default(false)
    .describe('Also deletes its children. Without it, the vendor refuses an item that has children.'),
  ...inWorkspace,
});
export type KnowledgeDeleteInput = z.output<typeof knowledgeDeleteInput>;

export const knowledgeUploadInput = z.strictObject({
  file: z.string().min(1).max(1_024).describe('Path below JOBFERRY_FILES_DIR.'),
  title: z.string().min(1).max(255).optional().describe('Defaults to the last part of `file`.'),
  description: z
    .string()
    .max(800)
    .optional()
    .describe('A short mark is put in front of it, by which a lost upload is found again.'),
  language: z.string().min(1).max(35).optional().describe('Language of the content, as the vendor names it.'),
  ...inWorkspace,
});
export type KnowledgeUploadInput = z.output<typeof knowledgeUploadInput>;

export const taxonomyPublishInput = z.strictObject({
  taxonomyId: uuid.describe('The vendor’s id of the taxonomy.'),
  ...inWorkspace,
});
export type TaxonomyPublishInput = z.output<typeof taxonomyPublishInput>;

export const watchInput = z.strictObject({
  workflowIds: z
    .array(z.string().regex(/^[\x21-\x7e]{1,255}$/, 'must be a workflow id as the vendor returned it'))
    .min(1)
    .max(1_000)
    .refine(isDistinct, { message: 'names a workflow twice' })
    .describe('Workflows started elsewhere.'),
  ...inWorkspace,
});
export type WatchInput = z.output<typeof watchInput>;

/** What each operation takes, for producers: the adapter declares the same schemas. */
export const operations = {
  'role.create': { input: roleCreateInput },
  'role.update': { input: roleUpdateInput },
  'role.upsert': { input: roleUpsertInput },
  'role.delete': { input: roleDeleteInput },
  'knowledge.assignRoles': { input: knowledgeRolesInput },
  'knowledge.unassignRoles': { input: knowledgeRolesInput },
  'knowledge.delete': { input: knowledgeDeleteInput },
  'knowledge.upload': { input: knowledgeUploadInput },
  'taxonomy.publish': { input: taxonomyPublishInput },
  watch: { input: watchInput },
} as const;

function isDistinct(ids: readonly string[]): boolean {
  return new Set(ids).size === ids.length;
}
