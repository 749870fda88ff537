import { isDeepStrictEqual } from 'node:util';
import type * as z from 'zod';
import { defaultResultQueue } from '../queues/names.ts';

/** How two requests differ. A difference counts if the vendor would do other work or another queue would get the event. */
export interface Comparison {
  /** Paths of differences that count, such as `input.sourceUrl`. Empty if it is the same submission. */
  differs: string[];
  /** Fields that differ without changing the work, such as `metadata`. */
  ignored: string[];
}

export interface ComparedRequest {
  operation: string;
  /** The job's data, from any client. */
  data: unknown;
}

/**
 * Compares two requests under one submission id. The order of keys does not count, nor does a default that is written out.
 * @param schema - the operation's input, for its defaults.
 */
export function compareRequests(before: ComparedRequest, now: ComparedRequest, schema: z.ZodType): Comparison {
  const one = fieldsOf(before.data);
  const other = fieldsOf(now.data);
  const differs = [
    ...(before.operation === now.operation ? [] : ['operation']),
    ...compareInputs(one['input'], other['input'], schema),
    ...(['account', 'replyTo'] as const).filter(
      (field) => (one[field] ?? defaults[field]) !== (other[field] ?? defaults[field]),
    ),
  ];
  const decisive = new Set(['input', ...Object.keys(defaults)]);
  const ignored = [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    (field) => !decisive.has(field) && !isDeepStrictEqual(one[field] ?? null, other[field] ?? null),
  );
  return { differs, ignored };
}

const defaults = { account: 'default', replyTo: defaultResultQueue };

function compareInputs(before: unknown, now: unknown, schema: z.ZodType): string[] {
  if (isDeepStrictEqual(before, now)) return [];
  const [one, other] = [before, now].map((input) => fieldsOf(toJson(schema.safeParse(input).data ?? input)));
  const names = [...new Set([...Object.keys(one ?? {}), ...Object.keys(other ?? {})])];
  return names.filter((name) => !isDeepStrictEqual(one?.[name], other?.[name])).map((name) => `input.${name}`);
}

/** The value as it is stored: without undefined fields, dates as texts. */
export function toJson(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
