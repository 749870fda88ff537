import { defineVendor } from '../define-vendor.ts';
import { account } from './account.ts';
import { ingest, refresh } from './operations/documents.ts';
import { readError } from './errors.ts';
import { bulkGenerate, generate } from './operations/knowledge.ts';
import { addressLookup, documentLookup, jobLookup } from './lookups.ts';
import { refreshChanged } from './operations/refresh-changed.ts';
import { watch } from './operations/watch.ts';

/** Knowledge for support agents: https://docs.usefini.com. What is documented and what is not: docs/vendors/fini.md. */
export const fini = defineVendor({
  name: 'fini',
  summary: 'Knowledge base: ingests documents and generates articles from them.',
  account,
  environment: { apiKey: 'FINI_API_KEY', baseUrl: 'FINI_BASE_URL' },
  secrets: ['apiKey'],
  credentials: ['apiKey'],
  http: {
    baseUrl: ({ baseUrl }) => baseUrl,
    headers: ({ apiKey }) => ({ authorization: `Bearer ${apiKey}` }),
    readError,
  },
  lookups: { document: documentLookup, address: addressLookup, job: jobLookup },
  operations: {
    'documents.ingest': ingest,
    'documents.refresh': refresh,
    'knowledge.generate': generate,
    'knowledge.bulkGenerate': bulkGenerate,
    'knowledge.refreshChanged': refreshChanged,
    watch,
  },
});
