import * as z from 'zod';
import { maxUrlLength } from './addresses.ts';
import { idPattern } from './wire.ts';

/** What Fini's operations take: the vendor's own fields in camelCase. What a list names twice counts once. */

const maxItems = 10_000;
/** Below what one job's data may hold, with room for the fields around it. */
const maxTextLength = 500_000;

export function looksLikeUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

const id = z.string().regex(idPattern, `must match ${idPattern.source}`);

function idList(what: string, hint: string) {
  return z
    .array(
      z.string().superRefine((text, context) => {
        if (idPattern.test(text)) return;
        const message = /^[a-z]+:\/\//i.test(text)
          ? `is a URL; this field takes ${what}. ${hint}`
          : `must match ${idPattern.source}`;
        context.addIssue({ code: 'custom', message });
      }),
    )
    .min(1)
    .max(maxItems)
    .transform((ids) => [...new Set(ids)]);
}

const documentIds = idList(
  'record ids',
  'To process web pages by URL, use documents.ingest with documentIdsToAdd or documentIdsToRefresh',
);

const sources = ['web', 'googledrive', 'notion', 'zendesk', 'confluence'] as const;

const items = z.array(z.string().min(1).max(maxUrlLength)).max(maxItems).default([]);

export const ingestInput = z
  .strictObject({
    source: z
      .enum(sources, {
        error: `must be one of ${sources.join(', ')}; raw files are uploaded in the vendor’s dashboard`,
      })
      .default('web')
      .describe('Determines what the two lists contain: URLs for web, record ids for everything else.'),
    documentIdsToAdd: items.describe('Items to ingest for the first time: URLs for web, else registered record ids.'),
    documentIdsToRefresh: items.describe('Items to process again: URLs for web, else record ids.'),
    english: z.boolean().optional().describe('English-specific processing. Default: the vendor’s.'),
    baser: z.boolean().optional().describe('BASER processing. Default: the vendor’s.'),
  })
  .superRefine((input, context) => {
    const total = input.documentIdsToAdd.length + input.documentIdsToRefresh.length;
    if (total === 0) {
      const message = 'is empty, and so is documentIdsToRefresh: at least one of them must name an item';
      context.addIssue({ code: 'custom', path: ['documentIdsToAdd'], message });
    }
    for (const field of ['documentIdsToAdd', 'documentIdsToRefresh'] as const) {
      for (const [index, value] of input[field].entries()) {
        const message = itemFault(input.source, value);
        if (message !== undefined) context.addIssue({ code: 'custom', path: [field, index], message });
      }
    }
  });
export type IngestInput = z.output<typeof ingestInput>;

/** The vendor takes an id for a URL and fails later, which is its most common support case: refused here at once. */
function itemFault(source: string, value: string): string | undefined {
  if (source === 'web') {
    if (looksLikeUrl(value)) return undefined;
    return idPattern.test(value) && !URL.canParse(value)
      ? 'is a record id; with source "web" this field takes URLs (https://…). To process a record again by its id, use documents.refresh'
      : 'must be an http or https URL: with source "web" this field takes URLs';
  }
  if (idPattern.test(value)) return undefined;
  return /^[a-z]+:\/\//i.test(value)
    ? `is a URL; with source "${source}" this field takes record ids, as registering the provider’s resources returned them. URLs go with source "web"`
    : `must match ${idPattern.source}: with source "${source}" this field takes record ids`;
}

export const refreshInput = z.strictObject({
  documentIds: documentIds.describe('Records to fetch again from their source; any source except raw files.'),
});
export type RefreshInput = z.output<typeof refreshInput>;

const generation = {
  restrictedOps: z
    .array(z.enum(['ADD_ARTICLE_TO_FOLDER', 'UPDATE_ARTICLE', 'DO_NOTHING']))
    .min(1)
    .max(3)
    .refine((ops) => new Set(ops).size === ops.length, { message: 'names an operation twice' })
    .optional()
    .describe(
      'What the pipeline may decide to do. Default: everything. DO_NOTHING with isDraft leaves a draft that says so, for review.',
    ),
  instructions: z.string().min(1).max(50_000).optional().describe('Further instructions for the generation.'),
  botId: id.optional().describe('The agent that the content is for.'),
  isDraft: z
    .boolean()
    .default(true)
    .describe('True leaves drafts for review; false saves live at once. The event reports it as `saved`.'),
};

const text = { candidateKnowledge: z.string().min(1).max(maxTextLength).describe('The text to make knowledge from.') };

export const generateInput = z.discriminatedUnion('origin', [
  z.strictObject({ origin: z.literal('generated'), ...text, ...generation }),
  z.strictObject({
    origin: z.literal('sources'),
    documentId: id.describe('The ingested record that the text comes from.'),
    ...text,
    ...generation,
  }),
  z.strictObject({
    origin: z.literal('inbox'),
    hcEventId: id.describe('The inbox event that the text comes from.'),
    ...text,
    ...generation,
  }),
]);
export type GenerateInput = z.output<typeof generateInput>;

export const bulkGenerateInput = z.strictObject({
  documentIds: documentIds.describe('Ingested records; their stored text is used.'),
  origin: z.literal('sources').default('sources').describe('The only origin of the bulk route.'),
  ...generation,
});
export type BulkGenerateInput = z.output<typeof bulkGenerateInput>;

export const refreshChangedInput = z.strictObject({
  documentIds: documentIds.describe('Records to refresh. Knowledge is generated again for those that changed.'),
  ...generation,
});
export type RefreshChangedInput = z.output<typeof refreshChangedInput>;

export const watchInput = z
  .strictObject({
    jobIds: idList('ids of knowledge jobs', 'Documents are watched by documentIds')
      .optional()
      .describe('Knowledge jobs started elsewhere. Not the linkedJobId of a document: watch its documentId instead.'),
    documentIds: documentIds.optional().describe('Documents whose ingestion or refresh was started elsewhere.'),
  })
  .superRefine((input, context) => {
    if (input.jobIds !== undefined || input.documentIds !== undefined) return;
    context.addIssue({ code: 'custom', path: ['jobIds'], message: 'or documentIds is required' });
  });
export type WatchInput = z.output<typeof watchInput>;

/** What each operation takes, for producers: the adapter declares the same schemas. */
export const operations = {
  'documents.ingest': { input: ingestInput },
  'documents.refresh': { input: refreshInput },
  'knowledge.generate': { input: generateInput },
  'knowledge.bulkGenerate': { input: bulkGenerateInput },
  'knowledge.refreshChanged': { input: refreshChangedInput },
  watch: { input: watchInput },
} as const;
