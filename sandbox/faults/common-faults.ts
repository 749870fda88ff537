import {
  byteOrderMark,
  duplicateKeys,
  emptyBody,
  extraFields,
  fieldCase,
  fieldIs,
  foreignJson,
  htmlPage,
  hugeBody,
  malformedJson,
  spokenReply,
  stalledBody,
  truncatedBody,
  wrongContentType,
} from './deform.ts';
import type { FaultDefinition, FaultEffect, Refusal } from './definition.ts';

/** Faults of HTTP itself and of any vendor's front door: they fit every route of every vendor. */

const any = { routes: 'any', scope: 'request' } as const;
const once = { ...any, markerTimes: 1 } as const;
const stays = { ...any, markerTimes: 'always' } as const;

const seconds = { meaning: 'seconds to wait', default: '1', kind: 'integer' } as const;
const milliseconds = { meaning: 'ms', default: '2000', kind: 'integer' } as const;

function refuse(status: number, reason: Refusal['reason'], when: 'before' | 'after' = 'before'): FaultEffect {
  return { kind: 'refuse', when, refusal: () => ({ status, reason }) };
}

function refuseWithStatus(reason: Refusal['reason'], when: 'before' | 'after'): FaultEffect {
  return { kind: 'refuse', when, refusal: (argument) => ({ status: Number(argument), reason }) };
}

function throttle(inHeader: boolean, inBody: boolean): FaultEffect {
  return {
    kind: 'refuse',
    when: 'before',
    refusal: (argument) => ({
      status: 429,
      reason: 'rate-limited',
      hint: { seconds: Number(argument), inHeader, inBody },
    }),
  };
}

const serverStatus = { meaning: 'HTTP status, 500 to 599', default: '500', kind: 'integer' } as const;
const gatewayStatus = { meaning: 'HTTP status, 500 to 599', default: '502', kind: 'integer' } as const;

