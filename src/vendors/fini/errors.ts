import { VendorUnavailableError } from '../../core/errors.ts';
import { clip, type Json } from '../../core/json.ts';
import type { ErrorReading, ErrorReply } from '../../ports/vendor-adapter.ts';
import { bulkReply, errorBody } from './wire.ts';

export const bulkPath = 'v2/knowledge/public/bulk';

/**
 * What Fini's error answers say beyond the status code: why a request was rejected, and which jobs a failed bulk request
 * started all the same.
 * @see docs/vendors/fini.md
 */
export function readError(reply: ErrorReply): ErrorReading | undefined {
  const message = `${reply.answered}: ${messageOf(reply.body)}`;
  if (reply.status === 500 && reply.path === bulkPath) {
    // One or more jobs failed to queue, and the others may be running: their ids, where there are any, must not get lost.
    const queued = bulkReply.safeParse(reply.body);
    if (queued.success && queued.data.jobs.length > 0) {
      const details: Json = { jobs: queued.data.jobs.map((row) => ({ ...row })) };
      return { as: 'unavailable', message, details };
    }
  }
  return reply.meaning === 'rejected' ? { message } : undefined;
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
