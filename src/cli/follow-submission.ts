import { setTimeout as sleep } from 'node:timers/promises';
import { Job, type Queue } from 'bullmq';
import { completionEvent, type CompletionEvent } from '../core/completion-event.ts';
import { RedisUnavailableError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { Outcome } from '../core/submission.ts';
import { openFailFastConnection, type RedisConnection, type RedisTarget } from '../queues/connection.ts';
import { resultJobId } from '../queues/job-ids.ts';
import { openQueueForReading } from '../queues/open-queue.ts';
import type { SubmissionStatus } from '../queues/submission-reader.ts';

const lookEveryMs = 300;
/** The outcome is stored before its event is sent; this long the event is waited for, ms. */
const eventGraceMs = 3_000;
/** Between two queues a submission can be missed by one look, and not by so many. */
const looksUntilGone = 5;

/** Looks at completion events without taking them: they are for the user's own services. */
export class EventReader {
  readonly #connection: RedisConnection;
  readonly #queue: Queue;

  constructor(target: RedisTarget, prefix: string, queueName: string) {
    this.#connection = openFailFastConnection(target, () => undefined);
    this.#queue = openQueueForReading(queueName, this.#connection, prefix);
    this.#queue.on('error', () => undefined);
  }

  /** @returns undefined when it was not sent yet, or was consumed and removed, or Redis is away. */
  async find(eventId: string | null): Promise<CompletionEvent | undefined> {
    if (eventId === null) return undefined;
    try {
      const job = await Job.fromId(this.#queue, resultJobId(eventId));
      return completionEvent.safeParse(job?.data).data;
    } catch {
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#queue.close().catch(() => undefined);
    this.#connection.disconnect();
  }
}

export interface FollowOptions {
  vendor: string;
  submissionId: string;
  status: (vendor: string, submissionId: string) => Promise<SubmissionStatus | undefined>;
  events: EventReader;
  /** Told of every look that found something else than the one before. */
  onChange: (status: SubmissionStatus) => void;
  /** Told when Redis stops answering (with a reason) and when it answers again (without). */
  onTrouble: (reason: string | undefined) => void;
  signal: AbortSignal;
  /** What the caller submitted with, for an event that has to be made up. */
  account?: string | undefined;
  metadata?: JsonObject | undefined;
}

/**
 * Looks at a submission until it is over.
 * @returns its event; undefined when it is no longer known and left no event. Made up from the record where the event
 * was consumed and removed already: then without the results of vendor jobs.
 * @throws what aborted `signal`
 */
export async function followSubmission(options: FollowOptions): Promise<CompletionEvent | undefined> {
  const { vendor, submissionId, signal } = options;
  let seen = '';
  let misses = 0;
  let settledSince: number | undefined;
  let isInTrouble = false;
  let eventId: string | null = null;
  for (;;) {
    signal.throwIfAborted();
    let status: SubmissionStatus | undefined;
    try {
      status = await options.status(vendor, submissionId);
      if (isInTrouble) options.onTrouble(undefined);
      isInTrouble = false;
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error;
      if (!isInTrouble) options.onTrouble(error.message);
      isInTrouble = true;
      await sleep(lookEveryMs, undefined, { signal });
      continue;
    }
    if (status === undefined) {
      const event = await options.events.find(eventId);
      if (event !== undefined) return event;
      misses += 1;
      if (misses >= looksUntilGone) return undefined;
    } else {
      misses = 0;
      eventId = status.eventId;
      const facts = JSON.stringify([status.state, status.progress, status.polls]);
      if (facts !== seen) options.onChange(status);
      seen = facts;
      if (status.phase === 'settled') {
        settledSince ??= Date.now();
        const event = await options.events.find(eventId);
        if (event !== undefined) return event;
        if (Date.now() - settledSince > eventGraceMs) return eventFromStatus(status, options);
      }
    }
    await sleep(lookEveryMs, undefined, { signal });
  }
}

function eventFromStatus(status: SubmissionStatus, options: FollowOptions): CompletionEvent {
  const { vendor, submissionId, error } = status;
  const outcome = status.outcome as Outcome;
  const settledAt = status.settledAt ?? new Date().toISOString();
  return {
    specversion: '1.0',
    id: status.eventId ?? `${vendor}.${submissionId}`,
    source: `/jobferry/${vendor}`,
    type: `jobferry.submission.${outcome}`,
    subject: submissionId,
    time: settledAt,
    datacontenttype: 'application/json',
    data: {
      submissionId,
      vendor,
      operation: status.operation,
      account: options.account ?? 'default',
      outcome,
      vendorJobs: status.vendorJobs.map((job) => ({
        id: job.id,
        status: job.status,
        outcome: job.outcome as CompletionEvent['data']['vendorJobs'][number]['outcome'],
        result: null,
        error: null,
      })),
      error,
      timings: {
        enqueuedAt: status.enqueuedAt,
        submittedAt: status.submittedAt,
        vendorCompletedAt: null,
        settledAt,
      },
      polls: status.polls,
      metadata: options.metadata ?? null,
    },
  };
}
