import { isDeepStrictEqual } from 'node:util';
import type * as z from 'zod';
import { defaultResultQueue } from '../queues/names.ts';

/** What makes another submission of one: the vendor would be asked for other work, or another queue get the event. */
export interface Comparison {
  /** Paths of what differs and cannot be left out, such as `input.sourceUrl`. Empty where it is the same submission. */
  differs: string[];
  /** Fields that differ and change nothing of the work, such as `metadata`. */
  ignored: string[];
}

export interface ComparedRequest {
  operation: string;
  /** The job's data, from whichever client. */
  data: unknown;
}

/**
 * Compares two requests under one submission id. The order of keys says nothing, nor does a default that is written out.
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

/** As it is stored: without fields that are undefined, dates as texts. */
export function toJson(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
