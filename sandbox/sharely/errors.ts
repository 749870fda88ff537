import { randomUUID } from 'node:crypto';
import type { Refusal } from '../faults/definition.ts';
import { gatewayPage } from '../http/gateway-page.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { SharelySettings } from './settings.ts';

const classes: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Payload Too Large',
  422: 'Unprocessable Entity',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

export type ErrorShape = SharelySettings['errorShape'];

/** An error in one of the two shapes: new has the sentence in `error`, old has the class there. */
export function errorReply(
  shape: ErrorShape,
  status: number,
  message: string,
  more: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const body =
    shape === 'new' ? { error: message, errorId: randomUUID() } : { error: classes[status] ?? 'Error', message };
  return json(status, { ...body, ...more }, headers);
}

/** 429, with the wait where the caller wants it. */
export function throttledReply(shape: ErrorShape, hint: Refusal['hint']): Reply {
  return errorReply(shape, 429, 'Rate limit exceeded', inBody(hint), inHeader(hint));
}

/** Where a 429 of the settings tells its wait. */
export function hintOf(where: SharelySettings['throttleHint'], seconds: number): NonNullable<Refusal['hint']> {
  return { seconds, inHeader: where === 'header' || where === 'both', inBody: where === 'body' || where === 'both' };
}

const sentences: Readonly<Record<Exclude<Refusal['reason'], 'gateway'>, string>> = {
  invalid: 'Invalid request',
  unauthenticated: 'Invalid or expired access token',
  'payment-required': 'Plan limit reached',
  forbidden: 'Insufficient permissions',
  'not-found': 'Resource not found',
  conflict: 'Resource is in use',
  'rate-limited': 'Rate limit exceeded',
  'quota-exceeded': 'Quota exceeded',
  internal: 'Internal server error',
  unavailable: 'Service temporarily unavailable',
};

/** A scripted refusal in the vendor's words. */
export function sharelyRefusal(shape: ErrorShape, { status, reason, hint }: Refusal): Reply {
  if (reason === 'gateway') return gatewayPage(status);
  return errorReply(shape, status, sentences[reason], inBody(hint), inHeader(hint));
}

function inBody(hint: Refusal['hint']): Record<string, unknown> {
  return hint?.inBody === true ? { retryAfter: hint.seconds } : {};
}

function inHeader(hint: Refusal['hint']): Record<string, string> {
  return hint?.inHeader === true ? { 'retry-after': String(hint.seconds) } : {};
}
