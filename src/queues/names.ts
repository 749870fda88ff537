/** Queue names and key prefix: the part of Redis that the public contract names. */

export type Stage = 'submit' | 'poll';

/** BullMQ's own default. */
export const defaultPrefix = 'bull';

/** Where completion events go unless a submission names another queue. */
export const defaultResultQueue = 'results';

export const resultQueuePattern = /^[A-Za-z0-9._-]{1,128}$/;

/** `knowhere.submit`, `knowhere.poll`: a queue of its own per vendor, so that a slow one holds up no other. */
export function stageQueue(vendor: string, stage: Stage): string {
  return `${vendor}.${stage}`;
}

/** True for the queues that carry submissions: no completion event may be sent into one of them. */
export function isStageQueue(queue: string, vendors: readonly string[]): boolean {
  return vendors.some((vendor) => queue === stageQueue(vendor, 'submit') || queue === stageQueue(vendor, 'poll'));
}
