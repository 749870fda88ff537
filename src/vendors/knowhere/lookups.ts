import { clip } from '../../core/json.ts';
import type { VendorReport } from '../../ports/vendor-adapter.ts';
import type { LookupSpec } from '../define-vendor.ts';
import type { KnowhereAccount } from './account.ts';
import { getJob } from './get-job.ts';
import { toReport } from './report.ts';
import { toStatus } from './status.ts';

export const jobLookup: LookupSpec<KnowhereAccount> = {
  maxBatch: 1,
  async look([ref], { http, logger }) {
    if (ref === undefined) return new Map<string, VendorReport>();
    const wire = await getJob(http, ref.id);
    const report = toReport(wire);
    if (toStatus(wire.status) === undefined) {
      logger.warn({ vendorStatus: clip(wire.status, 60) }, 'unknown vendor status, taken for running');
    }
    if (report.status === 'failed') {
      const requestId = wire.error?.requestId;
      logger.info({ vendorJobId: ref.id, errorCode: report.error?.code, requestId }, 'vendor job failed');
    }
    return new Map([[ref.id, report]]);
  },
};
