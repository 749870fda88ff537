import { clip } from '../core/json.ts';
import { redactText } from '../core/redact.ts';

/** Size limits for one value on the board. They apply to copies; the stored value is unchanged. */
export interface ClipLimits {
  maxText: number;
  maxItems: number;
  maxDepth: number;
  /** The total number of values, so that many small ones are bounded too. */
  maxNodes: number;
}

export const boardLimits: ClipLimits = { maxText: 2_000, maxItems: 50, maxDepth: 10, maxNodes: 1_500 };

/** How much of a text is read. */
const readableText = 65_536;

/**
 * A copy of foreign JSON that is small enough to show, with a mark wherever something was left out.
 * Texts are redacted before they are cut, because a cut could remove what identifies a secret.
 */
export function clipJson(value: unknown, limits: ClipLimits = boardLimits): unknown {
  let nodes = 0;
  const visit = (item: unknown, depth: number): unknown => {
    nodes += 1;
    if (typeof item === 'string') return clipText(item, limits.maxText);
    if (typeof item !== 'object' || item === null) return item;
    if (depth >= limits.maxDepth) return Array.isArray(item) ? `[${item.length} items, not shown]` : '{not shown}';
    return Array.isArray(item) ? visitArray(item, depth) : visitObject(item, depth);
  };
  const visitArray = (items: readonly unknown[], depth: number): unknown[] => {
    const shown: unknown[] = [];
    for (const item of items) {
      if (shown.length >= limits.maxItems || nodes >= limits.maxNodes) break;
      shown.push(visit(item, depth + 1));
    }
    if (shown.length < items.length) shown.push(`… ${items.length - shown.length} more`);
    return shown;
  };
  const visitObject = (object: object, depth: number): Record<string, unknown> => {
    const shown: Record<string, unknown> = {};
    const keys = Object.keys(object);
    let count = 0;
    for (const key of keys) {
      if (count >= limits.maxItems || nodes >= limits.maxNodes) break;
      count += 1;
      // A plain assignment to `__proto__` would set the prototype of the copy.
      const name = key === '__proto__' ? '"__proto__"' : clipText(key, 200);
      shown[name] = visit((object as Record<string, unknown>)[key], depth + 1);
    }
    if (count < keys.length) shown['…'] = `${keys.length - count} more fields`;
    return shown;
  };
  return visit(value, 0);
}

export function clipText(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const start = clip(redactText(text.slice(0, readableText)), maxLength);
  return `${start} (${text.length.toLocaleString('en-US')} characters)`;
}
