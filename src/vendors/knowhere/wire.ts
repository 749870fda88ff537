import * as z from 'zod';
import { clip } from '../../core/json.ts';

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
/** It goes into paths, records and logs, so its form is bounded; the vendor's own are `job_` and hex digits. */
const id = z.string().regex(/^(?=.*[A-Za-z0-9])[A-Za-z0-9._:-]{1,200}$/);
const link = text.max(16_384);
const timestamp = text.max(100);
const headers = z
  .record(z.string().max(200), z.string().max(4_096))
  .refine((all) => Object.keys(all).length <= 50, 'are too many');

export const createReply = z.object({
  job_id: id,
  status: optional(text.max(100)),
  upload_url: optional(link),
  upload_headers: optional(headers),
  expires_in: optional(z.number().positive()),
});

const code = text.max(200);
const message = text.transform((said) => clip(said, 2_000));
const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/);

export const job = z.object({
  job_id: id,
  status: text.max(100),
  source_type: optional(text),
  data_id: optional(text),
  created_at: optional(timestamp),
  completed_at: optional(timestamp),
  failed_at: optional(timestamp),
  file_name: optional(text),
  upload_url: optional(link),
  upload_headers: optional(headers),
  /** DOC: pages. IMPL fills it with a placeholder of 10 and 5. */
  progress: optional(z.object({ total_pages: z.number().int().positive(), processed_pages: z.number().int().min(0) })),
  error: optional(z.object({ code: optional(code), message: optional(message), details: optional(z.json()) })),
  result_url: optional(link),
  result_url_expires_at: optional(timestamp),
  /** DOC. */
  result_checksum: optional(z.object({ algorithm: z.string().regex(/^sha-?256$/i), value: sha256 })),
  /** IMPL: a bare hex string. */
  result: optional(z.object({ checksum: optional(sha256) })),
  duration_seconds: optional(z.number()),
  credits_spent: optional(z.number()),
});

export type WireJob = z.output<typeof job>;

/** What tells whose a row is, where the rest of it makes no sense. */
export const jobLabel = z.object({ data_id: z.string().nullable().optional() });

export const jobList = z.object({
  jobs: z.array(z.unknown()),
  total: optional(z.number().int().min(0)),
  total_pages: optional(z.number().int().min(0)),
  page_size: optional(z.number().int().positive()),
});

export const errorBody = z.object({
  error: z.object({
    code: optional(code),
    message: optional(message),
    details: optional(z.record(z.string(), z.json())),
  }),
});

/** The checksum of a result, wherever this dialect puts it; lower-case hex. */
export function checksumOf(wire: WireJob): string | undefined {
  return (wire.result_checksum?.value ?? wire.result?.checksum)?.toLowerCase();
}
