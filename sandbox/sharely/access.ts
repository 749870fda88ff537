import type { Reply } from '../http/reply.ts';
import { isUuid } from './input.ts';
import { refused, type SharelyParts } from './parts.ts';
import { isKnownKey } from './token-exchange.ts';

/** What of a request decides whether it may do anything below /v1. */
export interface Credentials {
  readonly token: string | undefined;
  readonly workspaceId: string;
  readonly organizationId: string | undefined;
  /** Faults that strike this request. */
  readonly faults: readonly string[];
}

/**
 * The refusal of a request below /v1, or null. Keys have characters: tokens of `sk-sharely-useless…` are refused with
 * 401 always, those of `sk-sharely-weak…` with 403.
 */
export function refusedAccess(parts: SharelyParts, credentials: Credentials): Reply | null {
  const { token, workspaceId, organizationId, faults } = credentials;
  const settings = parts.settings();
  if (faults.includes('tokens-revoked')) parts.tokens.revoke();
  if (!isUuid(workspaceId)) return refused(parts, 400, 'workspaceId must be a UUID');
  if (token === undefined) return refused(parts, 401, 'Missing access token');
  const isRawKey = token.startsWith('sk-sharely-');
  const grant = isRawKey ? null : parts.tokens.grant(token);
  if (isRawKey && (!settings.acceptsRawKey || !isKnownKey(token))) {
    return refused(parts, 401, 'An API key is not an access token; exchange it first');
  }
  if (!isRawKey && grant === null) return refused(parts, 401, 'Invalid or expired access token');
  if (grant?.apiKey.startsWith('sk-sharely-useless') === true) return refused(parts, 401, 'Invalid access token');
  if (grant !== null && grant.workspaceId !== workspaceId) {
    return refused(parts, 401, 'Access token does not belong to this workspace');
  }
  if (organizationId === undefined) return refused(parts, 400, 'organizationid header is required');
  if (!isUuid(organizationId)) return refused(parts, 400, 'organizationid header must be a UUID');
  if (settings.organizationId !== null && organizationId.toLowerCase() !== settings.organizationId.toLowerCase()) {
    return refused(parts, 401, 'Workspace does not belong to this organization');
  }
  const isRoleless = (grant?.roleId ?? null) === null;
  const isRbacRefusal = settings.rbacStatus === 'ACTIVE' && settings.rbacRefusesRoleless && isRoleless;
  if (isRbacRefusal || faults.includes('rbac-refused'))
    return refused(parts, 401, 'Role is required when RBAC is active');
  if (grant?.apiKey.startsWith('sk-sharely-weak') === true) return refused(parts, 403, 'Insufficient permissions');
  return null;
}
