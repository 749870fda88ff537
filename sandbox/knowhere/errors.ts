import { randomBytes } from 'node:crypto';
import type { Refusal } from '../faults/definition.ts';
import type { Call } from '../http/call.ts';
import { gatewayPage } from '../http/gateway-page.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { Violation } from './create-input.ts';
import type { Dialect } from './settings.ts';

/** The vendor's error envelope; both dialects share it. */
export function errorReply(
  call: Call,
  status: number,
  code: string,
  message: string,
  details?: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const requestId = requestIdOf(call);
  const error = { code, message, request_id: requestId, ...(details === undefined ? {} : { details }) };
  return json(status, { success: false, error }, { 'x-request-id': requestId, ...headers });
}

/** A create or query that does not fit: details in the words of the dialect. */
export function invalidReply(call: Call, dialect: Dialect, violations: readonly Violation[]): Reply {
  const [first] = violations;
  const details = dialect === 'doc' ? { field: first?.field, reason: first?.description } : { violations };
  return errorReply(call, 400, 'INVALID_ARGUMENT', first?.description ?? 'Invalid request', details);
}

const requestIds = new WeakMap<Call, string>();

/** The client's own `X-Request-ID`, else one made up; the same for the whole call. */
export function requestIdOf(call: Call): string {
  const known = requestIds.get(call);
  if (known !== undefined) return known;
  const id = call.header('x-request-id')?.slice(0, 128) ?? `req_${randomBytes(6).toString('hex')}`;
  requestIds.set(call, id);
  return id;
}

/** Errors of the storage behind the links: S3-style XML, never the vendor's envelope. */
export function storageError(call: Call, status: number, code: string, message: string): Reply {
  const body = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<Error><Code>${code}</Code><Message>${message}</Message>`,
    `<RequestId>${requestIdOf(call)}</RequestId><HostId>vendor-sandbox</HostId></Error>`,
  ].join('\n');
  return { status, headers: { 'content-type': 'application/xml', 'x-amz-request-id': requestIdOf(call) }, body };
}

/** Codes by reason; `internal` depends on the status. */
const codes: Readonly<Record<Exclude<Refusal['reason'], 'gateway' | 'internal'>, [code: string, message: string]>> = {
  invalid: ['INVALID_ARGUMENT', 'Invalid request'],
  unauthenticated: ['UNAUTHENTICATED', 'Invalid API key'],
  'payment-required': ['PAYMENT_REQUIRED', 'Insufficient credits'],
  forbidden: ['PERMISSION_DENIED', 'Permission denied'],
  'not-found': ['NOT_FOUND', 'Job not found'],
  conflict: ['ABORTED', 'Concurrent operation in progress'],
  'rate-limited': ['RESOURCE_EXHAUSTED', 'Rate limit exceeded'],
  'quota-exceeded': ['RESOURCE_EXHAUSTED', 'Quota exceeded'],
  unavailable: ['UNAVAILABLE', 'Service temporarily unavailable'],
};

const serverCodes: Readonly<Record<number, string>> = {
  501: 'NOT_IMPLEMENTED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

/** A scripted refusal in the words of the API. */
export function apiRefusal(call: Call, refusal: Refusal, jobId: string | null): Reply {
  const { status, reason, hint } = refusal;
  if (reason === 'gateway') return gatewayPage(status);
  if (reason === 'internal') {
    return errorReply(call, status, serverCodes[status] ?? 'INTERNAL_ERROR', 'An internal error occurred');
  }
  const [code, message] = codes[reason];
  const wait = hint === undefined || !hint.inBody ? {} : { retry_after: hint.seconds };
  const headers: Record<string, string> =
    hint === undefined || !hint.inHeader ? {} : { 'retry-after': String(hint.seconds) };
  switch (reason) {
    case 'rate-limited':
      return errorReply(
        call,
        status,
        code,
        message,
        { reason: 'RATE_LIMIT_EXCEEDED', ...wait, limit: 200, period: 'minute', remaining: 0 },
        { ...headers, 'x-ratelimit-limit': '200', 'x-ratelimit-period': 'minute', 'x-ratelimit-remaining': '0' },
      );
    case 'quota-exceeded':
      return errorReply(call, status, code, message, { reason: 'QUOTA_EXCEEDED' });
    case 'payment-required':
      return errorReply(call, status, code, message, { required_credits: 10, current_balance: 0 });
    case 'not-found':
      return errorReply(call, status, code, message, { resource: 'Job', id: jobId ?? 'unknown' });
    case 'unavailable':
      return errorReply(call, status, code, message, wait, headers);
    case 'invalid':
    case 'unauthenticated':
    case 'forbidden':
    case 'conflict':
      return errorReply(call, status, code, message);
    default:
      return reason satisfies never;
  }
}

/** A scripted refusal in the words of storage. */
export function storageRefusal(call: Call, { status, reason }: Refusal): Reply {
  if (reason === 'gateway') return gatewayPage(status);
  const byStatus: Record<number, [string, string]> = {
    400: ['InvalidRequest', 'Invalid Request'],
    401: ['AccessDenied', 'Access Denied'],
    403: ['AccessDenied', 'Access Denied'],
    404: ['NoSuchKey', 'The specified key does not exist.'],
    409: ['OperationAborted', 'A conflicting conditional operation is currently in progress.'],
    429: ['SlowDown', 'Please reduce your request rate.'],
    503: ['SlowDown', 'Please reduce your request rate.'],
  };
  const [code, message] = byStatus[status] ?? ['InternalError', 'We encountered an internal error. Please try again.'];
  return storageError(call, status, code, message);
}
