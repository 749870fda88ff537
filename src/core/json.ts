/** Any value that survives `JSON.stringify` and `JSON.parse` unchanged. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

const hostileKeys: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Walks foreign JSON without recursion and reports what could hurt code that copies or merges it later.
 * @param limits - `maxDepth` levels of nesting, `maxNodes` values in all; `anyKeysIn`: a top-level field that is only
 * passed on, never merged, so that its keys may have any name.
 * @returns one sentence per kind of fault with its path; empty when the value is harmless.
 */
export function findHostileJson(
  value: unknown,
  { maxDepth = 64, maxNodes = 200_000, anyKeysIn }: { maxDepth?: number; maxNodes?: number; anyKeysIn?: string } = {},
): Fault[] {
  const faults: Fault[] = [];
  const stack: { value: unknown; path: string; depth: number; anyKeys?: boolean }[] = [{ value, path: '', depth: 0 }];
  let nodes = 0;
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (typeof item.value !== 'object' || item.value === null) continue;
    if (item.depth >= maxDepth) {
      faults.push({ path: item.path, message: `nested deeper than ${maxDepth} levels` });
      return faults;
    }
    for (const key of Object.keys(item.value)) {
      if (++nodes > maxNodes) {
        faults.push({ path: item.path, message: `more than ${maxNodes} values` });
        return faults;
      }
      const path = Array.isArray(item.value) ? `${item.path}[${key}]` : item.path === '' ? key : `${item.path}.${key}`;
      const anyKeys = item.anyKeys === true || (item.depth === 0 && key === anyKeysIn);
      if (!anyKeys && !Array.isArray(item.value) && hostileKeys.has(key)) {
        faults.push({ path, message: `the key ${JSON.stringify(key)} is not accepted` });
        continue;
      }
      stack.push({ value: (item.value as Record<string, unknown>)[key], path, depth: item.depth + 1, anyKeys });
    }
  }
  return faults;
}

/** One thing wrong with what somebody gave us, and where: `{ path: 'input.sourceUrl', message: '…' }`. */
export interface Fault {
  path: string;
  message: string;
}

/** A deep copy of a value that is JSON. */
export function copyJson<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item: unknown) => copyJson(item)) as T;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copyJson(item)])) as T;
}

/** A value as it is where it is small, else the beginning of its JSON text: whatever a stranger sent, it can be kept. */
export function clipJsonValue(value: Json, maxLength: number): Json {
  const text = JSON.stringify(value);
  return text.length <= maxLength ? value : clip(text, maxLength);
}

/** Cuts a text so that it can go into a log line, an event or a key, whatever a stranger put into it. */
export function clip(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`;
}
