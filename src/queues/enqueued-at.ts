/** When a job was added, epoch ms: BullMQ takes that from whoever adds it, so it can be anything. */
export function readEnqueuedAt(timestamp: number, now: number): number {
  return Number.isFinite(timestamp) && timestamp > 0 && timestamp <= now ? timestamp : now;
}
