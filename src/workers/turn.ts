import { nextBound } from '../core/deadline.ts';
import { describeDuration } from '../core/describe.ts';
import { VendorUnavailableError } from '../core/errors.ts';
import { backoffMs, floorHint } from '../core/poll-schedule.ts';
import { toSafeErrorInfo } from '../core/safe-error.ts';
import * as story from '../core/story.ts';
import { summariseErrors } from '../core/verdicts.ts';
import { settled } from '../core/state-machine.ts';
import {
  combineOutcomes,
  type ErrorInfo,
  type Outcome,
  type SubmissionState,
  type VendorJob,
} from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import type { Scope, StepContext, VendorHttp } from '../ports/vendor-adapter.ts';
import type { JobHash } from '../queues/job-hash.ts';
import type { Stage } from '../queues/names.ts';
import { isUsualSubmitJob, noteReply, type OpenNote } from '../queues/open-submissions.ts';
import type { JobAddress, SaveResult, Unless } from '../queues/record-store.ts';
import type { SalvagedJob } from '../queues/submit-job.ts';
import type { Engine, VendorRuntime } from './engine.ts';
import type { SubmissionRequest } from './request.ts';

/** What a turn ends in; `settle.ts` alone says it in BullMQ's terms. */
export type Move =
  /** Come back at that time, epoch ms. */
  | { kind: 'again'; at: number; line?: string }
  /** The submit stage is done: the poll queue takes over. */
  | { kind: 'hand-over'; at: number; line: string }
  /** The outcome is stored: deliver its event. */
  | { kind: 'settled' }
  /** The submission is in other hands already. */
  | { kind: 'duplicate' };

/** What one step of a turn ends in. */
export type Step =
  | Move
  /** The record got on: the turn takes its next step. */
  | { kind: 'advanced' };

export const advanced: Step = { kind: 'advanced' };

/** Another worker holds the job by now: whatever this turn knows is stale and must not be written. */
export class TurnLostError extends Error {
  override readonly name = 'TurnLostError';
}

/** One worker's turn with one submission, from taking its job to giving it back. */
export class Turn {
  readonly engine: Engine;
  readonly vendor: VendorRuntime;
  readonly stage: Stage;
  readonly address: JobAddress;
  /** The submission's poll job, which exists from the hand-over on. */
  readonly pollAddress: JobAddress;
  readonly token: string;
  readonly signal: AbortSignal;
  readonly operationName: string;
  readonly request: SubmissionRequest;
  /** What the job's hash held when the turn began. */
  readonly hash: JobHash;
  /** Where the event goes, and what it echoes. */
  readonly reply: SalvagedJob;
  readonly logger: Logger;
  state: SubmissionState;

  constructor(
    init: Pick<
      Turn,
      | 'engine'
      | 'vendor'
      | 'stage'
      | 'address'
      | 'pollAddress'
      | 'token'
      | 'signal'
      | 'operationName'
      | 'request'
      | 'hash'
      | 'reply'
      | 'logger'
      | 'state'
    >,
  ) {
    this.engine = init.engine;
    this.vendor = init.vendor;
    this.stage = init.stage;
    this.address = init.address;
    this.pollAddress = init.pollAddress;
    this.token = init.token;
    this.signal = init.signal;
    this.operationName = init.operationName;
    this.request = init.request;
    this.hash = init.hash;
    this.reply = init.reply;
    this.logger = init.logger;
    this.state = init.state;
  }

  now(): number {
    return this.engine.clock.now();
  }

  random(): number {
    return this.engine.clock.random();
  }

  /** "+12.3 s": how long after it was enqueued this is. */
  elapsed(): string {
    return `+${describeDuration(this.now() - this.state.enqueuedAt)}`;
  }

  /**
   * Stores the record as it stands.
   * @throws TurnLostError
   */
  async save(line?: string): Promise<void> {
    await this.#save(line);
  }

