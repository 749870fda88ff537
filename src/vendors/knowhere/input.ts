import * as z from 'zod';
import { jobIdPattern } from './wire.ts';

/** What `knowhere.parse` and `knowhere.watch` take: the vendor's own fields in camelCase, and ours. */

const parsingParams = z
  .strictObject({
    model: z.enum(['base', 'advanced']).describe('Parsing model; the vendor’s default is base.'),
    ocrEnabled: z.boolean().describe('Read text from images; the vendor’s default is false.'),
    docType: z.enum(['auto', 'pdf', 'docx', 'txt', 'md']).describe('Kind of document; the vendor’s default is auto.'),
    smartTitleParse: z.boolean(),
    summaryImage: z.boolean(),
    summaryTable: z.boolean(),
    summaryTxt: z.boolean(),
    summaryUseLlm: z.boolean(),
    addFragDesc: z.string().max(10_000),
    kbDir: z.string().max(1_000).describe('Only older versions of the vendor know it.'),
  })
  .partial()
  .describe('How to parse. The vendor decides what is left out.');

const webUrl = z
  .string()
  .max(8_192)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
    message: 'must be an http or https URL that points straight at the file',
  });

/** A dot and letters at the end, with more than dots before them in the last part of the path. */
const hasExtension = /[^/\\.]\.+[A-Za-z0-9]{1,10}$/;

const common = {
  dataId: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,128}$/, 'must match ^[A-Za-z0-9._-]{1,128}$')
    .optional()
    .describe('Your label on the vendor’s job. Default: a unique one, by which a lost submit is found again.'),
  namespace: z.string().min(1).max(255).optional().describe('The vendor’s default is "default".'),
  documentId: z.string().min(1).max(255).optional().describe('An existing document to parse again.'),
  parsingParams: parsingParams.optional(),
  webhook: z
    .strictObject({ url: webUrl })
    .optional()
    .describe('A URL that the vendor calls. The outcome still comes from polling.'),
  download: z
    .boolean()
    .default(false)
    .describe('Fetch the result ZIP into the artifacts folder and verify its SHA-256 before reporting success.'),
};

export const parseInput = z.discriminatedUnion('sourceType', [
  z.strictObject({
    sourceType: z.literal('url').describe('The vendor fetches the document itself.'),
    sourceUrl: webUrl.describe('Public address of the file.'),
    fileName: z.string().max(255).optional().describe('A name with extension.'),
    ...common,
  }),
  z.strictObject({
    sourceType: z.literal('file').describe('We upload a file.'),
    file: z.string().min(1).max(1_024).describe('Path below JOBFERRY_FILES_DIR.'),
    fileName: z
      .string()
      .max(255)
      .regex(hasExtension, 'must carry an extension, such as .pdf')
      .optional()
      .describe('A name with extension; defaults to the last part of `file`.'),
    ...common,
  }),
]);

export type ParseInput = z.output<typeof parseInput>;

export const watchInput = z.strictObject({
  jobIds: z
    .array(z.string().regex(jobIdPattern, 'must be a Knowhere job id, such as job_abc123'))
    .min(1)
    .max(1_000)
    .refine((ids) => new Set(ids).size === ids.length, { message: 'names a job twice' })
    .describe('Vendor jobs started elsewhere.'),
  download: common.download,
});

/** The body of a create request. */
export function toCreateBody(input: ParseInput, dataId: string): Record<string, unknown> {
  return {
    source_type: input.sourceType,
    ...(input.sourceType === 'url'
      ? { source_url: input.sourceUrl, ...(input.fileName === undefined ? {} : { file_name: input.fileName }) }
      : { file_name: fileNameOf(input) }),
    data_id: dataId,
    ...(input.namespace === undefined ? {} : { namespace: input.namespace }),
    ...(input.documentId === undefined ? {} : { document_id: input.documentId }),
    ...(input.parsingParams === undefined ? {} : { parsing_params: snakeCaseKeys(input.parsingParams) }),
    ...(input.webhook === undefined ? {} : { webhook: input.webhook }),
  };
}

export function fileNameOf(input: Extract<ParseInput, { sourceType: 'file' }>): string {
  return input.fileName ?? input.file.split(/[\\/]/).pop() ?? input.file;
}

function snakeCaseKeys(object: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value as unknown,
    ]),
  );
}

/** True when a file name of this form tells the vendor what it is. */
export function carriesExtension(name: string): boolean {
  return hasExtension.test(name);
}

/** What each operation takes, for producers: the adapter declares the same schemas. */
export const operations = { parse: { input: parseInput }, watch: { input: watchInput } } as const;
