import type { JsonObject } from '../../core/json.ts';

/** A document that `jobferry dev` sends. */
export interface DemoSubmission {
  /** Begins the submission id; the run's own suffix follows. */
  name: string;
  operation: string;
  input: JsonObject;
  /** True where the real vendor would only be bothered: what it shows is scripted in the sandbox. */
  sandboxOnly?: boolean;
}

export interface VendorDemo {
  /** What makes up an account at the sandbox. */
  sandboxEnvironment(baseUrl: string): Record<string, string>;
  submissions: readonly DemoSubmission[];
}

/** Per vendor: its account at the sandbox, and a few submissions that show its outcomes. */
export const demoTable: Readonly<Record<string, VendorDemo>> = {
  knowhere: {
    sandboxEnvironment: (baseUrl) => ({ KNOWHERE_API_KEY: 'sk_sandbox', KNOWHERE_BASE_URL: baseUrl }),
    submissions: [
      { name: 'harbour-report', operation: 'parse', input: { sourceType: 'file', file: 'harbour-report.pdf' } },
      {
        name: 'packing-list',
        operation: 'parse',
        input: { sourceType: 'file', file: 'packing-list.md', download: true },
      },
      {
        name: 'web-page',
        operation: 'parse',
        input: {
          sourceType: 'url',
          sourceUrl: 'https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf',
        },
      },
      {
        name: 'damaged-scan',
        operation: 'parse',
        input: { sourceType: 'url', sourceUrl: 'https://example.com/damaged-scan.pdf?sandbox=fail--INVALID_ARGUMENT' },
        sandboxOnly: true,
      },
      // Refused by the worker, before any vendor hears of it.
      { name: 'missing-file', operation: 'parse', input: { sourceType: 'file', file: 'missing.pdf' } },
    ],
  },
  fini: {
    sandboxEnvironment: (baseUrl) => ({ FINI_API_KEY: 'fini_sandbox', FINI_BASE_URL: baseUrl }),
    submissions: [
      {
        name: 'help-pages',
        operation: 'documents.ingest',
        input: {
          source: 'web',
          documentIdsToAdd: ['https://example.com/help/shipping', 'https://example.com/help/customs'],
        },
        sandboxOnly: true,
      },
      {
        name: 'faq-article',
        operation: 'knowledge.generate',
        input: {
          origin: 'generated',
          candidateKnowledge: 'The ferry leaves at 8:15 and 17:40. Freight is taken until half an hour before.',
        },
        sandboxOnly: true,
      },
    ],
  },
  sharely: {
    sandboxEnvironment: (baseUrl) => ({
      SHARELY_API_KEY: 'sk-sharely-sandbox',
      SHARELY_ORGANIZATION_ID: '0b1e55ed-0000-4000-8000-000000000001',
      SHARELY_WORKSPACE_ID: '0b1e55ed-0000-4000-8000-000000000002',
      SHARELY_BASE_URL: baseUrl,
    }),
    submissions: [
      {
        name: 'harbour-role',
        operation: 'role.upsert',
        input: { customerRoleId: 'harbour-master', name: 'Harbour master', description: 'Sees every berth.' },
        sandboxOnly: true,
      },
      // Found again by its customerRoleId if the answer gets lost.
      {
        name: 'deck-role',
        operation: 'role.create',
        input: { customerRoleId: 'deck-crew', name: 'Deck crew' },
        sandboxOnly: true,
      },
    ],
  },
};

/** The sandbox is quick, so it is asked often; a real vendor gets the operation's own waits. */
export const sandboxPoll = { initialDelayMs: 700, factor: 1.5, maxDelayMs: 3_000 };
