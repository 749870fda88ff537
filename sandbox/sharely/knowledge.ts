import { json } from '../http/reply.ts';
import { addKnowledge, childrenOf, knowledgeText, type Workspace } from './estate.ts';
import { knowledgeCreateBody, read, roleIdsBody } from './input.ts';
import type { Knowledge } from './model.ts';
import { drawnFaults, type Handler, notFound, refused, startedReply, startWorkflow } from './parts.ts';
import { finishProcessing, processingEffect, runningStatus } from './processing.ts';
import { visibleRole } from './roles.ts';

/** GET /knowledge */
export const listKnowledge: Handler = (parts, { call, workspace }) => {
  const { query } = call;
  const [limit, offset] = [Number(query.get('limit') ?? 100), Number(query.get('offset') ?? 0)];
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) return refused(parts, 400, 'limit must be 1 to 1000');
  if (!Number.isInteger(offset) || offset < 0) return refused(parts, 400, 'offset must not be negative');
  const [type, roleId, language] = [query.get('type'), query.get('roleId'), query.get('language')];
  const fitting = [...workspace.knowledge.values()].filter(
    (item) =>
      !item.isDeleted &&
      (type === null || item.type === type) &&
      (roleId === null || item.roleIds.has(roleId)) &&
      (language === null || item.language === language),
  );
  const page = fitting.slice(offset, offset + limit);
  return json(200, { knowledge: page.map((item) => shownKnowledge(workspace, item)), total: fitting.length });
};

/** GET /knowledge/{knowledgeId} */
export const getKnowledge: Handler = (parts, { workspace, subject }) => {
  const item = existing(workspace, subject);
  return item === undefined ? notFound(parts, 'Knowledge') : json(200, shownKnowledge(workspace, item));
};

/** POST /knowledge: synchronous, unless the old `status` field asks for the background. */
export const createKnowledge: Handler = (parts, request) => {
  const body = read(knowledgeCreateBody, request.body);
  if (typeof body === 'string') return refused(parts, 400, body);
  const { workspace } = request;
  const title = body.title ?? body.url ?? 'Untitled';
  const fields = { title, type: body.type === 'STRING' ? 'TEXT' : body.type, metadata: body.metadata ?? {} };
  const faults = drawnFaults(parts, request, title);
  const status = runningStatus(parts, faults);
  const item = addKnowledge(workspace, { ...fields, status, faults: parts.marks.forLater(title) });
  if (body.status !== 'BACKGROUND_START') {
    request.call.jobCreated = true;
    finishProcessing(parts, item, faults);
    return json(parts.settings().replyStatus['knowledge-create'], { id: item.id, ...shownKnowledge(workspace, item) });
  }
  const workflow = startWorkflow(parts, request, item.id, title, faults, processingEffect(parts, item, faults));
  return startedReply(parts, workflow, { id: item.id, title, type: item.type, status: item.status });
};

/** DELETE /knowledge/{knowledgeId}: refused while there are children. */
export const deleteKnowledge: Handler = (parts, request) => {
  const { workspace, subject } = request;
  const item = existing(workspace, subject);
  if (item === undefined) return notFound(parts, 'Knowledge');
  if (childrenOf(workspace, item.id).length > 0) {
    return refused(parts, parts.settings().childrenStatus, 'Knowledge has children; delete it with its children');
  }
  const faults = drawnFaults(parts, request, knowledgeText(item));
  const workflow = startWorkflow(parts, request, item.id, item.title, faults, {
    apply: (share) => {
      item.isDeleted ||= share === 'all';
    },
  });
  return startedReply(parts, workflow, { message: 'Knowledge deletion started' });
};

