import { createHash } from 'node:crypto';
import type { Dialect } from './settings.ts';

/** Statuses that are not the end, in the vendor's words. */
export type WorkingStatus = 'waiting-file' | 'pending' | 'converting' | 'running';

/** The walk of a job through its statuses, laid out in work time when the work begins. */
export interface WorkPlan {
  /** Work ms at which the first phase begins. */
  readonly startsAtWorkMs: number;
  readonly phases: readonly { readonly status: WorkingStatus; readonly lengthMs: number }[];
}

const CONVERTED = new Set(['doc', 'docx', 'xls', 'xlsx', 'pptx']);

/**
 * Durations after the vendor's own polling guide: 10 to 30 s for up to 10 pages, 30 s and more for up to 50.
 * Each document gets its own lengths, the same on every run.
 * @param fixedMs - total length that a fault asked for, work ms
 */
export function plannedWork(
  startsAtWorkMs: number,
  document: { name: string; extension: string; pages: number },
  from: { dialect: Dialect; sourceType: 'url' | 'file' },
  fixedMs: number | undefined,
): WorkPlan {
  const spread = 0.75 + fraction(document.name) * 0.5;
  const isConverted = CONVERTED.has(document.extension);
  const phases: { status: WorkingStatus; lengthMs: number }[] = [];
  // IMPL shows URL jobs as waiting while the server fetches, and file jobs until storage reports the upload.
  if (from.dialect === 'impl')
    phases.push({ status: 'waiting-file', lengthMs: from.sourceType === 'url' ? 1_500 : 500 });
  phases.push({ status: 'pending', lengthMs: 1_500 * spread });
  // Only DOC has the conversion before the run; in IMPL no worker sets that status.
  if (from.dialect === 'doc' && isConverted) phases.push({ status: 'converting', lengthMs: 3_000 * spread });
  const extra = from.dialect === 'impl' && isConverted ? 3_000 : 0;
  phases.push({ status: 'running', lengthMs: (7_000 + extra + 1_000 * document.pages) * spread });
  if (fixedMs === undefined) return { startsAtWorkMs, phases };
  const total = phases.reduce((sum, phase) => sum + phase.lengthMs, 0);
  return {
    startsAtWorkMs,
    phases: phases.map(({ status, lengthMs }) => ({ status, lengthMs: (lengthMs / total) * fixedMs })),
  };
}

/** Pages of a document behind a URL, which we never fetch: 1 to 12, derived from its name. */
export function imaginedPages(url: string): number {
  return 1 + Math.floor(fraction(url) * 12);
}

/** A number from 0 to 1 that belongs to a text. */
function fraction(text: string): number {
  return createHash('sha1').update(text).digest().readUInt32BE(0) / 4_294_967_296;
}
