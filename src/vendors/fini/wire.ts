import * as z from 'zod';

/**
 * What Fini sends. Lenient about what we do not act on, so that a new or odd field never loses finished work; what is
 * odd reads as absent. Rows are taken one by one: one that makes no sense spoils no other.
 * @see docs/vendors/fini.md
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

/** A list in which entries that do not fit are left out. */
function listOf<Schema extends z.ZodType>(schema: Schema): z.ZodType<z.output<Schema>[]> {
  return z.array(z.unknown()).transform((rows) =>
    rows.flatMap((row) => {
      const parsed = schema.safeParse(row);
      return parsed.success ? [parsed.data] : [];
    }),
  );
}

const text = z.string().min(1);
/** Documented as a UUID; it goes into paths and back to the vendor, so its form is bounded, not its format. */
export const idPattern = /^(?=.*[A-Za-z0-9])[A-Za-z0-9._:-]{1,200}$/;
const id = z.string().regex(idPattern);
const timestamp = text.max(100);

/** A and F share this shape; only A queues anything, and we call nothing but A. */
export const ingestReply = z
  .object({ addedDocumentIds: listOf(id).optional(), updatedDocumentIds: listOf(id).optional() })
  .refine((reply) => reply.addedDocumentIds !== undefined || reply.updatedDocumentIds !== undefined, {
    message: 'names neither addedDocumentIds nor updatedDocumentIds',
  });

/** A bare array, no wrapper. */
export const refreshReply = listOf(id);

export const generateReply = z.object({ backgroundJobId: id });

export const bulkReply = z.object({ jobs: listOf(z.object({ documentId: id, backgroundJobId: id })) });

const jobRow = z.object({
  id,
  /** A row without a word still says that the vendor knows the job. */
  jobStatus: optional(text.max(100)),
  createdAt: optional(timestamp),
  startedAt: optional(timestamp),
  completedAt: optional(timestamp),
  hcArticleId: optional(text.max(200)),
});
export type WireJob = z.output<typeof jobRow>;

export const statusReply = z.object({ jobs: listOf(jobRow) });

/** Documented as a text that is empty when all is well; anything else that says something counts as an error, too. */
function readError(value: unknown): string | undefined {
  if (!saysSomething(value)) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Not an empty list or object, nor one of nothing but empty texts and nulls. */
function saysSomething(value: unknown): boolean {
  if (typeof value === 'string') return value.trim() !== '';
  if (typeof value === 'object' && value !== null) return Object.values(value).some(saysSomething);
  return Boolean(value);
}

/** Everything but the extracted text, which can be large: only how many paragraphs it has is kept. */
export const record = z.object({
  id,
  originalUrl: optional(text),
  title: optional(text),
  source: optional(text.max(100)),
  paragraphs: optional(z.array(z.unknown()).transform((paragraphs) => paragraphs.length)),
  success: optional(z.boolean()),
  error: z.unknown().transform(readError).optional(),
  createdAt: optional(timestamp),
  updatedAt: optional(timestamp),
  linkedJobId: optional(text.max(200)),
  linkedJobStatus: optional(text.max(100)),
  linkedKnowledgeId: optional(text.max(200)),
  linkedOperation: optional(text.max(100)),
  changed: optional(z.boolean()),
});
export type WireRecord = z.output<typeof record>;

export const recordList = z
  .object({ documents: z.array(z.unknown()), hasMore: optional(z.boolean()) })
  .transform(({ documents, hasMore }) => {
    const rows = documents.flatMap((row) => {
      const parsed = record.safeParse(row);
      return parsed.success ? [parsed.data] : [];
    });
    /** Rows that make no sense: what is looked for may be one of them. */
    return { documents: rows, unreadable: documents.length - rows.length, hasMore };
  });

/** `message` is a string in the one sample there is; the framework behind such envelopes also sends lists. */
export const errorBody = z.object({
  statusCode: optional(z.number()),
  message: optional(z.union([text, z.array(z.string())])),
  error: optional(text),
});
