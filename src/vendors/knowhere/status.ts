import type { VendorJobStatus } from '../../core/submission.ts';

/**
 * Knowhere's six words. The two dialects order them differently and skip some, so no order is enforced.
 * @see docs/vendors/knowhere.md
 */
const statuses: Readonly<Record<string, VendorJobStatus>> = {
  'waiting-file': 'pending',
  pending: 'pending',
  converting: 'running',
  running: 'running',
  done: 'succeeded',
  failed: 'failed',
};

/** One of the six in whatever case it comes, as documented; any other word as it is. */
export function asDocumented(word: string): string {
  const lower = word.toLowerCase();
  return Object.hasOwn(statuses, lower) ? lower : word;
}

/** @returns undefined for a word that no documentation knows; the caller treats it as running. */
export function toStatus(word: string): VendorJobStatus | undefined {
  return Object.hasOwn(statuses, word) ? statuses[word] : undefined;
}
