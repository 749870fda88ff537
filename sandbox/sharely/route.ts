import type { Call } from '../http/call.ts';
import type { SharelyRoute } from './faults.ts';

export interface RouteMatch {
  readonly route: SharelyRoute | 'unknown';
  readonly workspaceId: string;
  /** Role, knowledge or taxonomy in the path; empty when there is none. */
  readonly subject: string;
  readonly isBelowV1: boolean;
}

/** Patterns below the workspace; `:id` takes one segment. Fixed words come before ids. */
const patterns = Object.entries({
  'GET ': 'workspace-get',
  'PUT rbac-status': 'rbac-status',
  'POST background-jobs': 'background-jobs',
  'POST role': 'role-create',
  'GET role': 'role-list',
  'POST role/upsert': 'role-upsert',
  'GET role/by-customer-role-id/:id': 'role-by-customer',
  'GET role/:id': 'role-get',
  'PUT role/:id': 'role-update',
  'DELETE role/:id': 'role-delete',
  'GET knowledge': 'knowledge-list',
  'POST knowledge': 'knowledge-create',
  'POST knowledge/file': 'knowledge-upload',
  'GET knowledge/:id': 'knowledge-get',
  'DELETE knowledge/:id': 'knowledge-delete',
  'DELETE knowledge/:id/children': 'children-delete',
  'GET knowledge/:id/role': 'roles-of-knowledge',
  'POST knowledge/:id/role': 'roles-assign',
  'DELETE knowledge/:id/role': 'roles-unassign',
  'GET upload-file-metadata/:id': 'upload-metadata',
  'GET taxonomy': 'taxonomy-list',
  'POST taxonomy': 'taxonomy-create',
  'POST taxonomy/:id/publish': 'taxonomy-publish',
  'POST taxonomy/:id/roles': 'taxonomy-roles',
  'DELETE taxonomy/:id/roles': 'taxonomy-roles',
} satisfies Record<string, SharelyRoute>).map(([key, route]) => {
  const [method = '', path = ''] = key.split(' ');
  return { method, parts: path === '' ? [] : path.split('/'), route };
});

/** Route of a request, and what its path names. */
export function routeOf(call: Call): RouteMatch {
  const [, first, second, third, ...below] = call.segments;
  const isBelowV1 = first === 'v1';
  if (!isBelowV1) {
    const isToken =
      call.method === 'POST' && first === 'workspaces' && third === 'generate-access-key-token' && below.length === 0;
    return { route: isToken ? 'token' : 'unknown', workspaceId: second ?? '', subject: '', isBelowV1 };
  }
  const unknown = { route: 'unknown', workspaceId: third ?? '', subject: '', isBelowV1 } as const;
  if (second !== 'workspaces' || third === undefined) return unknown;
  for (const { method, parts, route } of patterns) {
    if (method !== call.method || parts.length !== below.length) continue;
    if (!parts.every((part, at) => part === ':id' || part === below[at])) continue;
    return { route, workspaceId: third, subject: below[parts.indexOf(':id')] ?? '', isBelowV1 };
  }
  return unknown;
}
