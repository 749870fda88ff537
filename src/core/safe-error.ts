import { toErrorInfo } from './errors.ts';
import { redactText } from './redact.ts';
import type { ErrorInfo } from './submission.ts';

/** What an error says where people read it. Its text can quote what a vendor said, and a vendor can quote anything. */
export function toSafeErrorInfo(error: unknown): ErrorInfo {
  const info = toErrorInfo(error);
  return { ...info, message: redactText(info.message) };
}
