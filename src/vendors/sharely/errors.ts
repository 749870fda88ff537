import { clip, clipJsonValue, type Json, type JsonObject } from '../../core/json.ts';
import { redactText, redactValue } from '../../core/redact.ts';
import type { ErrorReading, ErrorReply } from '../../ports/vendor-adapter.ts';
import { errorBody } from './wire.ts';

/**
 * What Sharely's error answers say beyond the status code: its text, and the `errorId` that support asks for. A gateway's
 * 502 need not be JSON and says nothing here.
 * @see docs/vendors/sharely.md
 */
export function readError(reply: ErrorReply): ErrorReading | undefined {
  const envelope = errorBody.safeParse(reply.body);
  if (!envelope.success || reply.meaning === 'unexpected') return undefined;
  const { error, message, errorId, details: more } = envelope.data;
  const said = redactText(clip(message ?? error ?? 'no message', 1_000));
  const details: JsonObject = {
    httpStatus: reply.status,
    ...(errorId === undefined ? {} : { errorId }),
    // In the old shape `error` is the class, in the new one the text.
    ...(message === undefined || error === undefined ? {} : { error: clip(error, 200) }),
    ...(more === undefined || more === null ? {} : { details: clipJsonValue(redactValue(more) as Json, 4_096) }),
  };
  return {
    message: `${reply.answered}: ${said}${errorId === undefined ? '' : ` (errorId ${errorId})`}`,
    details,
  };
}
