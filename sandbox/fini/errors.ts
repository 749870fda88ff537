import type { Refusal } from '../faults/definition.ts';
import { gatewayPage } from '../http/gateway-page.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { FiniSettings } from './settings.ts';

const reasonPhrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** The vendor's error envelope: status, what happened, the status in words. */
export function errorReply(
  status: number,
  message: string | readonly string[],
  more: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return json(status, { statusCode: status, message, error: reasonPhrases[status] ?? 'Error', ...more }, headers);
}

/** 400 about the request's fields: here `message` may be an array. */
export function invalidReply(messages: readonly string[], { messageForm }: FiniSettings): Reply {
  return errorReply(400, messageForm === 'string' ? messages.join('; ') : messages);
}

/** Other errors have one sentence, unless the settings want arrays everywhere. */
export function plainError(status: number, message: string, { messageForm }: FiniSettings): Reply {
  return errorReply(status, messageForm === 'array' ? [message] : message);
}

/** 429 with the wait where the caller wants it. */
export function throttledReply(hint: Refusal['hint']): Reply {
  return errorReply(
    429,
    'Too many requests, please try again later',
    hint?.inBody === true ? { retryAfter: hint.seconds } : {},
    hint?.inHeader === true ? { 'retry-after': String(hint.seconds) } : {},
  );
}

/** Where a 429 of the settings tells its wait. */
export function hintOf(where: FiniSettings['throttleHint'], seconds: number): NonNullable<Refusal['hint']> {
  return { seconds, inHeader: where === 'header' || where === 'both', inBody: where === 'body' || where === 'both' };
}

const messages: Readonly<Record<Exclude<Refusal['reason'], 'gateway' | 'rate-limited' | 'unavailable'>, string>> = {
  invalid: 'Invalid request',
  unauthenticated: 'Invalid API key',
  'payment-required': 'Workspace plan does not cover this request',
  forbidden: 'API key does not include the required scope',
  'not-found': 'Not found',
  conflict: 'Another operation is in progress',
  'quota-exceeded': 'Workspace quota exceeded',
  internal: 'Internal server error',
};

/** A scripted refusal in the vendor's words. */
export function finiRefusal({ status, reason, hint }: Refusal, settings: FiniSettings): Reply {
  switch (reason) {
    case 'gateway':
      return gatewayPage(status);
    case 'rate-limited':
      return throttledReply(hint);
    case 'unavailable':
      return errorReply(
        status,
        'Service temporarily unavailable',
        hint?.inBody === true ? { retryAfter: hint.seconds } : {},
        hint?.inHeader === true ? { 'retry-after': String(hint.seconds) } : {},
      );
    case 'invalid':
      return invalidReply([messages[reason]], settings);
    case 'unauthenticated':
    case 'payment-required':
    case 'forbidden':
    case 'not-found':
    case 'conflict':
    case 'quota-exceeded':
    case 'internal':
      return plainError(status, messages[reason], settings);
    default:
      return reason satisfies never;
  }
}
