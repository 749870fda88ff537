import { clip, type JsonObject } from '../../core/json.ts';
import type { LookupContext, VendorReport } from '../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../timestamps.ts';
import type { FiniAccount } from './account.ts';
import { maxUrlLength } from './addresses.ts';
import { knownStatus, toStatus } from './status.ts';
import type { WireRecord } from './wire.ts';

/**
 * One run over a document: ours, or one from before. The vendor shows a record's last run and nothing else, and does
 * not say whether a refresh resets an old COMPLETED at once; so what stood there before is kept and compared.
 */

/** What a record looked like before we asked for a run. */
export interface Before {
  jobId: string | null;
  updatedAt: string | null;
  status: string | null;
}

/** What we keep with a document that we wait for. */
export interface RunNotes {
  before?: Before;
  /** The vendor's newest `updatedAt` before the submit, for records that were not looked at one by one. */
  watermark?: string | null;
  /** Whatever state it is in is what the caller asked about. */
  watched?: boolean;
  /** The vendor's answer did not name it among the accepted, epoch ms of that answer. */
  unlistedSince?: number;
  /** The run was seen at work, so it began after we asked. */
  begun?: boolean;
  /** A terminal status that only `updatedAt` speaks for, as seen by the last look. */
  settling?: string;
  /** Epoch ms. */
  pendingSince?: number;
  /** When it had been PENDING for too long, ISO 8601. */
  noticedAt?: string;
  /** The record, where the vendor job goes by its URL. */
  documentId?: string;
  /** Where it goes by its URL: a record under another spelling of it, as seen by the last look. */
  similar?: string;
}

/** How long a document that the vendor did not name as accepted may take to show a run all the same, ms. */
const unlistedGraceMs = 60_000;

export function toBefore(wire: WireRecord): Before {
  return {
    jobId: wire.linkedJobId ?? null,
    updatedAt: wire.updatedAt ?? null,
    status: wire.linkedJobStatus ?? null,
  };
}

/**
 * Does what the record shows belong to our run?
 * - `probably`: only `updatedAt` says so, which other changes to a record move too
 */
export function belongsToRun(wire: WireRecord, notes: RunNotes): 'yes' | 'probably' | 'no' {
  if (notes.watched === true || notes.begun === true) return 'yes';
  const updatedAt = parseTimestamp(wire.updatedAt);
  if (notes.before !== undefined) {
    if (wire.linkedJobId !== undefined && wire.linkedJobId !== notes.before.jobId) return 'yes';
    return updatedAt !== undefined && updatedAt !== parseTimestamp(notes.before.updatedAt) ? 'probably' : 'no';
  }
  const watermark = parseTimestamp(notes.watermark);
  if (watermark === undefined) return 'yes';
  const createdAt = parseTimestamp(wire.createdAt);
  if (createdAt !== undefined && createdAt > watermark) return 'yes';
  if (updatedAt === undefined) return 'probably';
  return updatedAt > watermark ? 'probably' : 'no';
}

/** True when a record shows that something was started since the snapshot. */
export function hasBegun(wire: WireRecord, notes: RunNotes): boolean {
  if (belongsToRun(wire, notes) !== 'no') return true;
  return isAtWork(wire.linkedJobStatus) && notes.before !== undefined && !isAtWork(notes.before.status);
}

function isAtWork(word: string | null | undefined): boolean {
  const status = knownStatus(word);
  return status === 'pending' || status === 'running';
}

/** What a record says of the run that we wait for. */
export function toReport(wire: WireRecord, notes: RunNotes, context: LookupContext<FiniAccount>): VendorReport {
  const word = wire.linkedJobStatus;
  const status = word === undefined ? 'pending' : toStatus(word, context.logger);
  const seen = { ...(word === undefined ? {} : { vendorStatus: word }) };
  if (status === 'succeeded' || status === 'failed') {
    const belongs = belongsToRun(wire, notes);
    if (belongs === 'no') return toEarlierRun(wire, notes, context);
    const mark = `${word ?? ''} ${wire.updatedAt ?? ''}`;
    if (belongs === 'probably' && notes.settling !== mark) {
      // A refresh may touch the record before it resets the status: the same word is believed at the second look.
      return { ...seen, status: 'running', result: toIds(wire), extra: toExtra({ ...notes, settling: mark }) };
    }
    return { ...seen, ...toEnd(wire, status), result: toResult(wire, notes), extra: toExtra(notes) };
  }
  const { settling: _, ...rest } = notes;
  const next: RunNotes = { ...rest };
  if (isAtWork(word) && !isAtWork(notes.before?.status)) next.begun = true;
  if (knownStatus(word) !== 'pending') delete next.pendingSince;
  else next.pendingSince ??= pendingSince(wire, notes, context.now);
  const waited = context.now - (next.pendingSince ?? context.now);
  if (waited <= context.account.pendingNoticeMs || next.noticedAt !== undefined) {
    const result = next.noticedAt === undefined ? toIds(wire) : toResult(wire, next);
    return { ...seen, status, result, extra: toExtra(next) };
  }
  next.noticedAt = new Date(context.now).toISOString();
  const minutes = Math.round(context.account.pendingNoticeMs / 60_000);
  const after = minutes < 1 ? `${context.account.pendingNoticeMs} ms` : `${minutes} minutes`;
  const notice = `document ${wire.id} has been PENDING for over ${after}: tell the vendor’s support its linkedJobId ${wire.linkedJobId ?? '(none)'}`;
  return { ...seen, status, notice, result: toResult(wire, next), extra: toExtra(next) };
}

