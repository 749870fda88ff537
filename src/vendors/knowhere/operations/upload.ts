import { InvalidSubmissionError, StepFailedError } from '../../../core/errors.ts';
import type { JsonObject } from '../../../core/json.ts';
import type { VendorJob } from '../../../core/submission.ts';
import type { StepContext } from '../../../ports/vendor-adapter.ts';
import { getJob } from '../get-job.ts';
import type { ParseInput } from '../input.ts';

/** Links that are asked for after the first one was refused. Each is a chance, and one that signs wrongly does so again. */
const maxFreshLinks = 3;

type UploadContext = StepContext<{ baseUrl: string }, ParseInput>;

interface UploadLink {
  url: string;
  headers: Record<string, string>;
}

/**
 * Uploads the file of an accepted job, which starts its work. A link that the storage refuses is replaced as long as
 * the job waits for its file and Get Job shows another one: an outage may outlast the link.
 * @returns the job without its link, which has no business in the record once it is used
 * @throws StepFailedError where no link works
 */
export async function uploadFile(context: UploadContext): Promise<readonly VendorJob[]> {
  const { input, transfers, http, signal } = context;
  const vendorJob = context.jobs[0];
  if (input.sourceType !== 'file' || vendorJob === undefined) return [];
  const { extra: _used, ...prepared } = vendorJob;
  let link = readUpload(vendorJob.extra);
  let refusal: StepFailedError | undefined;
  for (let freshLinks = 0; ;) {
    if (link === undefined) {
      const wire = await getJob(http, vendorJob.id);
      // Past waiting-file, the vendor has the bytes already: a PUT after a crash may be refused because the first one worked.
      if (wire.status !== 'waiting-file') return [prepared];
      link = readUpload(toUpload(wire));
      freshLinks += 1;
      if (link === undefined || freshLinks > maxFreshLinks)
        throw refusal ?? new StepFailedError('upload_refused', 'the vendor gave no upload link for this job');
    }
    try {
      await transfers.upload({ ...link, vendorUrl: context.account.baseUrl }, input.file, signal);
      return [prepared];
    } catch (error) {
      if (error instanceof InvalidSubmissionError) {
        throw new StepFailedError('file_unreadable', `after the vendor accepted the job: ${error.message}`, {
          cause: error,
        });
      }
      if (!isRefusal(error)) throw error;
      refusal = error;
      link = undefined;
    }
  }
}

function isRefusal(error: unknown): error is StepFailedError {
  return error instanceof StepFailedError && (error.code === 'upload_refused' || error.code === 'upload_expired');
}

/** The upload link of an answer, as it is kept with the vendor job until it is used. */
export function toUpload(wire: {
  upload_url?: string | undefined;
  upload_headers?: Record<string, string> | undefined;
}): JsonObject | undefined {
  if (wire.upload_url === undefined) return undefined;
  return { uploadUrl: wire.upload_url, uploadHeaders: wire.upload_headers ?? {} };
}

function readUpload(extra: JsonObject | undefined): UploadLink | undefined {
  const { uploadUrl, uploadHeaders } = (extra ?? {}) as { uploadUrl?: string; uploadHeaders?: Record<string, string> };
  return uploadUrl === undefined ? undefined : { url: uploadUrl, headers: uploadHeaders ?? {} };
}
