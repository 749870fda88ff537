import type { Call } from './call.ts';

const LIMIT_BYTES = 16 * 1_048_576;
const bodies = new WeakMap<Call, Promise<unknown>>();

/** The JSON body of a call, parsed once; undefined when it is none, or not declared as JSON. */
export function jsonBody(call: Call): Promise<unknown> {
  let body = bodies.get(call);
  if (body === undefined) {
    body = parsed(call);
    bodies.set(call, body);
  }
  return body;
}

async function parsed(call: Call): Promise<unknown> {
  const text = await call.text(LIMIT_BYTES);
  // A server that parses by content type sees no body at all under another one.
  if (!/^application\/([\w.-]+\+)?json\b/i.test(call.header('content-type') ?? '')) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Whether a request says that it has a body, readable or not. */
export function announcesBody(call: Call): boolean {
  return (call.header('content-length') ?? '0') !== '0' || call.header('transfer-encoding') !== undefined;
}

/** A field of a body that may be anything at all: only what is text, the first 4,000 characters. */
export function textField(body: unknown, name: string): string | null {
  const value = fieldOf(body, name);
  return typeof value === 'string' ? value.slice(0, 4_000) : null;
}

/** A field of a body that may be anything at all: only the texts of an array. */
export function textsField(body: unknown, name: string): string[] {
  const value = fieldOf(body, name);
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function fieldOf(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined;
}
