import { z } from 'zod';
import { readChange } from '../vendor-settings.ts';

const schema = z.strictObject({
  /** Requests of one key per minute; more get 429. Null: no limit, the vendor documents none. */
  requestsPerMinute: z.number().int().min(1).nullable(),
  /** Length of that minute, ms. Shorten it so that tests need not wait. */
  minuteMs: z.number().int().min(50).max(3_600_000),
  /** Where a 429 tells the wait. */
  throttleHint: z.enum(['header', 'body', 'both', 'none']),
  /** `message` of a 400 about fields: an array (`mixed`: other errors have a string), or one form always. */
  messageForm: z.enum(['mixed', 'string', 'array']),
  /** Status of successful POSTs that create. */
  postStatus: z.union([z.literal(200), z.literal(201)]),
  /** Work ms that an ingestion waits and runs, on average. */
  ingestionMs: z.strictObject({ pending: z.number().min(0), running: z.number().min(0) }),
  /** Work ms that a generation waits and runs, on average. */
  generationMs: z.strictObject({ pending: z.number().min(0), running: z.number().min(0) }),
  /** Work ms that a record goes on showing its former run after a refresh was accepted. */
  staleAfterRefreshMs: z.number().min(0),
  /** True: a refresh keeps `linkedJobId`, and only `updatedAt` tells the new run. */
  refreshKeepsJobId: z.boolean(),
  /** What adding a known URL does: queue it again as an update, nothing, or a second record. */
  addKnownUrl: z.enum(['refresh', 'ignore', 'duplicate']),
  /** What bulk generation does with ids that no record has. */
  bulkUnknownIds: z.enum(['refuse', 'leave-out', 'fail']),
  /** Fields of a record that never had a job: null, or not there. */
  unsetFields: z.enum(['null', 'omitted']),
  /** Most records of a list page; more are cut to it. Null: no limit. */
  maxListLimit: z.number().int().min(1).nullable(),
  /** Most ids of one status request; more get 400. Null: no limit, none is documented. */
  maxStatusIds: z.number().int().min(1).nullable(),
  /** Most ids of one bulk request; more get 400. Null: no limit, none is documented. */
  maxBulkIds: z.number().int().min(1).nullable(),
  /** Providers that the workspace is connected to. */
  connectedProviders: z.array(z.enum(['notion', 'zendesk', 'confluence'])),
});

export type FiniSettings = z.infer<typeof schema>;

export const defaultFiniSettings: FiniSettings = {
  requestsPerMinute: null,
  minuteMs: 60_000,
  throttleHint: 'header',
  messageForm: 'mixed',
  postStatus: 200,
  ingestionMs: { pending: 2_000, running: 8_000 },
  generationMs: { pending: 1_000, running: 5_000 },
  staleAfterRefreshMs: 0,
  refreshKeepsJobId: false,
  addKnownUrl: 'refresh',
  bulkUnknownIds: 'refuse',
  unsetFields: 'null',
  maxListLimit: null,
  maxStatusIds: null,
  maxBulkIds: null,
  connectedProviders: ['notion', 'zendesk', 'confluence'],
};

/**
 * The settings after a change.
 * @throws VendorSettingError on an unknown name or value
 */
export function changedFiniSettings(current: FiniSettings, change: Record<string, unknown>): FiniSettings {
  return schema.parse({ ...current, ...readChange(schema.partial(), change) });
}