/** When we start the run, it has been waiting since we saw it wait; of a run started elsewhere, the record knows. */
function pendingSince(wire: WireRecord, notes: RunNotes, now: number): number {
  const since = parseTimestamp(wire.updatedAt) ?? parseTimestamp(wire.createdAt);
  return notes.watched === true && since !== undefined ? Math.min(since, now) : now;
}

function toEarlierRun(wire: WireRecord, notes: RunNotes, context: LookupContext<FiniAccount>): VendorReport {
  const vendorStatus = `${wire.linkedJobStatus ?? ''} (earlier run)`;
  if (notes.unlistedSince !== undefined && context.now - notes.unlistedSince > unlistedGraceMs) {
    const message =
      'the vendor did not name it among the accepted, and its record shows no run since; a page that exists already is refreshed by documentIdsToRefresh';
    return {
      status: 'failed',
      vendorStatus,
      error: { code: 'vendor_rejected', message },
      result: toResult(wire, notes),
    };
  }
  // The linkedJobId is that of the earlier run.
  return { status: 'pending', vendorStatus, result: { documentId: wire.id }, extra: toExtra(notes) };
}

/** COMPLETED means processed. It worked only where `success` is true and `error` is empty. */
function toEnd(wire: WireRecord, status: 'succeeded' | 'failed'): VendorReport {
  const completedAt = parseTimestamp(wire.updatedAt);
  const at = completedAt === undefined ? {} : { completedAt };
  const reason = wire.error?.trim() ?? '';
  if (status === 'succeeded' && wire.success === true && reason === '') return { status, ...at };
  const details = { linkedJobId: wire.linkedJobId ?? null };
  if (reason !== '' || status === 'failed') {
    const said = reason === '' ? 'the vendor gave no reason' : clip(reason, 2_000);
    const message = isOfProvider(wire) ? `${said}; ${reconnect}` : said;
    return { status: 'failed', ...at, error: { code: 'vendor_job_failed', message, details } };
  }
  const message = 'COMPLETED, but the record does not say success: the run left no usable content';
  return { status: 'failed', ...at, error: { code: 'outcome_contradicted', message, details } };
}

/** What the vendor's documentation advises where a provider import fails. */
const reconnect =
  'the provider connection may have expired or lost its permissions: reconnect it in the vendor’s dashboard, then refresh the document';

/** False as well where the record does not say where it comes from. */
function isOfProvider({ source }: WireRecord): boolean {
  return source !== undefined && source !== 'web' && source !== 'files';
}

/** What a document that is not over has for the event, if time runs out: what the vendor's support asks for. */
function toIds(wire: WireRecord): JsonObject {
  return { documentId: wire.id, linkedJobId: wire.linkedJobId ?? null };
}

/** What the completion event tells of a document. */
export function toResult(wire: WireRecord, notes: RunNotes): JsonObject {
  return {
    documentId: wire.id,
    source: wire.source ?? null,
    originalUrl: wire.originalUrl === undefined ? null : clip(wire.originalUrl, maxUrlLength),
    title: wire.title === undefined ? null : clip(wire.title, 300),
    paragraphs: wire.paragraphs ?? null,
    linkedJobId: wire.linkedJobId ?? null,
    linkedKnowledgeId: wire.linkedKnowledgeId ?? null,
    linkedOperation: wire.linkedOperation ?? null,
    changed: wire.changed ?? null,
    ...(notes.noticedAt === undefined
      ? {}
      : { pendingNotice: { noticedAt: notes.noticedAt, linkedJobId: wire.linkedJobId ?? null } }),
  };
}

export function toExtra(notes: RunNotes): JsonObject {
  return { ...notes } as unknown as JsonObject;
}

export function readNotes(extra: JsonObject | undefined): RunNotes {
  return extra ?? {};
}
