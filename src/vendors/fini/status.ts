import { clip } from '../../core/json.ts';
import type { VendorJobStatus } from '../../core/submission.ts';
import type { Logger } from '../../ports/logger.ts';

/**
 * Fini's four words. They are documented for `linkedJobStatus`; of `jobStatus` only `COMPLETED` is, and that it shares
 * the other three is a guess. The case of the letters is documented nowhere and decides nothing.
 * @see docs/vendors/fini.md
 */
const statuses: ReadonlyMap<string, VendorJobStatus> = new Map([
  ['PENDING', 'pending'],
  ['IN_PROGRESS', 'running'],
  ['COMPLETED', 'succeeded'],
  ['FAILED', 'failed'],
]);

const reported = new Set<string>();

/** @returns undefined for a word that the vendor does not document */
export function knownStatus(word: string | null | undefined): VendorJobStatus | undefined {
  return statuses.get((word ?? '').trim().toUpperCase());
}

/** An unknown word is running, and is logged once; the deadline bounds it. */
export function toStatus(word: string, logger: Logger): VendorJobStatus {
  const status = knownStatus(word);
  if (status !== undefined) return status;
  const shown = clip(word, 60);
  if (!reported.has(shown) && reported.size < 100) {
    reported.add(shown);
    logger.warn({ vendorStatus: shown }, 'unknown vendor status, taken for running');
  }
  return 'running';
}

/** Whether an undocumented word says that work ended badly; asked only of work that is over by other signs. */
export function namesFailure(word: string | undefined): boolean {
  return /FAIL|ERROR|CANCEL|ABORT|REJECT/i.test(word ?? '');
}
