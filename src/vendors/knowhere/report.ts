import type { JsonObject } from '../../core/json.ts';
import type { ErrorInfo } from '../../core/submission.ts';
import type { VendorReport } from '../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../timestamps.ts';
import { toDetails } from './errors.ts';
import { toStatus } from './status.ts';
import { checksumOf, type WireJob } from './wire.ts';

/** What an answer of Get Job says, in our words. */
export function toReport(wire: WireJob): VendorReport {
  const status = toStatus(wire.status) ?? 'running';
  const completedAt = parseTimestamp(wire.completed_at ?? wire.failed_at);
  return {
    status,
    vendorStatus: wire.status,
    ...(wire.progress === undefined || status !== 'running'
      ? {}
      : {
          progress: {
            done: Math.min(wire.progress.processed_pages, wire.progress.total_pages),
            total: wire.progress.total_pages,
          },
        }),
    ...(status === 'succeeded' ? { result: toResult(wire) } : {}),
    ...(status === 'failed' ? { result: toOrigin(wire), error: toJobError(wire) } : {}),
    ...(completedAt === undefined ? {} : { completedAt }),
  };
}

/** Why a job failed, with the id that the vendor's support asks for. */
export function toJobError({ error }: WireJob): ErrorInfo {
  const details = toDetails(error?.details, error?.requestId);
  return {
    code: error?.code ?? 'vendor_job_failed',
    message: error?.message ?? 'the vendor gave no reason',
    ...(details === undefined ? {} : { details }),
  };
}

/** The `result` of a vendor job that is done. */
export function toResult(wire: WireJob): JsonObject {
  const checksum = checksumOf(wire);
  return {
    ...toOrigin(wire),
    resultUrl: wire.result_url ?? null,
    // Before `done` this field only repeats created_at; with a link it is a deadline.
    resultUrlExpiresAt: wire.result_url === undefined ? null : toIso(wire.result_url_expires_at),
    checksum: checksum === undefined ? null : { algorithm: 'sha256', value: checksum },
  };
}

/** Of which document the job is: whoever watches jobs started elsewhere knows no more than their ids. */
function toOrigin(wire: WireJob): JsonObject {
  return {
    dataId: wire.data_id ?? null,
    sourceType: wire.source_type ?? null,
    fileName: wire.file_name ?? null,
    createdAt: toIso(wire.created_at),
  };
}

function toIso(text: string | undefined): string | null {
  const at = parseTimestamp(text);
  return at === undefined ? null : new Date(at).toISOString();
}
