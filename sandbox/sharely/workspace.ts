import { json } from '../http/reply.ts';
import { rbacBody, read } from './input.ts';
import { type Handler, refused } from './parts.ts';

/** GET on the workspace path */
export const getWorkspace: Handler = ({ settings }, { workspace, organizationId }) =>
  json(200, {
    id: workspace.id,
    name: workspace.name,
    organizationId,
    rbacStatus: settings().rbacStatus,
    createdAt: new Date(workspace.createdAtMs).toISOString(),
    updatedAt: new Date(workspace.createdAtMs).toISOString(),
    settings: {},
  });

/** PUT /rbac-status. The sandbox has one status for all workspaces. */
export function putRbacStatus(set: (rbacStatus: 'ACTIVE' | 'INACTIVE') => void): Handler {
  return (parts, { workspace, body }) => {
    const fields = read(rbacBody, body);
    if (typeof fields === 'string') return refused(parts, 400, fields);
    set(fields.rbacStatus);
    return json(200, { id: workspace.id, rbacStatus: fields.rbacStatus, updatedAt: new Date().toISOString() });
  };
}
