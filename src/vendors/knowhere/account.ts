import * as z from 'zod';
import type { StepContext } from '../../ports/vendor-adapter.ts';
import { defineOperation } from '../define-vendor.ts';

export const account = z.strictObject({
  apiKey: z.string().min(1).describe('Starts with sk_.'),
  baseUrl: z.url({ protocol: /^https?$/ }).default('https://api.knowhereto.ai'),
});
export type KnowhereAccount = z.output<typeof account>;

export type Context<Input> = StepContext<KnowhereAccount, Input>;

export const operation = defineOperation<KnowhereAccount>();