/** DELETE /knowledge/{knowledgeId}/children: the item and everything below it; children go first. */
export const deleteWithChildren: Handler = (parts, request) => {
  const { workspace, subject } = request;
  const item = existing(workspace, subject);
  if (item === undefined) return notFound(parts, 'Knowledge');
  const faults = drawnFaults(parts, request, knowledgeText(item));
  const workflow = startWorkflow(parts, request, item.id, item.title, faults, {
    apply: (share) => {
      const family = [...descendants(workspace, item.id), item];
      const doomed = share === 'all' ? family : family.slice(0, Math.floor(family.length / 2));
      for (const member of doomed) member.isDeleted = true;
    },
  });
  return startedReply(parts, workflow, { message: 'Cascade deletion started' });
};

/** GET /knowledge/{knowledgeId}/role: a bare array. */
export const rolesOfKnowledge: Handler = (parts, { workspace, subject }) => {
  const item = existing(workspace, subject);
  return item === undefined ? notFound(parts, 'Knowledge') : json(200, shownRoles(workspace, item, true));
};

/** POST (assign) and DELETE (unassign) /knowledge/{knowledgeId}/role with `roleIds`. */
export const changeRoles: Handler = (parts, request) => {
  const { workspace, subject, admission } = request;
  const isAssign = admission.route === 'roles-assign';
  const item = existing(workspace, subject);
  if (item === undefined) return notFound(parts, 'Knowledge');
  if (parts.settings().rbacStatus !== 'ACTIVE') return refused(parts, 400, 'RBAC is not active in this workspace');
  const body = read(roleIdsBody, request.body);
  if (typeof body === 'string') return refused(parts, 400, body);
  const roleIds = [...new Set(body.roleIds)];
  if (isAssign && roleIds.some((id) => visibleRole(workspace, id) === undefined)) return notFound(parts, 'Role');
  const faults = drawnFaults(parts, request, knowledgeText(item));
  const workflow = startWorkflow(parts, request, item.id, item.title, faults, {
    apply: (share) => {
      const done = share === 'all' ? roleIds : roleIds.slice(0, Math.floor(roleIds.length / 2));
      for (const id of done) {
        if (isAssign) item.roleIds.add(id);
        else item.roleIds.delete(id);
      }
      item.updatedAtMs = Date.now();
    },
  });
  return startedReply(parts, workflow, { message: `Role ${isAssign ? 'assignment' : 'removal'} started` });
};

/** GET /upload-file-metadata/{uploadFileMetadataId} */
export const getUploadMetadata: Handler = (parts, { workspace, subject }) => {
  const item = workspace.uploads.get(subject);
  if (item === undefined) return notFound(parts, 'Upload file metadata');
  const isThere = item.processedAtMs !== null && !item.isDeleted;
  return json(200, { knowledge: isThere ? shownKnowledge(workspace, item) : null, spaceKnowledge: null });
};

/** An item that was not deleted: soft-deleted ones answer 404. */
function existing(workspace: Workspace, id: string): Knowledge | undefined {
  const item = workspace.knowledge.get(id);
  return item === undefined || item.isDeleted ? undefined : item;
}

function descendants(workspace: Workspace, id: string): Knowledge[] {
  return childrenOf(workspace, id).flatMap((child) => [...descendants(workspace, child.id), child]);
}

/** Knowledge as the answers have it. */
export function shownKnowledge(workspace: Workspace, item: Knowledge): Record<string, unknown> {
  return {
    id: item.id,
    workspaceId: workspace.id,
    title: item.title,
    description: item.description,
    type: item.type,
    status: item.status,
    metadata: item.metadata,
    tags: [],
    categories: [],
    roles: shownRoles(workspace, item, false),
    createdAt: new Date(item.createdAtMs).toISOString(),
    updatedAt: new Date(item.updatedAtMs).toISOString(),
    processedAt: item.processedAtMs === null ? null : new Date(item.processedAtMs).toISOString(),
  };
}

function shownRoles(workspace: Workspace, item: Knowledge, hasDescription: boolean): Record<string, unknown>[] {
  return [...item.roleIds]
    .map((id) => visibleRole(workspace, id))
    .filter((role) => role !== undefined)
    .map(({ id, name, description, metadata }) => ({ id, name, ...(hasDescription ? { description } : {}), metadata }));
}
