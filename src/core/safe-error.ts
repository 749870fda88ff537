import { toErrorInfo } from './errors.ts';
import { clip, type Json } from './json.ts';
import { printableLine } from './printable.ts';
import { redactText, redactValue } from './redact.ts';
import type { ErrorInfo } from './submission.ts';

const maxMessageLength = 10_000;
const maxDetailsLength = 65_536;

/** What an error says where people read it. Its text can quote what a vendor said, and a vendor can quote anything. */
export function toSafeErrorInfo(error: unknown): ErrorInfo {
  return toSafeInfo(toErrorInfo(error));
}

/** The same for what an adapter reports without throwing it. */
export function toSafeInfo({ code, message, details }: ErrorInfo): ErrorInfo {
  return {
    code: printableLine(redactText(clip(String(code), 200))),
    message: printableLine(redactText(clip(String(message), maxMessageLength))),
    ...(details === undefined ? {} : { details: toSafeDetails(details) }),
  };
}

/** Details go into the record as they are: what cannot be written, or hardly, must not keep it from being written. */
function toSafeDetails(details: Json): Json {
  try {
    const text = JSON.stringify(details);
    if (text.length <= maxDetailsLength) return redactValue(JSON.parse(text)) as Json;
    return redactText(clip(text, maxDetailsLength));
  } catch {
    return 'left out: they are not valid JSON';
  }
}
