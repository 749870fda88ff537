import type { Reply } from '../http/reply.ts';
import { withHeaders } from '../http/reply.ts';
import { requestIdOf } from './errors.ts';
import { struck, type KnowhereParts, type KnowhereRequest } from './parts.ts';

/** An answer of the API with the headers that all its answers have. */
export function withApiHeaders({ limits, settings }: KnowhereParts, request: KnowhereRequest, reply: Reply): Reply {
  const { call, dialect, user } = request;
  const ofDialect = dialect === 'doc' ? limits.docHeaders(user, settings()) : {};
  const headers: Record<string, string> = { ...reply.headers, 'x-request-id': requestIdOf(call), ...ofDialect };
  if (struck(request, 'reset-in-seconds') !== undefined) {
    for (const name of ['ratelimit-reset', 'x-ratelimit-reset']) {
      const at = headers[name];
      if (at !== undefined) headers[name] = String(Math.max(0, Number(at) - Math.floor(Date.now() / 1_000)));
    }
  }
  return withHeaders(reply, headers);
}
