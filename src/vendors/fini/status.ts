import { clip } from '../../core/json.ts';
import type { VendorJobStatus } from '../../core/submission.ts';
import type { Logger } from '../../ports/logger.ts';

/**
 * Fini's four words. They are documented for `linkedJobStatus`; of `jobStatus` only `COMPLETED` is, and that it shares
 * the other three is a guess.
 * @see docs/vendors/fini.md
 */
const statuses: Readonly<Record<string, VendorJobStatus>> = {
  PENDING: 'pending',
  IN_PROGRESS: 'running',
  COMPLETED: 'succeeded',
  FAILED: 'failed',
};

const reported = new Set<string>();

/** An unknown word is running, and is logged once; the deadline bounds it. */
export function toStatus(word: string, logger: Logger): VendorJobStatus {
  const status = Object.hasOwn(statuses, word) ? statuses[word] : undefined;
  if (status !== undefined) return status;
  const shown = clip(word, 60);
  if (!reported.has(shown) && reported.size < 100) {
    reported.add(shown);
    logger.warn({ vendorStatus: shown }, 'unknown vendor status, taken for running');
  }
  return 'running';
}
