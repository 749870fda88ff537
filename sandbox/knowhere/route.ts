import type { Call } from '../http/call.ts';
import type { KnowhereRoute } from './faults.ts';

export interface RouteMatch {
  readonly route: KnowhereRoute | 'unknown';
  /** The job that the path names. */
  readonly jobId: string | null;
}

const nowhere: RouteMatch = { route: 'unknown', jobId: null };

/** Route and job of a request, by its path below the base. */
export function routeOf(call: Call): RouteMatch {
  const [, first, second, third = ''] = call.segments;
  const depth = call.segments.length;
  if (first === '_storage') {
    if (second === 'uploads' && depth === 5) return { route: 'upload', jobId: third };
    const jobId = /^result_(job_[0-9a-f]+)\.zip$/.exec(third)?.[1];
    return second === 'results' && jobId !== undefined ? { route: 'result', jobId } : nowhere;
  }
  if ((first !== 'v1' && first !== 'v2') || second !== 'jobs') return nowhere;
  const path = depth === 3 ? 'jobs' : ['jobs/:id', ...call.segments.slice(4)].join('/');
  const route = fixed[`${call.method} ${path}`];
  return route === undefined ? nowhere : { route, jobId: depth === 3 ? null : third };
}

const fixed: Readonly<Record<string, KnowhereRoute>> = {
  'POST jobs': 'create',
  'GET jobs': 'list',
  'GET jobs/:id': 'lookup',
  'DELETE jobs/:id': 'delete',
  'POST jobs/:id/confirm-upload': 'confirm',
};
