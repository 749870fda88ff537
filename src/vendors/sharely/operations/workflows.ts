import { VendorRejectedError } from '../../../core/errors.ts';
import type { Json, JsonObject } from '../../../core/json.ts';
import type { VendorJob } from '../../../core/submission.ts';
import type { ConfirmReply, HttpReply, SubmitReply } from '../../../ports/vendor-adapter.ts';
import { call, type Context } from '../account.ts';
import { submitReply, type Accepted } from '../wire.ts';

/**
 * What all operations share: a request that starts work, the vendor jobs that stand for it, and the reading back that
 * decides how it ended.
 *
 * An answer with workflow ids makes one vendor job for each. An answer without makes one that stands for the resource
 * itself and is over at once, so that the submission goes straight to reading the resource.
 */

/** For roles and knowledge: short work. @see docs/vendors/sharely.md */
export const shortPoll = { initialDelayMs: 1_000, factor: 2, maxDelayMs: 30_000, deadlineMs: 300_000 } as const;
/** For cascades, publishing and uploads, whose durations nobody documents. */
export const longPoll = { ...shortPoll, deadlineMs: 3_600_000 } as const;
/** New workflows may show late; only then the resource is asked. */
export const graceMs = 60_000;
/** Reads may lag behind a write that the vendor calls done. */
export const confirmGraceMs = 15_000;

/** How the vendor told that it took a submit without a workflow; stands as `status` in the event. */
export type Acceptance =
  /** A 204: done, there is nothing else to tell. */
  | 'DONE'
  /** A body without workflow ids: it may still be at work. */
  | 'ACCEPTED'
  /** Found by a look-up after a submit of unknown fate. */
  | 'FOUND'
  /** What a repeated delete finds: an earlier try had worked. */
  | 'GONE';

export interface Resource {
  workspaceId: string;
  /** Which resource this is about, such as a role's id. */
  resourceId: string;
  /** More that the confirmation needs. */
  facts?: JsonObject;
}

/** The workspace a submission works in; what was stored at its submit holds, whatever the configuration says since. */
export function workspaceOf(context: Context<{ workspaceId?: string | undefined }>): string {
  const stored = context.jobs[0]?.extra?.['workspaceId'];
  return typeof stored === 'string' ? stored : (context.input.workspaceId ?? context.account.workspaceId);
}

/** Sends the one request that starts the work. */
export async function start(
  context: Context,
  workspaceId: string,
  request: { method: 'POST' | 'PUT' | 'DELETE'; path: string; json?: JsonObject },
): Promise<HttpReply<Accepted>> {
  return call(context, workspaceId, { ...request, reply: submitReply });
}

/**
 * Sends a delete. A repeat that finds nothing found what it wanted; a first try that finds nothing has the wrong id.
 * @returns undefined when an earlier try had worked.
 * @throws VendorRejectedError 404 on a first try, 409 while the resource is in use
 */
export async function startDelete(
  context: Context,
  workspaceId: string,
  path: string,
): Promise<HttpReply<Accepted> | undefined> {
  try {
    return await start(context, workspaceId, { method: 'DELETE', path });
  } catch (error) {
    if (error instanceof VendorRejectedError && error.httpStatus === 404 && context.doubts > 0) return undefined;
    throw error;
  }
}

/** The vendor jobs of an accepted submit. */
export function toJobs(reply: HttpReply<Accepted> | undefined, resource: Resource): SubmitReply {
  if (reply === undefined) return standIn('GONE', resource);
  const { workflows } = reply.body;
  if (workflows.length === 0) return standIn(reply.status === 204 ? 'DONE' : 'ACCEPTED', resource);
  return { jobs: workflows.map((id) => ({ id, kind: 'workflow', extra: toExtra(resource) })) };
}

/** A vendor job that stands for the resource, with nothing to wait for. */
export function standIn(acceptance: Acceptance, resource: Resource): SubmitReply {
  const extra = toExtra(resource);
  return {
    jobs: [{ id: resource.resourceId, kind: 'resource', status: 'succeeded', vendorStatus: acceptance, extra }],
  };
}

