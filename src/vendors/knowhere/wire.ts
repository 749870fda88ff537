import * as z from 'zod';

/**
 * What Knowhere sends, in both dialects: DOC leaves unused fields out, IMPL sends them as null. Lenient about what we
 * do not act on, so that a new or odd field never loses a finished job; what is odd reads as absent.
 * @see docs/vendors/knowhere.md
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

const text = z.string().min(1);

export const createReply = z.object({
  job_id: text.max(200),
  status: optional(text),
  upload_url: optional(text),
  upload_headers: optional(z.record(z.string(), z.string())),
  expires_in: optional(z.number().positive()),
});

const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/);

export const job = z.object({
  job_id: text.max(200),
  status: text.max(100),
  source_type: optional(text),
  data_id: optional(text),
  created_at: optional(text),
  completed_at: optional(text),
  failed_at: optional(text),
  file_name: optional(text),
  upload_url: optional(text),
  upload_headers: optional(z.record(z.string(), z.string())),
  /** DOC: pages. IMPL fills it with a placeholder of 10 and 5. */
  progress: optional(z.object({ total_pages: z.number().int().positive(), processed_pages: z.number().int().min(0) })),
  error: optional(z.object({ code: optional(text), message: optional(text), details: optional(z.json()) })),
  result_url: optional(text),
  result_url_expires_at: optional(text),
  /** DOC. */
  result_checksum: optional(z.object({ algorithm: z.string().regex(/^sha-?256$/i), value: sha256 })),
  /** IMPL: a bare hex string. */
  result: optional(z.object({ checksum: optional(sha256) })),
  duration_seconds: optional(z.number()),
  credits_spent: optional(z.number()),
});

export type WireJob = z.output<typeof job>;

export const jobList = z.object({
  jobs: z.array(z.unknown()),
  total_pages: optional(z.number().int().min(0)),
  page_size: optional(z.number().int().positive()),
});

export const errorBody = z.object({
  error: z.object({
    code: optional(text),
    message: optional(text),
    details: optional(z.record(z.string(), z.json())),
  }),
});

/** The checksum of a result, wherever this dialect puts it; lower-case hex. */
export function checksumOf(wire: WireJob): string | undefined {
  return (wire.result_checksum?.value ?? wire.result?.checksum)?.toLowerCase();
}
