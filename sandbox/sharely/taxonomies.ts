import { json } from '../http/reply.ts';
import { addTaxonomy, taxonomyText, type Workspace } from './estate.ts';
import { read, roleIdsBody, taxonomyCreateBody } from './input.ts';
import type { Taxonomy } from './model.ts';
import { drawnFaults, type Handler, notFound, refused, startedReply, startWorkflow } from './parts.ts';
import { visibleRole } from './roles.ts';

/** GET /taxonomy: a bare array; lists of roles, languages and categories only when asked for. */
export const listTaxonomies: Handler = (_parts, { call, workspace }) => {
  const roleId = call.query.get('roleId');
  const fitting = [...workspace.taxonomies.values()].filter(
    (taxonomy) => roleId === null || taxonomy.roleIds.has(roleId),
  );
  const includes = (name: string) => call.query.get(`include${name}`) === 'true';
  return json(
    200,
    fitting.map((taxonomy) => ({
      ...shownTaxonomy(taxonomy),
      ...(includes('Roles') ? { roles: rolesOf(workspace, taxonomy) } : {}),
      ...(includes('Languages') ? { languages: [] } : {}),
      ...(includes('Categories') ? { categoryCount: 0 } : {}),
    })),
  );
};

/** POST /taxonomy: synchronous. */
export const createTaxonomy: Handler = (parts, { workspace, body }) => {
  const fields = read(taxonomyCreateBody, body);
  if (typeof fields === 'string') return refused(parts, 400, fields);
  const { name, description = null } = fields;
  const faults = parts.marks.forLater(taxonomyText({ name, description }));
  return json(201, shownTaxonomy(addTaxonomy(workspace, { name, description, faults })));
};

/** POST /taxonomy/{taxonomyId}/publish: our reading; the vendor's page on it was never seen. */
export const publishTaxonomy: Handler = (parts, request) => {
  const { workspace, subject } = request;
  const taxonomy = workspace.taxonomies.get(subject);
  if (taxonomy === undefined) return notFound(parts, 'Taxonomy');
  const faults = drawnFaults(parts, request, taxonomyText(taxonomy));
  const workflow = startWorkflow(parts, request, taxonomy.id, taxonomy.name, faults, {
    apply: (share) => {
      if (share === 'half') return;
      taxonomy.published = true;
      taxonomy.updatedAtMs = Date.now();
    },
  });
  return startedReply(parts, workflow, { message: 'Taxonomy publishing started' });
};

/** POST and DELETE /taxonomy/{taxonomyId}/roles: synchronous counts, no workflow. */
export const changeTaxonomyRoles: Handler = (parts, { call, workspace, subject, body }) => {
  const taxonomy = workspace.taxonomies.get(subject);
  if (taxonomy === undefined) return notFound(parts, 'Taxonomy');
  const fields = read(roleIdsBody, body);
  if (typeof fields === 'string') return refused(parts, 400, fields);
  const before = taxonomy.roleIds.size;
  if (call.method === 'DELETE') {
    for (const id of fields.roleIds) taxonomy.roleIds.delete(id);
    return json(200, { success: true, removedCount: before - taxonomy.roleIds.size });
  }
  if (fields.roleIds.some((id) => visibleRole(workspace, id) === undefined)) return notFound(parts, 'Role');
  for (const id of fields.roleIds) taxonomy.roleIds.add(id);
  return json(200, { success: true, assignedCount: taxonomy.roleIds.size - before });
};

/** A taxonomy as the answers have it. */
export function shownTaxonomy(taxonomy: Taxonomy): Record<string, unknown> {
  return {
    id: taxonomy.id,
    name: taxonomy.name,
    description: taxonomy.description,
    published: taxonomy.published,
    createdAt: new Date(taxonomy.createdAtMs).toISOString(),
    updatedAt: new Date(taxonomy.updatedAtMs).toISOString(),
  };
}

function rolesOf(workspace: Workspace, taxonomy: Taxonomy): Record<string, unknown>[] {
  return [...taxonomy.roleIds]
    .map((id) => visibleRole(workspace, id))
    .filter((role) => role !== undefined)
    .map(({ id, name }) => ({ id, name }));
}
