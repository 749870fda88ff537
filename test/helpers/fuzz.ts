/** Seeded mutation of vendor replies: what a broken, hostile or merely odd server could send. */

/** A small generator (mulberry32): the same seed gives the same attack. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

const junk: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1e308,
  -1e308,
  9_007_199_254_740_991,
  '',
  'NaN',
  'Infinity',
  '-1',
  '1e9',
  'null',
  'undefined',
  'succeeded',
  'done\u0000',
  'DONE',
  ' done ',
  'COMPLETED ',
  'x'.repeat(5_000),
  '\ud800',
  'x'.repeat(20_000),
  'id\u0007\r\nset-cookie: a=b',
  '../../admin',
  '..',
  '🙂',
  '1970-01-01T00:00:00',
  '9999-99-99T99:99:99Z',
  '2026-11-22T10:00:00.123456789+25:99',
  'http://169.254.169.254/latest/meta-data',
  [],
  [[[[[[]]]]]],
  {},
  { constructor: { prototype: { polluted: true } } },
  { toString: 'no', valueOf: 1, hasOwnProperty: 2, then: 'x' },
];

const headerJunk: Record<string, readonly string[]> = {
  'retry-after': [
    '-1',
    '0',
    '1e9',
    'NaN',
    'soon',
    '999999999999999999',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    'Fri, 31 Dec 9999 23:59:59 GMT',
    '1.5',
  ],
  'ratelimit-remaining': ['-1', '0', 'x', '1e400', '99999999999999'],
  'ratelimit-reset': ['-5', '0', '1672531200', '99999999999999999', 'NaN'],
  'x-ratelimit-remaining': ['0', ''],
  'x-ratelimit-reset': ['1', '1e99'],
  'content-type': [
    'text/html',
    'application/json; charset=utf-16',
    'image/png',
    'json',
    'application/problem+json',
    '',
  ],
};

/**
 * Mutates a good reply into one of the many ways in which it can be wrong.
 * @param errors - bodies of the vendor's error answers, for replies with such a status.
 */
export function mutate(random: () => number, good: unknown, errors: readonly unknown[] = [], goodStatus = 200): Reply {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  const status =
    random() < 0.7
      ? goodStatus
      : pick([
          200, 201, 202, 204, 206, 299, 300, 302, 304, 400, 401, 402, 403, 404, 408, 409, 410, 418, 422, 425, 429, 499,
          500, 501, 502, 503, 504, 599,
        ]);
  for (const [name, values] of Object.entries(headerJunk)) {
    if (random() < 0.06) headers[name] = pick(values);
  }
  const isError = status >= 400 && errors.length > 0 && random() < 0.8;
  let value = structuredClone(isError ? pick(errors) : good);
  for (let rounds = Math.floor(random() * 5); rounds > 0; rounds -= 1) value = mutateOnce(random, pick, value);
  let text = JSON.stringify(value);
  const shape = random();
  if (shape < 0.03) text = text.slice(0, Math.floor(random() * text.length));
  else if (shape < 0.05) text = `<html><body>${text}</body></html>`;
  else if (shape < 0.06) text = '';
  else if (shape < 0.07) text = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  else if (shape < 0.08) text = text.replace('{', '{"__proto__":{"polluted":true},');
  else if (shape < 0.09) text = `\ufeff${text}`;
  else if (shape < 0.1) text = text.replace(/:/, ':1e999,"x":');
  let bytes: Buffer = Buffer.from(text, 'utf8');
  if (shape > 0.98) bytes = Buffer.from(bytes.map((byte) => (random() < 0.02 ? Math.floor(random() * 256) : byte)));
  if (shape > 0.995) headers['content-encoding'] = 'gzip';
  return { status, headers, body: bytes };
}

function mutateOnce(random: () => number, pick: <T>(list: readonly T[]) => T, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random() < 0.04) return pick(junk);
  if (Array.isArray(value)) {
    const list = [...(value as unknown[])];
    const at = Math.floor(random() * (list.length + 1));
    const way = random();
    if (way < 0.15) list.splice(at, 1);
    else if (way < 0.3) list.splice(at, 0, pick(junk));
    else if (way < 0.45 && list.length > 0) list.push(structuredClone(pick(list)));
    else if (way < 0.55) list.reverse();
    else if (list.length > 0) {
      const index = Math.floor(random() * list.length);
      list[index] = mutateOnce(random, pick, list[index]);
    }
    return list;
  }
  const object = { ...(value as Record<string, unknown>) };
  const key = pick(Object.keys(object));
  const way = random();
  if (key === undefined || way < 0.1) object[pick(['extra', 'status', 'error', 'id', 'result'])] = pick(junk);
  else if (way < 0.3) delete object[key];
  // What is nested is where the meaning is: it is spoiled from inside more often than as a whole.
  else if (way < (typeof object[key] === 'object' ? 0.4 : 0.6)) object[key] = pick(junk);
  else object[key] = mutateOnce(random, pick, object[key]);
  return object;
}

/** What goes wrong below JSON: pace, size, packing, addresses, framing. */
export const wildKinds = [
  'drip',
  'silence',
  'stall',
  'short',
  'endless',
  'announced',
  'bomb',
  'elsewhere',
  'cut',
  'long',
  'flood',
  'twice',
  'garbage',
] as const;
export type Wild = (typeof wildKinds)[number];

/** Those that last until somebody gives up. */
const slowKinds: readonly Wild[] = ['drip', 'silence', 'stall', 'short'];
const quickKinds = wildKinds.filter((kind) => !slowKinds.includes(kind));

/** Seldom anything, most seldom what costs a timeout. */
export function pickWild(random: () => number): Wild | undefined {
  const chance = random();
  const kinds = chance < 0.0025 ? slowKinds : chance < 0.015 ? quickKinds : [];
  return kinds[Math.floor(random() * kinds.length)];
}
