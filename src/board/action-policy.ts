/**
 * The actions that the board may perform on a queue. All others are refused, including those that a new version of Bull
 * Board adds.
 *
 * A submission exists only in its job, and the finished job prevents its id from being sent twice. An event that no
 * consumer has completed exists only in its job. So on every queue only actions that lose nothing are allowed. The board
 * shows redacted and clipped job data, so data that comes back from it (edit, duplicate) is refused for every queue.
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

/** Safe or not, depending on the state of the jobs. */
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

/** The target of an action. */
export interface ActionTarget {
  queue?: string;
  jobId?: string;
  /** The state of the target jobs, in BullMQ's words; undefined if unknown. */
  state?: string;
  /** The vendor if the queue is its submit or poll queue; undefined for a results queue. */
  vendor?: string | undefined;
}

/** Whether the permission of the route depends on the state of its jobs. */
export function dependsOnState(route: string): boolean {
  return byState.retry.has(route) || byState.remove.has(route);
}

/**
 * Why an action of the board is refused; undefined if it is allowed.
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
    return `Not possible on ${queue}: a completed job is a settled submission, and running its job again sends nothing to the vendor. To start it again, use \`jobferry retry ${submission}\`; to redeliver its event, retry the event on its results queue.`;
  }
  return `Not possible on ${queue}: it would lose submissions, or the records that prevent them from being sent twice. To end one, use \`jobferry cancel ${submission}\`; finished ones are removed automatically.`;
}

function whyRefusedOnEvents(route: string, target: ActionTarget): string | undefined {
  if (byState.retry.has(route)) return undefined;
  if (byState.remove.has(route) && target.state === 'completed') return undefined;
  return `Not possible on ${target.queue ?? 'this queue'}: it would lose completion events that no consumer has taken. Only completed ones can be removed, and that happens automatically.`;
}