function toExtra({ workspaceId, resourceId, facts }: Resource): JsonObject {
  return { workspaceId, resourceId, ...facts };
}

/** A fact that `toJobs` kept with the vendor jobs. */
export function factOf(context: Context, name: string): Json | undefined {
  return context.jobs[0]?.extra?.[name];
}

/** What reading a resource back says of the work on it. */
export type Reading =
  /** It is as it was asked for; `result` goes into the event. */
  | { is: 'as-asked'; result: JsonObject }
  | { is: 'different'; why: string; details?: JsonObject }
  /** It says itself that it has not got there yet. */
  | { is: 'on-its-way'; why: string }
  /** It says itself that it never will. */
  | { is: 'broken'; why: string; details?: JsonObject };

/**
 * Decides how a submission ended by its resource, because a COMPLETED workflow says only that it ended.
 *
 * - Workflows that ended badly stay so; without any other, nothing is read.
 * - What is as asked succeeded, also where the vendor no longer knows the workflow.
 * - What is different contradicts a COMPLETED and a 204: failed, past the grace for late reads.
 * - What is different with no word of the vendor that it is done may still come: until the deadline.
 * - What is different under workflows that the vendor does not know is lost.
 */
export async function settleOn(context: Context, read: () => Promise<Reading>): Promise<ConfirmReply> {
  const undecided = context.jobs.filter((job) => job.outcome === 'succeeded' || job.outcome === 'lost');
  if (undecided.length === 0) return { kind: 'confirmed' };
  const reading = await read();
  switch (reading.is) {
    case 'as-asked':
      return { kind: 'confirmed', jobs: undecided.map((job) => toSucceeded(job, reading.result)) };
    case 'broken': {
      const error = contradiction(undecided, reading);
      return { kind: 'confirmed', jobs: undecided.map((job) => ({ ...job, outcome: 'failed', error })) };
    }
    case 'on-its-way':
      return later(context, reading.why);
    case 'different': {
      const known = undecided.filter((job) => job.outcome === 'succeeded');
      if (known.length === 0) return { kind: 'confirmed', jobs: undecided.map((job) => toLost(job, reading.why)) };
      const isCalledDone = known.some((job) => job.kind === 'workflow' || job.vendorStatus === 'DONE');
      if (!isCalledDone) return later(context, reading.why);
      return { kind: 'contradicted', error: contradiction(undecided, reading) };
    }
  }
}

/** The longer it has taken, the longer the next look can wait. */
function later(context: Context, reason: string): ConfirmReply {
  const age = context.now - context.enqueuedAt;
  return { kind: 'not-yet', reason, afterMs: Math.min(Math.max(age / 4, 1_000), 30_000) };
}

function toSucceeded(job: VendorJob, result: JsonObject): VendorJob {
  const { error: _error, missingSince: _missing, ...kept } = job;
  return {
    ...kept,
    status: 'succeeded',
    outcome: 'succeeded',
    result: { ...(job.result as JsonObject | undefined), ...result },
  };
}

function toLost(job: VendorJob, why: string): VendorJob {
  const since = job.error?.message ?? 'the vendor does not know the workflow';
  return { ...job, error: { code: 'vendor_job_lost', message: `${since}, and ${why}`, details: idsOf(job) } };
}

function contradiction(jobs: readonly VendorJob[], reading: { why: string; details?: JsonObject }) {
  const said = [...new Set(jobs.map((job) => job.vendorStatus ?? job.outcome ?? job.status))].join(', ');
  return {
    code: 'outcome_contradicted',
    message: `the vendor says ${said}, but ${reading.why}`,
    details: { ...reading.details, vendorJobs: jobs.map(idsOf) },
  };
}

/** What support asks for. */
function idsOf(job: VendorJob): JsonObject {
  if (job.kind !== 'workflow') return { resourceId: job.id };
  return { workflowId: job.id, runId: job.extra?.['runId'] ?? null };
}
