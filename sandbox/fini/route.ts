import type { Call } from '../http/call.ts';
import type { FiniRoute } from './faults.ts';

/** Route of a request, and the record or provider that its path names. */
export function routeOf(call: Call): { route: FiniRoute | 'unknown'; subject: string | null } {
  const path = call.segments.slice(1).join('/');
  const route = fixed[`${call.method} ${path}`];
  if (route !== undefined) return { route, subject: null };
  const [provider, id] = [
    /^v2\/documents\/public\/resources\/([^/]+)$/.exec(path)?.[1],
    /^v2\/documents\/public\/([^/]+)$/.exec(path)?.[1],
  ];
  if (provider !== undefined && call.method === 'GET') return { route: 'resources', subject: provider };
  if (provider !== undefined && call.method === 'POST') return { route: 'register', subject: provider };
  if (id !== undefined && call.method === 'GET') return { route: 'record', subject: id };
  return { route: 'unknown', subject: null };
}

const fixed: Readonly<Record<string, FiniRoute>> = {
  'POST v2/documents/public': 'ingest',
  'POST v2/documents/public/refresh': 'refresh',
  'GET v2/documents/public': 'list',
  'POST v2/documents/public/deep-crawl/links': 'crawl',
  'DELETE v2/documents/public': 'delete',
  'POST v2/knowledge/public': 'generate',
  'POST v2/knowledge/public/bulk': 'bulk',
  'POST v2/knowledge/public/jobs/status': 'status',
};
