import { toErrorInfo } from './errors.ts';
import type { Json } from './json.ts';
import { redactText, redactValue } from './redact.ts';
import type { ErrorInfo } from './submission.ts';

/** What an error says where people read it. Its text can quote what a vendor said, and a vendor can quote anything. */
export function toSafeErrorInfo(error: unknown): ErrorInfo {
  return toSafeInfo(toErrorInfo(error));
}

/** The same for what an adapter reports without throwing it. */
export function toSafeInfo({ code, message, details }: ErrorInfo): ErrorInfo {
  return {
    code: redactText(code),
    message: redactText(message),
    ...(details === undefined ? {} : { details: redactValue(details) as Json }),
  };
}
