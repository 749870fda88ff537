import * as z from 'zod';
import { clip, type Json } from '../../core/json.ts';
import { asDocumented } from './status.ts';

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
export const jobIdPattern = /^(?=.*[A-Za-z0-9])[A-Za-z0-9._:-]{1,200}$/;
const id = z.string().regex(jobIdPattern);
const link = text.max(16_384);
const timestamp = text.max(100);
const statusWord = text.max(100).transform(asDocumented);
const headers = z
  .record(z.string().max(200), z.string().max(4_096))
  .refine((all) => Object.keys(all).length <= 50, 'are too many');

export const createReply = z.object({
  job_id: id,
  status: optional(statusWord),
  upload_url: optional(link),
  upload_headers: optional(headers),
  expires_in: optional(z.number().positive()),
});

const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/);

const errorText = text.transform((said) => clip(said, 2_000));
const errorFields = z.object({
  code: optional(z.union([text.max(200), z.number().transform(String)])),
  message: optional(errorText),
  detail: optional(errorText),
  reason: optional(errorText),
  request_id: optional(text.max(200)),
  details: optional(z.json()),
});

export const job = z.object({
  job_id: id,
  status: statusWord,
  source_type: optional(text.max(100)),
  data_id: optional(text.max(1_000)),
  created_at: optional(timestamp),
  completed_at: optional(timestamp),
  failed_at: optional(timestamp),
  file_name: optional(text.max(1_000)),
  upload_url: optional(link),
  upload_headers: optional(headers),
  /** DOC: pages. IMPL fills it with a placeholder of 10 and 5. */
  progress: optional(z.object({ total_pages: z.number().int().positive(), processed_pages: z.number().int().min(0) })),
  error: z.unknown().transform(readError).optional(),
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

/** What an error says, whatever shape it has. */
export interface WireError {
  code?: string;
  message?: string;
  requestId?: string;
  details?: Json;
}

/**
 * Reads the vendor's error object, and what proxies and frameworks put in its place: a text, a list, other fields.
 * @returns undefined where there is none.
 */
export function readError(value: unknown): WireError | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : { message: clip(value, 2_000) };
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return undefined;
  const { code, message, detail, reason, request_id: requestId, details } = errorFields.safeParse(value).data ?? {};
  const said = message ?? detail ?? reason ?? (code === undefined ? quote(value) : undefined);
  return {
    ...(code === undefined ? {} : { code }),
    ...(said === undefined ? {} : { message: said }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(details === undefined ? {} : { details }),
  };
}

/** The error of an answer with an error status: in its envelope, or bare. */
export function readErrorBody(body: unknown): WireError | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  return readError((body as { error?: unknown }).error) ?? readError(body);
}

function quote(value: object): string | undefined {
  try {
    return clip(JSON.stringify(value), 500);
  } catch {
    // Nested too deeply to be written.
    return undefined;
  }
}

/** The checksum of a result, wherever this dialect puts it; lower-case hex. */
export function checksumOf(wire: WireJob): string | undefined {
  return (wire.result_checksum?.value ?? wire.result?.checksum)?.toLowerCase();
}
