import { Queue, Worker, type Job } from 'bullmq';
import { Redis } from 'ioredis';
import { writeRecord } from '../../src/core/record.ts';
import type { SubmissionState } from '../../src/core/submission.ts';
import type { JobHash } from '../../src/queues/job-hash.ts';
import { hashFields } from '../../src/queues/keys.ts';
import { QueueGuard } from '../../src/queues/queue-guard.ts';
import { RecordStore } from '../../src/queues/record-store.ts';
import { AccountGate } from '../../src/workers/accounts/account-gate.ts';
import { TolerantWorker } from '../../src/workers/bullmq/tolerant-worker.ts';
import { bareScript } from './bare-scripts.ts';

/**
 * Takes protections out of the engine, to see what each costs. Nothing in the product can be switched off, and nothing
 * should be: this wraps its parts from outside, in a benchmark's worker process, before the engine is built.
 */

export const meanings = {
  intent: 'the record that is saved before the vendor is called',
  acceptance: 'the vendor’s answer, saved before what the vendor still needs is prepared',
  fence: 'saves that happen only while the lock is held, and not over a cancel or a hand-over',
  'send-lock': 'the lock that is asked for and renewed right before the vendor is called',
  'hand-over': 'the poll job gets its record in a write of its own, which only the first acceptance makes',
  outcome: 'the outcome that is saved before its event is sent',
  cancel: 'cancel requests that came while a worker held the job are read back after each poll',
  list: 'the list of submissions under way, which shows whose job was removed from outside',
  log: 'the submission’s own log of its steps',
  gate: 'throttles and holds of the account, shared by all workers',
  upkeep: 'repair of damaged queues, short locks and the frequent check for stalled jobs',
} as const;
export type Protection = keyof typeof meanings;
export const protections = Object.keys(meanings) as readonly Protection[];

/** To be called before any worker or connection is created. */
export function takeOut(given: readonly Protection[]): void {
  if (given.length === 0) return;
  const out = new Set(given);
  replaceScripts(out);
  replaceStore(out);
  if (out.has('hand-over')) handOverInOneAdd();
  if (out.has('gate')) openGates();
  if (out.has('upkeep')) neglectQueues();
}

/** Whole scripts in the place of the engine's. */
function replaceScripts(out: ReadonlySet<Protection>): void {
  type Define = (this: Redis, name: string, definition: { lua: string; numberOfKeys?: number }) => void;
  const prototype = Redis.prototype as unknown as { defineCommand: Define };
  const { defineCommand } = prototype;
  prototype.defineCommand = function (name, definition) {
    defineCommand.call(this, name, { ...definition, lua: bareScript(name, definition.lua, out) });
  };
}

type Method<Name extends 'save' | 'note' | 'begin' | 'holdToSend'> = (
  this: RecordStore,
  ...given: Parameters<RecordStore[Name]>
) => ReturnType<RecordStore[Name]>;

/** What a save on the way into a phase is for. */
const savedAt: Readonly<Partial<Record<SubmissionState['phase'], Protection>>> = {
  intended: 'intent',
  accepted: 'acceptance',
  settled: 'outcome',
};

function replaceStore(out: ReadonlySet<Protection>): void {
  const store = RecordStore.prototype as {
    save: Method<'save'>;
    note: Method<'note'>;
    begin: Method<'begin'>;
    holdToSend: Method<'holdToSend'>;
  };
  const { save, note, begin } = store;
  if (out.has('send-lock')) store.holdToSend = () => Promise.resolve(true);
  store.save = function (...given) {
    const saved = savedAt[given[2].phase];
    if (saved !== undefined && out.has(saved)) return Promise.resolve({ kind: 'saved' });
    if (out.has('log')) given[3] = undefined;
    return save.apply(this, given);
  };
  store.note = function (...given) {
    // Without either there is nothing to write and nothing to read.
    if (out.has('log') && out.has('cancel')) return Promise.resolve(false);
    if (out.has('log')) given[1] = undefined;
    return note.apply(this, given);
  };
  store.begin = function (...given) {
    if (out.has('log')) given[4] = '';
    return begin.apply(this, given);
  };
}

/**
 * What one would write in plain BullMQ: the poll job is added with what it has to know in its data. The record is moved
 * to where the engine looks for it when the job is taken; from the first poll on it is in its place anyway, and the request
 * stays in the data.
 */
function handOverInOneAdd(): void {
  const waiting = new Map<string, (record: SubmissionState, request: string) => Promise<Job>>();
  type Add = (this: Queue, ...given: Parameters<Queue['add']>) => Promise<Job | undefined>;
  const queue = Queue.prototype as unknown as { add: Add };
  const { add } = queue;
  queue.add = function (name, data, options) {
    if (!this.name.endsWith('.poll')) return add.call(this, name, data, options);
    waiting.set(
      options?.jobId ?? '',
      (record, request) => add.call(this, name, { record: writeRecord(record), request }, options) as Promise<Job>,
    );
    return Promise.resolve(undefined);
  };
  const store = RecordStore.prototype as { begin: Method<'begin'> };
  store.begin = async function (...[poll, , state, request]) {
    await waiting.get(poll.jobId)?.(state, request);
    waiting.delete(poll.jobId);
    return 'begun';
  };
  type HashOf = (this: TolerantWorker, job: Job) => JobHash;
  const taken = TolerantWorker.prototype as unknown as { hashOf: HashOf };
  const { hashOf } = taken;
  taken.hashOf = function (job) {
    const hash = hashOf.call(this, job);
    const { record, request } = JSON.parse(hash['data'] ?? '{}') as { record?: string; request?: string };
    if (record === undefined) return hash;
    return { ...hash, [hashFields.record]: hash[hashFields.record] ?? record, [hashFields.request]: request };
  };
}

function openGates(): void {
  const gate = AccountGate.prototype;
  gate.admit = (scope) => Promise.resolve({ admitted: true, scope });
  gate.settle = () => Promise.resolve({ isOwnFault: false });
  gate.abandon = () => Promise.resolve();
  gate.onLimits = () => Promise.resolve();
}

/** BullMQ's own lock and stalled check at their defaults, and nothing beside them. */
function neglectQueues(): void {
  const guard = QueueGuard.prototype;
  guard.lift = () => Promise.resolve([]);
  guard.takeSweep = () => Promise.resolve(false);
  guard.wake = () => Promise.resolve(0);
  type Create = (this: Worker) => void;
  const worker = Worker.prototype as unknown as { createLockManager: Create };
  const { createLockManager } = worker;
  worker.createLockManager = function () {
    Object.assign(this.opts, { lockDuration: 30_000, lockRenewTime: 15_000, stalledInterval: 30_000 });
    createLockManager.call(this);
  };
}
