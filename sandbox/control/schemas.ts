import { z } from 'zod';

/** Bodies and queries of the control routes. Strict: a misspelt field must not pass as "matches anything". */

const times = z.union([z.literal('always'), z.number().int().min(1)]);

export const faultRule = z.strictObject({
  fault: z.string(),
  argument: z.union([z.string(), z.number()]).optional(),
  vendor: z.string().optional(),
  route: z.string().optional(),
  method: z.string().optional(),
  jobId: z.string().optional(),
  source: z.string().optional(),
  apiKey: z.string().optional(),
  times: times.optional(),
  skip: z.number().int().min(0).optional(),
  probability: z.number().min(0).max(1).optional(),
});

export const dialectChange = z.strictObject({
  vendor: z.string().optional(),
  dialect: z.enum(['doc', 'impl']),
});

export const speedChange = z.strictObject({ speed: z.number().min(0.001).max(1e9) });

/** The vendor checks the rest: each has its own limits. */
export const limitsChange = z.looseObject({ vendor: z.string().optional() });

export const resetOptions = z.strictObject({ seed: z.number().int().optional() });

export const jobEnding = z.strictObject({
  outcome: z.enum(['done', 'failed']),
  code: z.string().optional(),
  message: z.string().optional(),
});

const flag = z.enum(['true', 'false']).transform((word) => word === 'true');
const count = z.coerce.number().int().min(0);

export const ledgerQuery = z.strictObject({
  vendor: z.string().optional(),
  route: z.string().optional(),
  kind: z.enum(['create', 'lookup', 'other']).optional(),
  method: z.string().optional(),
  jobId: z.string().optional(),
  dataId: z.string().optional(),
  source: z.string().optional(),
  status: count.optional(),
  fault: z.string().optional(),
  jobCreated: flag.optional(),
  afterSeq: count.optional(),
  last: count.optional(),
});

export const jobsQuery = z.strictObject({
  vendor: z.string().optional(),
  status: z.string().optional(),
  dataId: z.string().optional(),
  source: z.string().optional(),
  isTerminal: flag.optional(),
  limit: count.optional(),
  offset: count.optional(),
});
