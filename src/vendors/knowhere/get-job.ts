import { VendorContractError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import type { VendorHttp } from '../../ports/vendor-adapter.ts';
import { job, type WireJob } from './wire.ts';

/**
 * Asks once how a vendor job stands. Every answer signs its links anew.
 * @throws VendorContractError where the answer is about another job; what `VendorHttp` throws
 */
export async function getJob(http: VendorHttp, id: string): Promise<WireJob> {
  const { body } = await http.request({ method: 'GET', path: `v1/jobs/${encodeURIComponent(id)}`, reply: job });
  if (body.job_id !== id) throw new VendorContractError(`asked for job ${id}, got ${clip(body.job_id, 60)}`);
  return body;
}