export const commonFaults: readonly FaultDefinition[] = [
  // Refusals that pass.
  {
    name: 'rate-limited',
    summary: '429 with the wait in the header and in the body. Nothing was created.',
    effect: throttle(true, true),
    argument: seconds,
    ...once,
  },
  {
    name: 'rate-limited-header',
    summary: '429 with the wait in the `Retry-After` header only.',
    effect: throttle(true, false),
    argument: seconds,
    ...once,
  },
  {
    name: 'rate-limited-body',
    summary: '429 with the wait in the body only.',
    effect: throttle(false, true),
    argument: seconds,
    ...once,
  },
  {
    name: 'quota-exceeded',
    summary: '429 without any hint: the quota is used up.',
    effect: refuse(429, 'quota-exceeded'),
    ...once,
  },
  {
    name: 'unavailable',
    summary: "503 in the vendor's own envelope, with a wait in header and body. Nothing was created.",
    effect: {
      kind: 'refuse',
      when: 'before',
      refusal: (argument) => ({
        status: 503,
        reason: 'unavailable',
        hint: { seconds: Number(argument), inHeader: true, inBody: true },
      }),
    },
    argument: { ...seconds, default: '15' },
    ...once,
  },
  {
    name: 'unauthorized',
    summary: '401, whatever the key.',
    effect: refuse(401, 'unauthenticated'),
    ...once,
  },
  {
    name: 'payment-required',
    summary: '402: not enough credit.',
    effect: refuse(402, 'payment-required'),
    ...once,
  },
  {
    name: 'forbidden',
    summary: '403: this key may not do that.',
    effect: refuse(403, 'forbidden'),
    ...once,
  },
  // Refusals that stay.
  {
    name: 'bad-request',
    summary: '400: the request is refused permanently.',
    effect: refuse(400, 'invalid'),
    ...stays,
  },
  {
    name: 'not-found',
    summary: '404.',
    effect: refuse(404, 'not-found'),
    ...stays,
  },
  {
    name: 'conflict',
    summary: '409: something else is under way.',
    effect: refuse(409, 'conflict'),
    ...stays,
  },
  {
    name: 'replies',
    summary: 'Any answer that you write, before the vendor did anything: errors of odd shapes, hostile text.',
    effect: { kind: 'replace', reply: spokenReply },
    argument: { meaning: 'status, a blank, the body', default: '400 {}', kind: 'word' },
    ...once,
  },
  // Server trouble. "before" and "after" differ in what exists at the vendor, never in the answer.
  {
    name: 'server-error',
    summary: "5xx in the vendor's envelope, before the vendor did anything.",
    effect: refuseWithStatus('internal', 'before'),
    argument: serverStatus,
    ...once,
  },
  {
    name: 'server-error-after',
    summary: "5xx in the vendor's envelope, after the vendor did the work: the job exists, the answer is lost.",
    effect: refuseWithStatus('internal', 'after'),
    argument: serverStatus,
    ...once,
  },
  {
    name: 'gateway-error',
    summary: 'A bare 5xx page of a proxy, no envelope, before the vendor did anything.',
    effect: refuseWithStatus('gateway', 'before'),
    argument: gatewayStatus,
    ...once,
  },
  {
    name: 'gateway-error-after',
    summary: 'A bare 5xx page of a proxy, after the vendor did the work.',
    effect: refuseWithStatus('gateway', 'after'),
    argument: gatewayStatus,
    ...once,
  },
  {
    name: 'cut-before',
    summary: 'The connection is reset before the vendor did anything.',
    effect: { kind: 'cut', when: 'before' },
    ...once,
  },
  {
    name: 'cut-after',
    summary: 'The connection is reset after the vendor did the work: the job exists, the answer is lost.',
    effect: { kind: 'cut', when: 'after' },
    ...once,
  },
  {
    name: 'timeout-before',
    summary: 'No answer ever; the vendor did nothing.',
    effect: { kind: 'hang', when: 'before' },
    ...once,
  },
  {
    name: 'timeout-after',
    summary: 'No answer ever, though the vendor did the work.',
    effect: { kind: 'hang', when: 'after' },
    ...once,
  },
  // Pace. These combine with other faults.
  {
    name: 'slow-reply',
    summary: 'The answer begins late, by wall-clock ms.',
    effect: { kind: 'pace', pace: 'first-byte' },
    argument: milliseconds,
    ...once,
  },
  {
    name: 'drip-body',
    summary: 'The body comes in small pieces, spread over wall-clock ms.',
    effect: { kind: 'pace', pace: 'body' },
    argument: milliseconds,
    ...once,
  },
  // The vendor did the work; its answer is damaged on the way.
  {
    name: 'malformed-json',
    summary: 'The body is JSON that stops in the middle, with a matching length.',
    effect: { kind: 'deform', deform: malformedJson },
    ...once,
  },
  {
    name: 'wrong-content-type',
    summary: 'The right body, declared as `text/html`.',
    effect: { kind: 'deform', deform: wrongContentType },
    ...once,
  },
  {
    name: 'html-page',
    summary: 'The right status with the HTML page of a captive portal as body.',
    effect: { kind: 'deform', deform: htmlPage },
    ...once,
  },
  {
    name: 'empty-body',
    summary: 'The right status and type, no body.',
    effect: { kind: 'deform', deform: emptyBody },
    ...once,
  },
  {
    name: 'foreign-json',
    summary: 'The right status with JSON of another shape.',
    effect: { kind: 'deform', deform: foreignJson },
    argument: {
      meaning: 'the shape',
      default: 'object',
      kind: 'word',
      words: ['object', 'array', 'null', 'string', 'number'],
    },
    ...once,
  },
  {
    name: 'field-is',
    summary: 'Every field of this name has this JSON value, wherever it stands.',
    effect: { kind: 'deform', deform: fieldIs },
    argument: { meaning: 'name=value', default: 'status=null', kind: 'word' },
    ...once,
  },
  {
    name: 'field-case',
    summary: 'Texts in fields of this name come in the other case: `done` as `DONE`.',
    effect: { kind: 'deform', deform: fieldCase },
    argument: { meaning: 'the field', default: 'status', kind: 'word' },
    ...once,
  },
  {
    name: 'duplicate-keys',
    summary: 'Every text field comes twice, first with a bogus value.',
    effect: { kind: 'deform', deform: duplicateKeys },
    ...once,
  },
  {
    name: 'extra-fields',
    summary: 'Unknown fields before and after the known ones.',
    effect: { kind: 'deform', deform: extraFields },
    ...once,
  },
  {
    name: 'byte-order-mark',
    summary: 'A byte order mark before the JSON.',
    effect: { kind: 'deform', deform: byteOrderMark },
    ...once,
  },
  {
    name: 'huge-body',
    summary: 'The body swells to many MiB, without a `Content-Length`.',
    effect: { kind: 'deform', deform: hugeBody },
    argument: { meaning: 'MiB', default: '64', kind: 'integer' },
    ...once,
  },
  {
    name: 'truncated-body',
    summary: 'Half of the announced body, then the connection is reset.',
    effect: { kind: 'deform', deform: truncatedBody },
    ...once,
  },
  {
    name: 'stalled-body',
    summary: 'Half of the announced body, then silence on an open connection.',
    effect: { kind: 'deform', deform: stalledBody },
    ...once,
  },
];
