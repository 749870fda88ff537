import type { VendorJobStatus } from '../../core/submission.ts';

/**
 * Sharely's workflow statuses, which are Temporal's: name → number and what it means for us. The vendor documents the
 * names, and that a number belongs to each; it shows the numbers 1 and 2.
 *
 * CONTINUED_AS_NEW closes one run, and a new run goes on under the same workflow id. COMPLETED says that the workflow
 * ended, not what it brought about.
 * @see docs/vendors/sharely.md
 */
const statuses: Readonly<Record<string, { code: number; status: VendorJobStatus }>> = {
  UNSPECIFIED: { code: 0, status: 'running' },
  RUNNING: { code: 1, status: 'running' },
  COMPLETED: { code: 2, status: 'succeeded' },
  FAILED: { code: 3, status: 'failed' },
  CANCELLED: { code: 4, status: 'canceled' },
  TERMINATED: { code: 5, status: 'failed' },
  CONTINUED_AS_NEW: { code: 6, status: 'running' },
  TIMED_OUT: { code: 7, status: 'failed' },
  PAUSED: { code: 8, status: 'running' },
};
/** Temporal's own spelling. */
const aliases: Readonly<Record<string, string>> = { CANCELED: 'CANCELLED' };
/** Not in Sharely's own documentation: worth a line in the log. */
const undocumented: ReadonlySet<string> = new Set(['UNSPECIFIED', 'PAUSED']);

/** What a row says of a workflow; either part can be missing. */
export interface WireStatus {
  name?: string | undefined;
  code?: number | undefined;
}

/**
 * The word for a status: the vendor's own, or, where a row has a number only, the one that it documents for it.
 * @returns undefined where there is neither
 */
export function wordOf({ name, code }: WireStatus): string | undefined {
  if (name !== undefined) return name;
  if (code === undefined) return undefined;
  const known = Object.entries(statuses).find(([word, one]) => one.code === code && !undocumented.has(word));
  return known?.[0] ?? `code ${code}`;
}

export interface WorkflowStatus {
  status: VendorJobStatus;
  /** False for a word that the vendor does not document; it counts as running, and the deadline bounds it. */
  isDocumented: boolean;
  /** False when the number beside the name means another status; the name wins. */
  isCodeRight: boolean;
}

export function readStatus(name: string, code: number | undefined): WorkflowStatus {
  const word = name.toUpperCase();
  const canonical = Object.hasOwn(aliases, word) ? (aliases[word] ?? word) : word;
  const known = Object.hasOwn(statuses, canonical) ? statuses[canonical] : undefined;
  if (known === undefined) return { status: 'running', isDocumented: false, isCodeRight: true };
  return {
    status: known.status,
    isDocumented: !undocumented.has(canonical),
    isCodeRight: code === undefined || code === known.code,
  };
}

export type KnowledgeState = 'done' | 'failed' | 'waiting';

/**
 * How a knowledge item stands. The vendor documents no list of its statuses: two mean "done" in its samples, words
 * that name a failure are one, and everything else is waited for.
 * @see docs/vendors/sharely.md
 */
export function readKnowledgeState(item: {
  status?: string | undefined;
  processedAt?: string | undefined;
}): KnowledgeState {
  const word = item.status ?? '';
  if (/FAIL|ERROR/i.test(word)) return 'failed';
  if (/^(PROCESSED|COMPLETED)$/i.test(word) || item.processedAt !== undefined) return 'done';
  return 'waiting';
}