  async #save(line: string | undefined, unless?: Unless): Promise<SaveResult> {
    this.assertHeld();
    const result = await this.engine.store.save(this.address, this.token, this.state, line, this.openNote(), unless);
    if (result.kind === 'fenced') throw new TurnLostError(`lost the lock on ${this.address.jobId}`);
    return result;
  }

  /**
   * BullMQ names a lock by the slot of its worker, and a slot that lost a job may be the one that takes it again: then
   * the lock looks like ours and is that of the turn after. So a turn that was given up writes and sends nothing more.
   * @throws TurnLostError
   */
  assertHeld(): void {
    if (this.signal.aborted) throw new TurnLostError(`the turn of ${this.address.jobId} was given up`);
  }

  /** What the list of submissions under way says of this one. */
  openNote(state = this.state): OpenNote {
    const { operationName: op, address } = this;
    const vendor = this.vendor.adapter.name;
    if (state.settled !== undefined) return { vendor, submissionId: state.id, use: state.use, note: null };
    // Back in `received` means that the last submit created nothing, unless an earlier one is in doubt.
    const isUnsent = state.phase === 'received' && state.doubts === undefined;
    const sent = isUnsent ? state.submittedAt : (state.intent?.at ?? state.submittedAt);
    const hasOddJobId = this.stage === 'submit' && !isUsualSubmitJob(vendor, state.id, address.jobId);
    const note = {
      op,
      at: state.enqueuedAt,
      ...(state.use === undefined ? {} : { use: state.use }),
      ...(sent === undefined ? {} : { sent }),
      ...(state.jobs.length === 0 ? {} : { jobs: state.jobs.map((job) => job.id) }),
      ...noteReply(this.reply),
      ...(hasOddJobId ? { job: address.jobId } : {}),
    };
    return { vendor, submissionId: state.id, use: state.use, note };
  }

  /**
   * Writes the outcome, which never changes again; its event follows. At the submit stage an acceptance may have been
   * handed over by a worker that lost this job: then the submission goes on there, and ends there.
   */
  async settle(outcome: Outcome, error: ErrorInfo | null): Promise<Move> {
    this.state = settled(this.state, { outcome, error, at: this.now() });
    const line = story.settled(this.elapsed(), outcome, error);
    const saved = await this.#save(line, { handedOver: this.pollAddress });
    if (saved.kind === 'handed-over') return { kind: 'duplicate' };
    this.logger.info(
      { outcome, errorCode: error?.code, polls: this.state.polls, elapsedMs: this.now() - this.state.enqueuedAt },
      'submission settled',
    );
    return { kind: 'settled' };
  }

  /** Settles by what became of the vendor jobs, all of them over. */
  async settleByJobs(): Promise<Move> {
    const outcome = combineOutcomes(this.state.jobs);
    return this.settle(outcome, outcome === 'succeeded' ? null : summariseErrors(this.state.jobs));
  }

  /** Replaces vendor jobs by id; those not mentioned stay. */
  mergeJobs(changed: readonly VendorJob[] | undefined): void {
    if (changed === undefined || changed.length === 0) return;
    const byId = new Map(changed.map((job) => [job.id, job]));
    const known = new Set(this.state.jobs.map((job) => job.id));
    this.state.jobs = [
      ...this.state.jobs.map((job) => byId.get(job.id) ?? job),
      ...changed.filter((job) => !known.has(job.id)),
    ];
  }

  /**
   * Waits for the account. The reason goes into the record, and into the log once, not at every return.
   */
  wait(until: number, why: ErrorInfo): Move {
    const isNews = this.state.lastError?.code !== why.code;
    this.state.lastError = why;
    const now = this.now();
    const at = Math.max(now, Math.min(until, nextBound(this.state, now)));
    return {
      kind: 'again',
      at,
      ...(isNews ? { line: story.waits(this.elapsed(), why) } : {}),
    };
  }

  context(
    overrides: { attempt?: number; http?: VendorHttp; scope?: Scope; timeoutMs?: number; signal?: AbortSignal } = {},
  ): StepContext<unknown, unknown> {
    const { engine, state, request, vendor } = this;
    return {
      submissionId: state.id,
      account: request.account.account,
      accountName: request.account.name,
      input: request.input,
      stage: state.stage,
      part: state.part ?? 0,
      carry: state.carry,
      snapshot: state.snapshot,
      jobs: state.jobs,
      http: overrides.http ?? request.account.http.forScope(overrides.scope ?? 'status', overrides.timeoutMs),
      transfers: engine.transfers,
      now: this.now(),
      deadlineAt: state.deadlineAt,
      attempt: overrides.attempt ?? state.intent?.attempt ?? 0,
      doubts: state.doubts ?? 0,
      enqueuedAt: state.enqueuedAt,
      logger: this.logger,
      signal: overrides.signal ?? this.signal,
      claim: (vendorJobId) =>
        engine.accounts.claim(`${vendor.adapter.name}/${request.account.name}`, vendorJobId, state.id),
    };
  }

  /** When a refused request may be made again, as the account's gate sees it. */
  retryAt(scope: Scope): number {
    return this.request.account.gate.retryAt(scope, scope === 'submit' ? this.state.refused : undefined);
  }
}

/** Tries the step again with backoff, until the end of the span that the submission is in (`deadlineAt`). */
export function retryLater(turn: Turn, error: unknown, what: string): Move {
  const { state } = turn;
  const info = toSafeErrorInfo(error);
  state.lastError = info;
  const wait = waitAfterFailure(turn, error);
  const at = Math.min(turn.now() + wait, state.deadlineAt);
  return { kind: 'again', at, line: story.triedAgain(what, turn.elapsed(), info, wait) };
}

/** Counts a failure. @returns how long to wait after it, ms: by backoff, and at least as long as the vendor asked */
export function waitAfterFailure(turn: Turn, error: unknown): number {
  const { state } = turn;
  state.failures = (state.failures ?? 0) + 1;
  const backoff = backoffMs(state.failures, turn.random());
  const hint = error instanceof VendorUnavailableError ? error.retryAfterMs : undefined;
  return hint === undefined ? backoff : Math.max(backoff, floorHint(hint, turn.random()));
}
