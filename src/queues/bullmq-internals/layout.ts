/**
 * How BullMQ lays a queue out in Redis, which it does not promise. Every key, field, score and event name of BullMQ that code or
 * scripts of ours read or write comes from here; test/integration/bullmq-assumptions.test.ts holds each against the installed
 * version.
 */

/** The keys of a queue, each at `<prefix>:<queue>:<name>`. A job's hash lies among them, at `<prefix>:<queue>:<job id>`. */
export const queueKeys = {
  /** List; new jobs are pushed at its head, workers take from its tail. */
  wait: 'wait',
  /** List. */
  active: 'active',
  /** List. BullMQ 5 and older keep waiting jobs here while the queue is paused; BullMQ 6 leaves them in `wait`. */
  paused: 'paused',
  /** Sorted set, scored as `delayedScorePerMs` says. */
  delayed: 'delayed',
  /** Sorted set, scored as `prioritizedScorePerPriority` says. */
  prioritized: 'prioritized',
  waitingChildren: 'waiting-children',
  completed: 'completed',
  failed: 'failed',
  /** Set of active jobs that no worker has renewed since the last check. */
  stalled: 'stalled',
  /** Exists until the next check for stalled jobs is due. */
  stalledCheck: 'stalled-check',
  /** Sorted set on which idle workers block. */
  marker: 'marker',
  /** Hash of the queue's settings. */
  meta: 'meta',
  /** Stream. */
  events: 'events',
  priorityCounter: 'pc',
  /** Counter from which jobs without an id get one. */
  id: 'id',
  limiter: 'limiter',
  repeat: 'repeat',
  /** Only ever the beginning of a key. */
  deduplication: 'de',
} as const;

/** The lists that a job without a place in a sorted set can be in. */
export const lists = [queueKeys.wait, queueKeys.active, queueKeys.paused] as const;

/**
 * Ids that a job must not have: its hash would replace a key of its queue. After `wait`, for one, every further add fails.
 */
export const reservedIds: ReadonlySet<string> = new Set(['', ...Object.values(queueKeys)]);

/** Keys of one job, behind the key of its hash. */
export const jobSuffixes = {
  /** String: the token of the worker that holds the job. Gone when the lock has run out. */
  lock: ':lock',
  /** List, oldest line first. */
  logs: ':logs',
  /** Set of the keys of the children that the job waits for. */
  dependencies: ':dependencies',
} as const;

/** The fields of a job's hash. */
export const jobFields = {
  name: 'name',
  /** JSON text. */
  data: 'data',
  /** JSON text; holds `jobId` only where the caller chose it. */
  opts: 'opts',
  /** When the job was added, epoch ms, by the clock of the client that added it. */
  timestamp: 'timestamp',
  /** The latest delay, ms; 0 once it is over. */
  delay: 'delay',
  priority: 'priority',
  processedOn: 'processedOn',
  /** Set when the job is completed or failed, and only then. */
  finishedOn: 'finishedOn',
  progress: 'progress',
  returnvalue: 'returnvalue',
  failedReason: 'failedReason',
  stacktrace: 'stacktrace',
  /** How often a worker has taken the job. */
  attemptsStarted: 'ats',
  attemptsMade: 'atm',
  /** The same in BullMQ 4 and older. */
  oldAttemptsMade: 'attemptsMade',
  /** Never reset. */
  stalledCounter: 'stc',
  processedBy: 'pb',
  repeatJobKey: 'rjk',
  deduplicationId: 'deid',
  deferredFailure: 'defa',
  /** `<prefix>:<queue>:<id>` of the parent. */
  parentKey: 'parentKey',
  /** JSON text. */
  parent: 'parent',
} as const;

/** In `meta`: exists while the queue is paused. */
export const pausedSetting = 'paused';

/** What the entries of the event stream are called, and the fields in which they say it. */
export const streamEvents = {
  eventField: 'event',
  jobIdField: 'jobId',
  added: 'added',
  waiting: 'waiting',
  paused: 'paused',
  resumed: 'resumed',
} as const;

/** A delayed job's score is its due time in ms times this, plus a number that keeps jobs of one ms in order. */
export const delayedScorePerMs = 4_096;

/** A prioritized job's score is its priority times this, plus `priorityCounter`. */
export const prioritizedScorePerPriority = 4_294_967_296;

/** Lua that wakes one idle worker: its score and member are those of "a job waits". @param key - a Lua expression */
export function wakeWorker(key: string): string {
  return `redis.call('ZADD', ${key}, 0, '0')`;
}

/** BullMQ 4 and older keep markers among the jobs of `wait` and `paused`; their ids begin with this. */
export const oldMarkerPrefix = '0:';

/** Names as Lua writes them in a list: `'wait', 'active'`. */
export function luaList(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}

/** When a delayed job is due, epoch ms, from its score. */
export function dueAtOf(score: unknown): number | undefined {
  const value = typeof score === 'string' || typeof score === 'number' ? Number(score) : Number.NaN;
  return Number.isFinite(value) ? Math.floor(value / delayedScorePerMs) : undefined;
}
