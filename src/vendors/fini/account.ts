import * as z from 'zod';
import type { StepContext } from '../../ports/vendor-adapter.ts';
import { defineOperation } from '../define-vendor.ts';

const batch = z.number().int().min(1).max(1_000);

/** One Fini workspace. A key needs both scopes: `write` to start work, `read` to look it up. */
export const account = z.strictObject({
  apiKey: z.string().min(1).describe('Starts with fini_; needs the scopes read and write.'),
  baseUrl: z.url({ protocol: /^https?$/ }).default('https://api-prod.usefini.com'),
  statusBatchSize: batch
    .default(100)
    .describe('Jobs per status request. The vendor documents no limit; lower it when large requests are refused.'),
  submitBatchSize: batch
    .default(100)
    .describe('Documents per request that starts work; longer lists are split. The vendor documents no limit.'),
  pendingNoticeMs: z
    .number()
    .int()
    .min(1_000)
    .default(900_000)
    .describe(
      'A document PENDING for longer is reported, ms. The vendor’s support asks for a report after 15 minutes.',
    ),
});
export type FiniAccount = z.output<typeof account>;

export type Context<Input> = StepContext<FiniAccount, Input>;

export const operation = defineOperation<FiniAccount>();
