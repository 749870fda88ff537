import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { errorReply } from './errors.ts';
import { isUuid, read, tokenBody } from './input.ts';
import type { SharelyParts, SharelyRequest } from './parts.ts';

/** Any `sk-sharely-…` key is good, except `sk-sharely-bad…`. */
export function isKnownKey(apiKey: string | undefined): boolean {
  return /^sk-sharely-.+/.test(apiKey ?? '') && !apiKey?.startsWith('sk-sharely-bad');
}

/** POST /workspaces/{ws}/generate-access-key-token. Outside /v1, so its errors have the old shape always. */
export async function exchangeToken(parts: SharelyParts, request: SharelyRequest): Promise<Reply> {
  const { call, admission, workspace, body } = request;
  const apiKey = admission.apiKey ?? '';
  if (!isKnownKey(apiKey)) return errorReply('old', 401, 'Invalid API key');
  if (!isUuid(workspace.id)) return errorReply('old', 400, 'workspaceId must be a UUID');
  // No body at all stands for `{}`; one that is not JSON does not.
  const isEmpty = body === undefined && (await call.text()).trim() === '';
  const asked = read(tokenBody, isEmpty ? {} : body);
  if (typeof asked === 'string') return errorReply('old', 400, asked);
  const { roleId, customerRoleId } = asked;
  if (roleId !== undefined && customerRoleId !== undefined) {
    return errorReply('old', 400, 'Provide either roleId or customerRoleId, not both');
  }
  const wantsRole = roleId !== undefined || customerRoleId !== undefined;
  const role = [...workspace.roles.values()].find(
    (candidate) =>
      candidate.isVisible &&
      (roleId === undefined ? candidate.customerRoleId === customerRoleId : candidate.id === roleId),
  );
  if (wantsRole && role === undefined) return errorReply('old', 404, 'Role not found');
  const { tokenSeconds, tokenExp } = parts.settings();
  const grant = { workspaceId: workspace.id, apiKey, roleId: wantsRole ? (role?.id ?? null) : null };
  return json(200, { token: parts.tokens.issue(grant, tokenSeconds, tokenExp) });
}
