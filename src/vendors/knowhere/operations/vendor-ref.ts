import type { JsonObject } from '../../../core/json.ts';
import type { VendorRef } from '../../../ports/vendor-adapter.ts';

/** @param extra - the upload link, where the job waits for its file */
export function toRef(id: string, vendorStatus: string | undefined, extra: JsonObject | undefined): VendorRef {
  return {
    id,
    kind: 'job',
    ...(vendorStatus === undefined ? {} : { vendorStatus }),
    ...(extra === undefined ? {} : { extra }),
  };
}
