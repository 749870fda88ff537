import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { addRole, roleText, type Workspace } from './estate.ts';
import { isUuid, read, roleCreateBody, roleUpdateBody, roleUpsertBody } from './input.ts';
import type { Role } from './model.ts';
import {
  drawnFaults,
  type Handler,
  notFound,
  refused,
  type SharelyParts,
  type SharelyRequest,
  startedReply,
  startWorkflow,
} from './parts.ts';
import { isHeldBack } from './workflows.ts';

type RoleFields = Pick<Role, 'name' | 'description' | 'customerRoleId'>;

/** POST /role */
export const createRole: Handler = (parts, request) => {
  const body = read(roleCreateBody, request.body);
  if (typeof body === 'string') return refused(parts, 400, body);
  const { name, description = null, customerRoleId = null } = body;
  return started(parts, request, null, { name, description, customerRoleId });
};

/** PUT /role/{roleId} */
export const updateRole: Handler = (parts, request) => {
  const role = visibleRole(request.workspace, request.subject);
  const body = read(roleUpdateBody, request.body);
  if (role === undefined) return notFound(parts, 'Role');
  if (typeof body === 'string') return refused(parts, 400, body);
  return started(parts, request, role, changed(role, body));
};

/** POST /role/upsert, keyed by `customerRoleId`. */
export const upsertRole: Handler = (parts, request) => {
  const body = read(roleUpsertBody, request.body);
  if (typeof body === 'string') return refused(parts, 400, body);
  const { customerRoleId, name = customerRoleId, description = null } = body;
  const role = roleByCustomerId(request.workspace, customerRoleId);
  if (role === undefined) return started(parts, request, null, { name, description, customerRoleId });
  return started(parts, request, role, changed(role, body));
};

/** DELETE /role/{roleId}: gone when the workflow has ended, from knowledge as well; its tokens die with it. */
export const deleteRole: Handler = (parts, request) => {
  const { workspace, subject } = request;
  if (!isUuid(subject)) return refused(parts, 400, 'roleId must be a UUID');
  const role = visibleRole(workspace, subject);
  if (role === undefined) return notFound(parts, 'Role');
  const isOnTaxonomy = [...workspace.taxonomies.values()].some((taxonomy) => taxonomy.roleIds.has(role.id));
  if (role.isInUse || isOnTaxonomy) return refused(parts, 409, 'Role is in use by taxonomies or users');
  const faults = drawnFaults(parts, request, roleText(role));
  const workflow = startWorkflow(parts, request, role.id, role.name, faults, {
    apply: (share) => {
      if (share === 'half') return;
      workspace.roles.delete(role.id);
      for (const item of workspace.knowledge.values()) item.roleIds.delete(role.id);
      parts.tokens.revoke(role.id);
    },
  });
  return startedReply(parts, workflow, { message: 'Role deletion started' });
};

/** GET /role/{roleId} */
export const getRole: Handler = (parts, { workspace, subject }) => {
  const role = visibleRole(workspace, subject);
  return role === undefined ? notFound(parts, 'Role') : json(200, shownRole(role));
};

/** GET /role/by-customer-role-id/{customerRoleId} */
export const getRoleByCustomerId: Handler = (parts, { workspace, subject }) => {
  const role = roleByCustomerId(workspace, subject);
  return role?.isVisible === true ? json(200, shownRole(role)) : notFound(parts, 'Role');
};

/** GET /role */
export const listRoles: Handler = (_parts, { workspace }) => {
  const roles = [...workspace.roles.values()].filter((role) => role.isVisible).map(shownRole);
  return json(200, { roles, total: roles.length });
};

export function visibleRole(workspace: Workspace, id: string): Role | undefined {
  const role = workspace.roles.get(id);
  return role?.isVisible === true ? role : undefined;
}

/** A role as the answers have it. */
export function shownRole(role: Role): Record<string, unknown> {
  return {
    id: role.id,
    name: role.name,
    description: role.description,
    customerRoleId: role.customerRoleId,
    createdAt: new Date(role.createdAtMs).toISOString(),
    updatedAt: new Date(role.updatedAtMs).toISOString(),
  };
}

/**
 * Creates (`role` null) or changes a role. The answer shows it as it will be, while reads show it at once or when the
 * workflow has ended, as the settings say; faults that spoil the workflow hold it back in any case.
 */
function started(parts: SharelyParts, request: SharelyRequest, role: Role | null, fields: RoleFields): Reply {
  const { workspace } = request;
  const settings = parts.settings();
  const holder = fields.customerRoleId === null ? undefined : roleByCustomerId(workspace, fields.customerRoleId);
  if (holder !== undefined && holder !== role) {
    return refused(parts, settings.duplicateStatus, 'A role with this customerRoleId already exists');
  }
  const text = role === null ? roleText(fields) : `${roleText(fields)} ${roleText(role)}`;
  const faults = drawnFaults(parts, request, text);
  const isAtOnce = settings.roleEffect === 'at-once' && !isHeldBack({ faults });
  const later = parts.marks.forLater(text);
  const target = role ?? addRole(workspace, { ...fields, isVisible: isAtOnce, faults: later });
  const apply = () => {
    Object.assign(target, fields, { isVisible: true, updatedAtMs: role === null ? target.createdAtMs : Date.now() });
  };
  if (isAtOnce) apply();
  const workflow = startWorkflow(parts, request, target.id, fields.name, faults, {
    apply: (share) => {
      if (share === 'all' && !isAtOnce) apply();
    },
    fail: () => {
      if (role === null && !isAtOnce) workspace.roles.delete(target.id);
    },
  });
  const shown = { role: shownRole({ ...target, ...fields }) };
  if (workflow.operation !== 'role-upsert') return startedReply(parts, workflow, shown);
  const status = role === null ? settings.replyStatus['role-upsert'] : 200;
  return startedReply(parts, workflow, { ...shown, created: role === null }, status);
}

/** Only given fields change; null empties a text. */
function changed(role: Role, given: { [K in keyof RoleFields]?: RoleFields[K] | undefined }): RoleFields {
  return {
    name: given.name ?? role.name,
    description: given.description === undefined ? role.description : given.description,
    customerRoleId: given.customerRoleId === undefined ? role.customerRoleId : given.customerRoleId,
  };
}

/** Hidden roles count: two creates at once must not both get the same id. */
function roleByCustomerId(workspace: Workspace, customerRoleId: string): Role | undefined {
  for (const role of workspace.roles.values()) {
    if (role.customerRoleId === customerRoleId) return role;
  }
  return undefined;
}
