import type { Reply } from '../http/reply.ts';
import { plainError } from './errors.ts';
import type { FiniSettings } from './settings.ts';

/** What an API key may do, and where. */
export interface KeyGrant {
  readonly workspace: string;
  readonly mayRead: boolean;
  readonly mayWrite: boolean;
}

/**
 * Reads a key: any `fini_…` is good, except `fini_bad…`. `fini_read…` may only read, `fini_write…` only write.
 * `fini_…_ws-anna` belongs to the workspace `anna`, every other key to the default one.
 */
export function grantOf(apiKey: string | undefined): KeyGrant | null {
  const rest = /^fini_(.+)$/.exec(apiKey ?? '')?.[1];
  if (rest === undefined || rest.startsWith('bad')) return null;
  return {
    workspace: /(?:^|_)ws-([^_]+)/.exec(rest)?.[1] ?? 'default',
    mayRead: !rest.startsWith('write'),
    mayWrite: !rest.startsWith('read'),
  };
}

/** 401 or 403 for a key that will not do, or null. */
export function refusedKey(grant: KeyGrant | null, scope: 'read' | 'write', settings: FiniSettings): Reply | null {
  if (grant === null) return plainError(401, 'Missing, malformed, revoked, or invalid API key', settings);
  if (scope === 'read' ? grant.mayRead : grant.mayWrite) return null;
  return plainError(403, `API key does not include the ${scope} scope`, settings);
}
