import * as z from 'zod';
import type { Json, JsonObject } from './json.ts';
import { readRun } from './run-id.ts';
import { outcomes, type SubmissionState, type VendorJob } from './submission.ts';

const jsonValue: z.ZodType<Json> = z.json();
const timestamp = z.iso.datetime().describe('ISO 8601, UTC');

const errorInfo = z.object({
  code: z.string().describe('stable code: ours (docs/errors.md) or the vendor’s own'),
  message: z.string(),
  details: jsonValue.optional(),
});

/** The `data` of a completion event: how one submission ended. */
export const completionData = z.object({
  submissionId: z.string(),
  retryOf: z.string().optional().describe('the submission id of the first run, where a person started it anew'),
  vendor: z.string(),
  operation: z.string(),
  account: z.string(),
  outcome: z.enum(outcomes),
  vendorJobs: z.array(
    z.object({
      id: z.string(),
      status: z.string().describe('the vendor’s own word, as last seen'),
      outcome: z
        .enum(['succeeded', 'failed', 'canceled', 'lost'])
        .nullable()
        .describe('null: not over when we stopped'),
      result: jsonValue,
      error: errorInfo.nullable(),
    }),
  ),
  error: errorInfo.nullable(),
  timings: z.object({
    enqueuedAt: timestamp,
    submittedAt: timestamp.nullable(),
    vendorCompletedAt: timestamp.nullable(),
    settledAt: timestamp,
  }),
  polls: z.number().int().min(0).describe('status look-ups made for this submission'),
  metadata: z.record(z.string(), jsonValue).nullable().describe('as the caller gave it'),
});

/** A CloudEvents 1.0 object, as it lies in the `data` of a results job. */
export const completionEvent = z.object({
  specversion: z.literal('1.0'),
  id: z.string().describe('the same on every delivery, another one for each use of a submission id; dedupe on it'),
  source: z.string().describe('/jobferry/<vendor>'),
  type: z.templateLiteral(['jobferry.submission.', z.enum(outcomes)]),
  subject: z.string().describe('the submission id'),
  time: timestamp.describe('when the outcome was found'),
  datacontenttype: z.literal('application/json'),
  data: completionData,
});

export type CompletionEvent = z.infer<typeof completionEvent>;

/** What an event tells of the submission beside the record itself. */
export interface EventSubject {
  vendor: string;
  operation: string;
  account: string;
  metadata: JsonObject | null;
}

/**
 * Builds the completion event of a settled submission. A pure function of the record and the job's data, so that
 * every delivery carries the same content, whichever process sends it.
 */
export function buildCompletionEvent(state: SubmissionState, subject: EventSubject): CompletionEvent {
  const settled = state.settled;
  if (settled === undefined) throw new Error(`submission ${state.id} is not settled`);
  const { first } = readRun(state.id);
  const completed = state.jobs.map((job) => job.completedAt).filter((at) => at !== undefined);
  return {
    specversion: '1.0',
    id: eventIdOf(subject.vendor, state),
    source: `/jobferry/${subject.vendor}`,
    type: `jobferry.submission.${settled.outcome}`,
    subject: state.id,
    time: iso(settled.at),
    datacontenttype: 'application/json',
    data: {
      submissionId: state.id,
      ...(first === state.id ? {} : { retryOf: first }),
      vendor: subject.vendor,
      operation: subject.operation,
      account: subject.account,
      outcome: settled.outcome,
      vendorJobs: state.jobs.map(toEventJob),
      error: settled.error,
      timings: {
        enqueuedAt: iso(state.enqueuedAt),
        submittedAt: state.submittedAt === undefined ? null : iso(state.submittedAt),
        vendorCompletedAt: completed.length === 0 ? null : iso(Math.max(...completed)),
        settledAt: iso(settled.at),
      },
      polls: state.polls,
      metadata: subject.metadata,
    },
  };
}

/** The id of a submission's completion event: the same for every delivery, and for no other use of the submission id. */
export function eventIdOf(vendor: string, { id, use }: Pick<SubmissionState, 'id' | 'use'>): string {
  return use === undefined ? `${vendor}.${id}` : `${vendor}.${id}.${use}`;
}

function toEventJob(job: VendorJob): CompletionEvent['data']['vendorJobs'][number] {
  return {
    id: job.id,
    status: job.vendorStatus ?? job.status,
    outcome: job.outcome ?? null,
    result: job.result ?? null,
    error: job.error ?? null,
  };
}

function iso(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
