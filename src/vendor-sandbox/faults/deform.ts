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
  const fields = topLevelFields(reply.body.toString());
  if (fields === null) return reply;
  const extra = { sandbox_extra: { nested: [1, 'two', null] }, 'x-новое-поле': '\u2028' };
  return { ...reply, body: JSON.stringify({ ...extra, ...fields, sandbox_more: 'unknown field' }) };
}

export function byteOrderMark(reply: Reply): Reply {
  return { ...reply, body: `\uFEFF${reply.body.toString()}` };
}

/** Filler inside the JSON object (a field of its own), or behind any other body. */
export function hugeBody(reply: Reply, mebibytes: string): Reply {
  const bytes = Math.max(1, Number(mebibytes)) * MEBIBYTE;
  const text = reply.body.toString();
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

function topLevelFields(text: string): Record<string, unknown> | null {
  if (!text.trimStart().startsWith('{')) return null;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}
