import { defineVendor } from '../define-vendor.ts';
import { account } from './account.ts';
import { readError, readLimits } from './errors.ts';
import { jobLookup } from './lookups.ts';
import { parse } from './operations/parse.ts';
import { watch } from './operations/watch.ts';

/** Document parsing: https://docs.knowhereto.ai, in the documented dialect and the one that is deployed. */
export const knowhere = defineVendor({
  name: 'knowhere',
  summary: 'Document parsing: URLs and files into chunks and Markdown.',
  account,
  environment: { apiKey: 'KNOWHERE_API_KEY', baseUrl: 'KNOWHERE_BASE_URL' },
  secrets: ['apiKey'],
  credentials: ['apiKey'],
  http: {
    baseUrl: ({ baseUrl }) => baseUrl,
    headers: ({ apiKey }) => ({ authorization: `Bearer ${apiKey}` }),
    readError,
    readLimits,
  },
  lookups: { job: jobLookup },
  operations: { parse, watch },
});
