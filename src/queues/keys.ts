/**
 * Everything in Redis that is ours: keys, and fields in hashes of BullMQ. What BullMQ names is in bullmq-internals/layout.ts.
 */

/** Keys of ours that belong to no queue begin with it: `<prefix>:jobferry:…`. No queue may have this name. */
export const ownKeySpace = 'jobferry';

/** What such a key is for; docs/architecture.md §6 says how long each is kept. */
type SharedKey =
  | 'accounts'
  | 'claim'
  | 'clock'
  | 'health'
  /** Hash of submission id → note; see open-submissions.ts. */
  | 'open'
  | 'open-cursor'
  | 'probe'
  | 'queues'
  | 'walk';

export function sharedKey(prefix: string, key: SharedKey, ...rest: readonly string[]): string {
  return [prefix, ownKeySpace, key, ...rest].join(':');
}

/** `<prefix>:jobferry:open:<vendor>`, the list of submissions under way. */
export function openKey(prefix: string, vendor: string): string {
  return sharedKey(prefix, 'open', vendor);
}

const besideQueue = 'jobferry.';

/** Keys of ours beside those of a queue: `<prefix>:<queue>:jobferry.…`. */
export const ownQueueKeys = {
  clock: `${besideQueue}clock`,
  heard: `${besideQueue}heard`,
  misplaced: `${besideQueue}misplaced`,
  sweep: `${besideQueue}sweep`,
} as const;

/** True for a name that no job has, because keys of ours begin so. */
export function isOwnQueueKey(name: string): boolean {
  return name.startsWith(besideQueue);
}

/**
 * Our own fields in the hash of a BullMQ job. No call of a BullMQ client writes them, so whatever an outsider does to
 * `data` or `progress` of a job, its submission goes on from what is known.
 */
export const hashFields = {
  /** The record (core/record.ts). */
  record: 'jobferry.record',
  /** The job's data as it was when its submission was taken, JSON text. */
  request: 'jobferry.request',
  /** When a caller asked for a cancel, epoch ms. */
  cancel: 'jobferry.cancel',
  /** What a person decided about a submit whose fate is unknown, JSON text. */
  decision: 'jobferry.decision',
  /** What the vendor answered a worker that had lost the job by then. Gone with the next record without an intent. */
  answer: 'jobferry.answer',
  /** In a submit job: its poll job has the record. */
  handedOver: 'jobferry.handed-over',
  /** In a submit job that a flow or a deduplication waits for: it is about to fail, as its submission did not succeed. */
  ended: 'jobferry.ended',
} as const;

/** Never stored: stands in a hash that was read for data larger than may be parsed, in bytes. */
export const oversizedField = 'jobferry.oversized';

/** Among a queue's settings: BullMQ writes its own anew when they are gone, with its defaults. */
export const knownField = 'jobferry';
