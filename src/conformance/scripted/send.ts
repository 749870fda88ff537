import type { ServerResponse } from 'node:http';
import type { Reply } from './reply.ts';

/** More than a request takes unless it says otherwise. */
export const hugeBytes = 9 * 1024 * 1024;
export const slowMs = 1_200;

/** What the vendor answers without doing anything, by fault. */
export const refusals: Readonly<Partial<Record<string, Reply>>> & { 'not-found': Reply } = {
  'bad-request': { status: 400, json: { message: 'this is not what I take' } },
  unauthorized: { status: 401, json: { message: 'who are you?' } },
  'not-found': { status: 404, json: { message: 'there is no such thing' } },
  forbidden: { status: 403, json: { message: 'you may not' } },
  unavailable: { status: 503, json: { message: 'too busy' }, headers: { 'retry-after': '2' } },
  'unavailable-for-long': { status: 503, json: { message: 'back later' }, headers: { 'retry-after': '60' } },
  'rate-limited': { status: 429, json: { message: 'slow down' }, headers: { 'retry-after': '1' } },
  'rate-limited-without-hint': { status: 429, json: { message: 'slow down' } },
  'rate-limited-at-once': { status: 429, json: { message: 'slow down' }, headers: { 'retry-after': '0' } },
  'rate-limited-for-long': {
    status: 429,
    json: { message: 'slow down' },
    headers: { 'retry-after': '60', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '60' },
  },
  'link-dead': { status: 403, body: '<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>' },
  'file-late': { status: 404, body: '<Error><Code>NoSuchKey</Code></Error>' },
  'page-for-file': { status: 200, body: '<!doctype html><h1>Sign in</h1>', headers: { 'content-type': 'text/html' } },
  'server-error': { status: 500, json: { message: 'out of order' } },
};

/** @param body - in place of the reply's JSON. */
export function send(response: ServerResponse, reply: Reply, body?: string): void {
  const bytes = body ?? reply.body ?? (reply.json === undefined ? '' : JSON.stringify(reply.json));
  const type = bytes.length === 0 || reply.body !== undefined ? {} : { 'content-type': 'application/json' };
  response.writeHead(reply.status ?? (bytes.length === 0 ? 204 : 200), { ...type, ...reply.headers });
  response.end(bytes);
}
