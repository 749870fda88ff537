/**
 * What the board may do to a queue. What is not listed here is refused, whatever a new version of Bull Board brings.
 *
 * A submission lives in its job, and a finished job is the memory that keeps its id from being sent twice. An event that no
 * consumer has completed exists only in its job. So on every queue only what loses nothing is let through. What the board
 * shows of job data is redacted and clipped: data that comes back from it (edit, duplicate) is refused for every queue.
 */
const safeOnEveryQueue: ReadonlySet<string> = new Set([
  '/api/queues/:queueName/promote',
  '/api/queues/:queueName/:jobId/promote',
  '/api/queues/:queueName/pause',
  '/api/queues/:queueName/resume',
  '/api/queues/pause',
  '/api/queues/resume',
  '/api/queues/:queueName/concurrency',
  '/api/queues/:queueName/rate-limit',
  '/api/queues/:queueName/rate-limit/release',
]);

/** Safe or not by the state that the jobs are in. */
const byState = {
  retry: new Set(['/api/queues/:queueName/retry/:queueStatus', '/api/queues/:queueName/:jobId/retry']),
  remove: new Set(['/api/queues/:queueName/clean/:queueStatus', '/api/queues/:queueName/:jobId/clean']),
} as const;

const refusedEverywhere: ReadonlyMap<string, string> = new Map([
  [
    '/api/queues/:queueName/add',
    'Nothing was added: the board shows clipped and redacted copies, which must not become jobs. Use `jobferry submit <vendor>.<operation> --input <file>`.',
  ],
  [
    '/api/queues/:queueName/:jobId/update-data',
    'Nothing was changed: the board shows a clipped and redacted copy of the data, and saving it would overwrite the real one.',
  ],
]);

/** What an action is aimed at. */
export interface ActionTarget {
  queue?: string;
  jobId?: string;
  /** The state of the jobs that it is aimed at, in BullMQ's words; undefined where it is not known. */
  state?: string;
  /** The vendor when the queue is one of its submit or poll queues; undefined for a queue of completion events. */
  vendor?: string | undefined;
}

/** Whether what may be done with the route depends on the state of its jobs. */
export function dependsOnState(route: string): boolean {
  return byState.retry.has(route) || byState.remove.has(route);
}

/**
 * Why an action of the board is refused, or undefined when it may go ahead.
 * @param route - Bull Board's route pattern.
 */
export function whyRefused(method: string, route: string, target: ActionTarget): string | undefined {
  if (method === 'get') return undefined;
  const always = refusedEverywhere.get(route);
  if (always !== undefined) return always;
  if (safeOnEveryQueue.has(route)) return undefined;
  return target.vendor === undefined
    ? whyRefusedOnEvents(route, target)
    : whyRefusedOnSubmissions(route, target, target.vendor);
}

function whyRefusedOnSubmissions(route: string, target: ActionTarget, vendor: string): string | undefined {
  const queue = target.queue ?? 'this queue';
  const submission = `${vendor} ${target.jobId ?? '<submissionId>'}`;
  if (byState.retry.has(route)) {
    if (target.state === 'failed') return undefined;
    return `Not possible on ${queue}: a completed job is a settled submission, and running its job again sends nothing to the vendor. To start it anew, use \`jobferry retry ${submission}\`; to have its event taken again, retry the event on its results queue.`;
  }
  return `Not possible on ${queue}: it would lose submissions, or the memory that keeps them from being sent twice. To end one, use \`jobferry cancel ${submission}\`; finished ones leave by themselves.`;
}

function whyRefusedOnEvents(route: string, target: ActionTarget): string | undefined {
  if (byState.retry.has(route)) return undefined;
  if (byState.remove.has(route) && target.state === 'completed') return undefined;
  return `Not possible on ${target.queue ?? 'this queue'}: it would lose completion events that no consumer has taken. Only completed ones can be removed, and those leave by themselves.`;
}
