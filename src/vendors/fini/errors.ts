import { VendorRejectedError, VendorUnavailableError } from '../../core/errors.ts';
import { clip, type Json } from '../../core/json.ts';
import type { ErrorReply } from '../../ports/vendor-adapter.ts';
import { bulkReply, errorBody } from './wire.ts';

export const bulkPath = 'v2/knowledge/public/bulk';

/**
 * What Fini's error answers mean, where the status code alone does not tell. The rest is the common table: 401 holds the
 * account, 403 one scope of it, 429 slows that down, 5xx may have been taken in.
 * @see docs/vendors/fini.md
 */
export function classify(reply: ErrorReply): Error | undefined {
  const { status } = reply;
  const said = `${reply.method} /${reply.path} answered ${status}: ${messageOf(reply.body)}`;
  if (status === 500 && reply.path === bulkPath) {
    // One or more jobs failed to queue, and the others may be running: their ids, where there are any, must not get lost.
    const queued = bulkReply.safeParse(reply.body);
    if (queued.success && queued.data.jobs.length > 0) {
      const details: Json = { jobs: queued.data.jobs.map((row) => ({ ...row })) };
      return new VendorUnavailableError(said, { taken: 'maybe', httpStatus: status, details });
    }
  }
  const isCommon = [401, 402, 403, 408, 425, 429].includes(status);
  if (status >= 400 && status < 500 && !isCommon) return new VendorRejectedError(said, { httpStatus: status });
  return undefined;
}

/** The jobs that a failed bulk request started all the same. */
export function jobsInError(error: unknown): { documentId: string; backgroundJobId: string }[] {
  if (!(error instanceof VendorUnavailableError)) return [];
  const parsed = bulkReply.safeParse(error.details);
  return parsed.success ? parsed.data.jobs : [];
}

function messageOf(body: unknown): string {
  if (typeof body === 'string') return clip(body, 300) || 'no body';
  const parsed = errorBody.safeParse(body);
  const { message, error } = parsed.success ? parsed.data : {};
  const joined = Array.isArray(message) ? message.join('; ') : message;
  return clip(joined ?? error ?? 'no message', 500);
}
