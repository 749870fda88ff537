import type { BoundFault } from '../faults/definition.ts';

/** Where a source comes from. */
export const sourceKinds = ['web', 'files', 'googledrive', 'zendesk', 'notion', 'confluence'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/**
 * One piece of work at the vendor, made by a create and moved on by `Work`.
 *
 * hidden → PENDING → IN_PROGRESS → COMPLETED | FAILED | a word that a fault asked for. `hidden` is a refresh that was
 * accepted while the record still shows its former run. A run that is replaced by a newer one ends as SUPERSEDED.
 */
export interface FiniJob {
  readonly id: string;
  readonly kind: 'ingestion' | 'generation';
  readonly workspace: string;
  /** The record that it works on; null for generations from free text. */
  readonly documentId: string | null;
  /** What was submitted: a URL, or the beginning of a text. */
  readonly source: string;
  readonly createdAtMs: number;
  phase: 'hidden' | 'pending' | 'running' | 'ended';
  /** The vendor's word once ended. */
  endedAs: string | null;
  startedAtMs: number | null;
  endedAtMs: number | null;
  faults: readonly BoundFault[];
  /** Look-ups of this one job, batched ones included. */
  lookups: number;
  /** Present on generations. */
  readonly generation: Generation | null;
}

export interface Generation {
  readonly isDraft: boolean;
  readonly restrictedOps: readonly string[];
  articleId: string | null;
}

/** A source record ("document" on the wire). */
export interface FiniRecord {
  readonly id: string;
  readonly workspace: string;
  readonly source: SourceKind;
  /** Another one than was submitted where the page redirects. */
  originalUrl: string;
  title: string;
  readonly externalId: string;
  mimeType: string;
  type: string;
  english: boolean;
  baser: boolean;
  paragraphs: readonly string[];
  oldParagraphs: readonly string[];
  success: boolean;
  error: string;
  readonly createdAtMs: number;
  updatedAtMs: number;
  /** The run that it shows; null: never queued. */
  run: FiniJob | null;
  /** Shown instead of the run's own id when the settings keep ids over refreshes. */
  shownJobId: string | null;
  /** An accepted refresh that it does not show yet. */
  next: FiniJob | null;
  linkedKnowledgeId: string | null;
  linkedOperation: string | null;
  changed: boolean;
  /** Reads by id that denied `changed`, for a fault. */
  deniedChanges: number;
  /** Faults that strike at reads of the record. */
  readonly faults: readonly BoundFault[];
  /** Faults handed to it by the control routes, for its next run. */
  runFaults: BoundFault[];
}

/** What a generation saved. */
export interface Save {
  /** Null for the draft that says that nothing is to be changed. */
  readonly articleId: string | null;
  readonly jobId: string;
  readonly documentId: string | null;
  readonly operation: string;
  readonly isDraft: boolean;
  readonly savedAt: string;
}

/** The text of a record that may hold markers. */
export function recordText(record: Pick<FiniRecord, 'originalUrl' | 'title'>): string {
  return `${record.originalUrl} ${record.title}`;
}
