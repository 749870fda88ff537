import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Operation, ScopedHttp, Transfers, VendorAdapter } from '../ports/vendor-adapter.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { ReconcileOptions } from '../core/verdicts.ts';
import type { CompletionEvent } from '../core/completion-event.ts';
import type { AccountBoard } from '../queues/account-board.ts';
import type { JobAddress, RecordStore } from '../queues/record-store.ts';
import type { ReplyRules } from '../queues/reply-queues.ts';
import type { AccountGate } from './accounts/account-gate.ts';
import type { LookupGate } from './accounts/lookup-gate.ts';

/**
 * A lock this long, and a check this often, bring the jobs of a killed worker back within 10 s: the lock must run out,
 * and two checks see it (BullMQ marks at one and moves at the next).
 */
export const lockDurationMs = 5_000;
export const stalledIntervalMs = 1_500;

/** One configured account of a vendor, with what all jobs of this process share for it. */
export interface AccountRuntime {
  name: string;
  account: unknown;
  http: ScopedHttp;
  gate: AccountGate;
  /** By the kind of vendor job. */
  lookups: ReadonlyMap<string, LookupGate<unknown>>;
  /** The account's own poll defaults, from the configuration. */
  poll: { [Key in keyof PollOptions]?: PollOptions[Key] | undefined };
}

export interface VendorRuntime {
  adapter: VendorAdapter;
  accounts: ReadonlyMap<string, AccountRuntime>;
}

export const defaultReconcile: ReconcileOptions = {
  gapsMs: [1_000, 2_000, 5_000, 8_000, 10_000, 15_000],
  minAbsentLooks: 4,
  absenceMs: 35_000,
  inFlightMs: 35_000,
  maxAttempts: 5,
};

/** The places between two writes; docs/failure-modes.md tells what a death at each leads to. */
export const checkpoints = [
  'before-intent',
  'intent-saved',
  'vendor-answered',
  'acceptance-saved',
  'prepared',
  'poll-job-added',
  'poll-job-begun',
  'looked-up',
  'outcome-saved',
  'event-delivered',
] as const;
export type Checkpoint = (typeof checkpoints)[number];

/** What every turn of every worker is given. */
export interface Engine {
  vendors: ReadonlyMap<string, VendorRuntime>;
  /** Which queues completion events may be sent to. */
  replyRules: ReplyRules;
  store: RecordStore;
  accounts: AccountBoard;
  transfers: Transfers;
  /** Puts a completion event on a queue under an id that makes a second delivery no second job. */
  deliver(queue: string, event: CompletionEvent): Promise<void>;
  /** Lets a job run at once that is delayed; nothing happens to any other. Never rejects. */
  wake(job: JobAddress): Promise<void>;
  reconcile: ReconcileOptions;
  /** By `<vendor>.<operation>`: whether a submit that can not be settled waits for a person. */
  ambiguity: Readonly<Record<string, 'settle' | 'wait'>>;
  /** Called between two writes, at the places where a death would hurt most; for tests of just that. */
  checkpoint(point: Checkpoint): Promise<void> | void;
  clock: Clock;
  logger: Logger;
}

export function findOperation(adapter: VendorAdapter, name: string): Operation | undefined {
  return Object.hasOwn(adapter.operations, name) ? adapter.operations[name] : undefined;
}
