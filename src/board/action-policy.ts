/**
 * What the board may do to a queue.
 *
 * A submission lives in its job, and a finished job is the memory that keeps its id from being sent twice. So on
 * `<vendor>.submit` and `<vendor>.poll` only what loses nothing is let through. What the board shows of job data is
 * redacted and clipped: data that comes back from it (edit, duplicate) is refused for every queue.
 */
const safeOnStageQueues: ReadonlySet<string> = new Set([
  '/api/queues/:queueName/retry/:queueStatus',
  '/api/queues/:queueName/:jobId/retry',
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

/**
 * Why an action of the board is refused, or undefined when it may go ahead.
 * @param route - Bull Board's route pattern.
 * @param stageQueue - the vendor when the queue is one of its submit or poll queues.
 */
export function whyRefused(
  method: string,
  route: string,
  target: { queue?: string; jobId?: string; vendor?: string | undefined },
): string | undefined {
  if (method === 'get') return undefined;
  const always = refusedEverywhere.get(route);
  if (always !== undefined) return always;
  if (target.vendor === undefined || safeOnStageQueues.has(route)) return undefined;
  const command = `jobferry cancel ${target.vendor} ${target.jobId ?? '<submissionId>'}`;
  return `Not possible on ${target.queue ?? 'this queue'}: it would lose submissions, or the memory that keeps them from being sent twice. To end one, use \`${command}\`; finished ones leave by themselves.`;
}
