import type { Reply } from '../http/reply.ts';

const MEBIBYTE = 1_048_576;

/** Everything below takes the true answer and returns what a broken vendor or proxy would send in its place. */

export function malformedJson(reply: Reply): Reply {
  const text = reply.body.toString();
  return { ...reply, body: text.slice(0, Math.max(1, Math.floor(text.length * 0.66))) };
}

export function wrongContentType(reply: Reply): Reply {
  return { ...reply, headers: { ...reply.headers, 'content-type': 'text/html; charset=utf-8' } };
}

export function htmlPage(reply: Reply): Reply {
  return {
    ...reply,
    headers: { ...reply.headers, 'content-type': 'text/html; charset=utf-8' },
    body: '<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in to the network</h1></body></html>',
  };
}

export function emptyBody(reply: Reply): Reply {
  return { ...reply, body: '' };
}

/** Valid JSON that is not what was asked for. */
export function foreignJson(reply: Reply, shape: string): Reply {
  const bodies: Record<string, string> = { object: '{}', array: '[]', null: 'null', string: '"ok"', number: '42' };
  return { ...reply, body: bodies[shape] ?? '{}' };
}

/** @param argument - `name=value`, the value as JSON. */
export function fieldIs(reply: Reply, argument: string): Reply {
  const [name = '', ...value] = argument.split('=');
  const json = JSON.parse(value.join('=')) as unknown;
  return withValues(reply, (key, old) => (key === name ? json : old));
}

/** @param field - whose texts change from lower case to upper, or back. */
export function fieldCase(reply: Reply, field: string): Reply {
  const turned = (text: string) => (text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase());
  return withValues(reply, (key, old) => (key === field && typeof old === 'string' ? turned(old) : old));
}

/** @param argument - `400 {"message":"no"}`: a status, a blank, the body. */
export function spokenReply(argument: string): Reply {
  const [status = ''] = argument.split(' ', 1);
  const body = argument.slice(status.length + 1);
  const type = body.startsWith('<') ? 'text/html; charset=utf-8' : 'application/json';
  return { status: Number(status), headers: { 'content-type': type }, body };
}

/** Bogus values first, the true ones after: most parsers keep the last of equal keys, some keep the first. */
export function duplicateKeys(reply: Reply): Reply {
  const text = reply.body.toString();
  const fields = topLevelFields(text);
  if (fields === null) return reply;
  const bogus = Object.entries(fields)
    .filter(([, value]) => typeof value === 'string')
    .map(([key]) => `${JSON.stringify(key)}:"sandbox-duplicate"`);
  return bogus.length === 0 ? reply : { ...reply, body: `{${bogus.join(',')},${text.trimStart().slice(1)}` };
}

export function extraFields(reply: Reply): Reply {
  const text = reply.body.toString();
  const extra = { sandbox_extra: { nested: [1, 'two', null] }, 'x-новое-поле': '\u2028' };
  const widened = (fields: object) => ({ ...extra, ...fields, sandbox_more: 'unknown field' });
  const fields = topLevelFields(text);
  if (fields !== null) return { ...reply, body: JSON.stringify(widened(fields)) };
  // A bare array: its rows get them.
  const rows = topLevelRows(text);
  if (rows === null) return reply;
  const wide = rows.map((row) => (typeof row === 'object' && row !== null ? widened(row) : row));
  return { ...reply, body: JSON.stringify(wide) };
}

export function byteOrderMark(reply: Reply): Reply {
  return { ...reply, body: `\uFEFF${reply.body.toString()}` };
}

/** Filler inside the JSON (a separate field, or blanks in a bare array), or behind any other body. */
export function hugeBody(reply: Reply, mebibytes: string): Reply {
  const bytes = Math.max(1, Number(mebibytes)) * MEBIBYTE;
  const text = reply.body.toString();
  if (topLevelRows(text) !== null) {
    return { ...reply, body: text.trimStart(), delivery: { kind: 'padded', at: 1, bytes, filler: ' ' } };
  }
  if (topLevelFields(text) === null) {
    return { ...reply, delivery: { kind: 'padded', at: reply.body.length, bytes, filler: '\0' } };
  }
  const opening = '{"sandbox_filler":"';
  const rest = text.trimStart().slice(1);
  const body = `${opening}"${rest.trimStart().startsWith('}') ? '' : ','}${rest}`;
  return { ...reply, body, delivery: { kind: 'padded', at: opening.length, bytes, filler: 'x' } };
}

export function truncatedBody(reply: Reply): Reply {
  return { ...reply, delivery: { kind: 'cut-at', bytes: Math.floor(Buffer.byteLength(reply.body) / 2) } };
}

export function stalledBody(reply: Reply): Reply {
  return { ...reply, delivery: { kind: 'hang-at', bytes: Math.floor(Buffer.byteLength(reply.body) / 2) } };
}

/** JSON with other values; a body that is none stays as it is. */
function withValues(reply: Reply, change: (key: string, old: unknown) => unknown): Reply {
  try {
    return { ...reply, body: JSON.stringify(JSON.parse(reply.body.toString(), change)) };
  } catch {
    return reply;
  }
}

function topLevelFields(text: string): Record<string, unknown> | null {
  if (!text.trimStart().startsWith('{')) return null;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function topLevelRows(text: string): unknown[] | null {
  if (!text.trimStart().startsWith('[')) return null;
  try {
    return JSON.parse(text) as unknown[];
  } catch {
    return null;
  }
}
