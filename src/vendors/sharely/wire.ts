import * as z from 'zod';
import { parseTimestamp } from '../timestamps.ts';

/**
 * What Sharely sends. Its documentation is cut or contradicts itself in places, so everything but what is acted on is
 * optional, and an odd field reads as absent.
 * @see docs/vendors/sharely.md
 */

/** A field that only matters when it has the shape we know. */
function optional<Schema extends z.ZodType>(schema: Schema): z.ZodType<z.output<Schema> | undefined> {
  return z
    .unknown()
    .transform((value): z.output<Schema> | undefined => {
      const parsed = schema.safeParse(value);
      return parsed.success ? parsed.data : undefined;
    })
    .optional();
}

const text = z.string().min(1).max(100_000);
const word = z.string().min(1).max(200);
/** What a person wrote; longer than the vendor takes it, it is not what we look for. */
const prose = z.string().max(10_000);
/** It goes into paths, records and logs, so its form is bounded, not its format. */
export const id = z.string().regex(/^(?=.*[A-Za-z0-9])[\x21-\x7e]{1,255}$/);
/** A submit names at most as many as there are items in it. */
const maxWorkflows = 1_000;

export const tokenReply = z.object({ token: z.string().regex(/^[\x21-\x7e]{1,16384}$/, 'is no token') });

export const role = z.object({
  id,
  name: optional(prose),
  description: optional(prose),
  customerRoleId: optional(prose),
  createdAt: optional(word),
  updatedAt: optional(word),
});
export type WireRole = z.output<typeof role>;

export const roleList = z.union([
  z.object({ roles: z.array(z.unknown()) }).transform(({ roles }) => roles),
  z.array(z.unknown()),
]);

export const knowledge = z.object({
  id,
  title: optional(prose),
  description: optional(prose),
  type: optional(word),
  status: optional(word),
  createdAt: optional(word),
  processedAt: optional(word.refine((at) => parseTimestamp(at) !== undefined)),
  /** In no documentation: taken where it is there, to look after a cascade. */
  children: optional(z.array(z.unknown())),
});
export type WireKnowledge = z.output<typeof knowledge>;

export const knowledgeList = z.object({
  knowledge: z.array(z.unknown()),
  total: optional(z.number().int().min(0)),
});

/** `[{id, name, …}]`; an object around it is accepted, because that page is as young as the others. */
export const knowledgeRoles = z.union([
  z.array(z.looseObject({ id })),
  z.object({ roles: z.array(z.looseObject({ id })) }).transform(({ roles }) => roles),
]);

export const taxonomyList = z.union([
  z.array(z.unknown()),
  z.object({ taxonomies: z.array(z.unknown()) }).transform(({ taxonomies }) => taxonomies),
]);
export const taxonomy = z.object({ id, name: optional(prose), published: optional(z.boolean()) });

const accepted = z.object({
  workflowId: optional(id),
  workflowIds: optional(z.array(id).max(maxWorkflows)),
  role: optional(role),
  created: optional(z.boolean()),
  id: optional(id),
  knowledgeId: optional(id),
  status: optional(word),
});
export type Accepted = Partial<z.output<typeof accepted>> & { workflows: string[] };

/**
 * What an operation answers: `workflowId`, `workflowIds` or neither in an object; or a list of ids, or of objects with
 * one; or nothing at all (204). An id that turns out to be none is missed by the look-ups, and the resource is asked.
 */
export const submitReply = z
  .union(
    [
      z.undefined(),
      z.null(),
      accepted,
      z.array(z.union([id, z.looseObject({ workflowId: optional(id) })])).max(maxWorkflows),
    ],
    {
      error: 'is neither empty nor an object',
    },
  )
  .transform((body): Accepted => {
    const object = Array.isArray(body) ? undefined : (body ?? undefined);
    const ids = Array.isArray(body)
      ? body.map((row) => (typeof row === 'string' ? row : row.workflowId))
      : [object?.workflowId, ...(object?.workflowIds ?? [])];
    return { ...object, workflows: [...new Set(ids.filter((one) => one !== undefined))] };
  });

/** A row of the background-jobs answer; `status` is read apart, so that an odd one does not hide the row. */
export const workflowRow = z.object({
  workflowId: id,
  status: optional(z.object({ name: optional(text.max(100)), code: optional(z.number()) })),
  runId: optional(id),
});
export type WorkflowRow = z.output<typeof workflowRow>;

/** New: `{error, errorId}`, where `error` is the text. Old: `{error, message, details}`, where `error` is the class. */
export const errorBody = z.object({
  error: optional(text),
  message: optional(text),
  errorId: optional(text.max(200)),
  details: optional(z.json()),
});
