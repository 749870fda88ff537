import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { Violation } from './create-input.ts';
import { invalidReply } from './errors.ts';
import type { KnowhereJob } from './job.ts';
import type { JobStore } from './job-store.ts';
import { shownAt } from './one-job.ts';
import { struck, type KnowhereParts, type KnowhereRequest } from './parts.ts';

/** Query of the job list, checked. */
interface ListQuery {
  readonly page: number;
  readonly pageSize: number;
  readonly status: string | null;
  readonly namespace: string | null;
  readonly fromMs: number;
  readonly toMs: number;
}

const DAY_MS = 86_400_000;
const STATUSES = ['waiting-file', 'pending', 'converting', 'running', 'done', 'failed'];

/** GET /v1/jobs: one page of the user's jobs. */
export async function listJobs(parts: KnowhereParts, request: KnowhereRequest): Promise<Reply> {
  const { call, user } = request;
  const nowMs = Date.now();
  const query = readListQuery(call.query, nowMs);
  if (Array.isArray(query)) return invalidReply(call, 'impl', query);
  const isEmpty = struck(request, 'list-empty') !== undefined;
  const { total, page } = isEmpty ? { total: 0, page: [] } : listed(parts.jobs, user, query, nowMs);
  return json(200, {
    jobs: await Promise.all(page.map((job) => shownAt(parts, request, job, 'list'))),
    total,
    page: query.page,
    page_size: query.pageSize,
    total_pages: Math.ceil(total / query.pageSize),
  });
}

/** Checks the query as the implementation does. `job_type` is taken and changes nothing: its values are not known. */
function readListQuery(query: URLSearchParams, nowMs: number): ListQuery | Violation[] {
  const violations: Violation[] = [];
  const whole = (name: string, fallback: number, min: number, max: number): number => {
    const text = query.get(name);
    if (text === null) return fallback;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    violations.push({ field: name, description: `Input should be a whole number from ${min} to ${max}` });
    return fallback;
  };
  const time = (name: string, fallback: number): number => {
    const text = query.get(name);
    if (text === null) return fallback;
    // A plus sign in a query is a space; ISO offsets get caught by it all the time.
    const iso = text.replace(' ', /T/.test(text) ? '+' : 'T');
    const value = Date.parse(/Z$|[+-]\d\d:?\d\d$/.test(iso) ? iso : `${iso}Z`);
    if (!Number.isNaN(value)) return value;
    violations.push({ field: name, description: 'Input should be a valid datetime' });
    return fallback;
  };
  const page = whole('page', 1, 1, 1_000_000);
  const pageSize = whole('page_size', 20, 1, 100);
  const recentDays = query.get('recent_days');
  if (recentDays !== null && !['1', '7', '30'].includes(recentDays)) {
    violations.push({ field: 'recent_days', description: 'Input should be 1, 7 or 30' });
  }
  const status = query.get('job_status');
  if (status !== null && !STATUSES.includes(status)) {
    violations.push({ field: 'job_status', description: `Input should be one of ${STATUSES.join(', ')}` });
  }
  const recentFromMs = recentDays === null ? -Infinity : nowMs - Number(recentDays) * DAY_MS;
  const fromMs = Math.max(recentFromMs, time('start_time', -Infinity));
  const toMs = time('end_time', Infinity);
  if (violations.length > 0) return violations;
  return { page, pageSize, status, namespace: query.get('namespace'), fromMs, toMs };
}

/** One page of a user's jobs, newest first, and how many match in all. */
function listed(
  store: JobStore,
  user: string,
  query: ListQuery,
  nowMs: number,
): { total: number; page: KnowhereJob[] } {
  const from = (query.page - 1) * query.pageSize;
  const page: KnowhereJob[] = [];
  let total = 0;
  for (const job of store.newestFirst()) {
    // Jobs are kept in order of creation, so everything further on is older still.
    if (job.createdAtMs < query.fromMs) break;
    if (job.createdAtMs > query.toMs || job.user !== user || job.deletedAtMs !== null) continue;
    if (query.namespace !== null && job.namespace !== query.namespace) continue;
    const lateMs = traitOf(job.faults, 'list-late');
    if (lateMs !== undefined && nowMs < job.createdAtMs + Number(lateMs)) continue;
    if (query.status !== null && store.standing(job).status !== query.status) continue;
    if (total >= from && page.length < query.pageSize) page.push(job);
    total += 1;
  }
  return { total, page };
}
