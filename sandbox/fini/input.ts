import { z } from 'zod';

const texts = z.array(z.string());
const flag = z.boolean().nullish();

export const ingestBody = z.object({
  source: z.enum(['web', 'googledrive', 'notion', 'zendesk', 'confluence']).default('web'),
  documentIdsToAdd: texts.nullish().transform((ids) => ids ?? []),
  documentIdsToRefresh: texts.nullish().transform((ids) => ids ?? []),
  english: flag,
  baser: flag,
});

export const documentIdsBody = z.object({ documentIds: texts.min(1), deleteArticles: flag });

const pipeline = {
  restrictedOps: z.array(z.enum(['ADD_ARTICLE_TO_FOLDER', 'UPDATE_ARTICLE', 'DO_NOTHING'])).nullish(),
  instructions: z.string().nullish(),
  botId: z.string().nullish(),
  isDraft: flag,
};

export const generateBody = z
  .object({
    candidateKnowledge: z.string().min(1),
    origin: z.enum(['generated', 'sources', 'inbox']),
    documentId: z.string().nullish(),
    hcEventId: z.string().nullish(),
    ...pipeline,
  })
  .superRefine((body, context) => {
    if (body.origin === 'sources' && (body.documentId ?? '') === '') {
      context.addIssue({ code: 'custom', path: ['documentId'], message: 'is required when origin is sources' });
    }
    if (body.origin === 'inbox' && (body.hcEventId ?? '') === '') {
      context.addIssue({ code: 'custom', path: ['hcEventId'], message: 'is required when origin is inbox' });
    }
  });

export const bulkBody = z.object({ documentIds: texts.min(1), origin: z.literal('sources'), ...pipeline });

export const statusBody = z.object({ jobIds: texts.min(1) });

const resource = z.object({
  originalUrl: z.string().min(1),
  title: z.string().min(1),
  externalId: z.string().min(1),
  mimeType: z.string().min(1),
  object: z.string().optional(),
});

export const registerBody = z.object({ resources: z.array(resource).min(1) });

export const crawlBody = z.object({ links: texts.min(1), limit: z.number().int().min(1).default(250) });

/** The body as the route wants it, or what is wrong with it, one sentence per fault. */
export function read<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> | string[] {
  const result = schema.safeParse(body ?? {});
  if (result.success) return result.data;
  return result.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

export function isWebUrl(text: string): boolean {
  return /^https?:\/\/[^\s/]+/i.test(text);
}
