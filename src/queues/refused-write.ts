/** Memory or disk full, too few replicas, a replica itself: Redis answers, and did nothing of what was asked. */
const refusal = /^(?:OOM|MISCONF|NOREPLICAS|READONLY) /;

export function isRefusedWrite(error: unknown): boolean {
  return error instanceof Error && refusal.test(error.message);
}
