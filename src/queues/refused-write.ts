/** Memory or disk full, too few replicas, a replica itself: Redis answers, and did nothing of what was asked. */
const refusal = /^(?:OOM|MISCONF|NOREPLICAS|READONLY) /;

export function isRefusedWrite(error: unknown): boolean {
  return error instanceof Error && refusal.test(error.message);
}

const redisErrors: ReadonlySet<string> = new Set(['ReplyError', 'MaxRetriesPerRequestError', 'ClusterAllFailedError']);
const lostConnection = /^(?:Connection is closed|Stream isn't writeable|Command timed out)|\b(?:ECONN|EPIPE|ETIMEDOUT)/;

/** True for what Redis, or the way to it, is at fault for: it passes, and says nothing of a submission. */
export function isRedisFault(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return isRefusedWrite(error) || redisErrors.has(error.name) || lostConnection.test(error.message);
}
