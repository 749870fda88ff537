import { textField } from '../http/json-body.ts';
import type { Dialect } from './settings.ts';

/** A create request that passed validation. */
export interface CreateInput {
  readonly sourceType: 'url' | 'file';
  readonly sourceUrl: string | null;
  readonly fileName: string;
  /** Lower case, no dot; null when the URL does not tell. */
  readonly extension: string | null;
  readonly dataId: string | null;
  readonly namespace: string;
  readonly documentId: string | null;
  readonly model: string;
  readonly ocrEnabled: boolean;
}

export interface Violation {
  readonly field: string;
  readonly description: string;
}

const EXTENSIONS = new Set(['doc', 'docx', 'pdf', 'txt', 'xls', 'xlsx', 'pptx', 'jpg', 'jpeg', 'png', 'md', 'csv']);
const DOC_TYPES: readonly unknown[] = ['auto', 'pdf', 'docx', 'txt', 'md'];
const BOOLEAN_PARAMS = [
  'ocr_enabled',
  'smart_title_parse',
  'summary_image',
  'summary_table',
  'summary_txt',
  'summary_use_llm',
];

type Fields = Record<string, unknown>;

/** Checks a create body the way the vendor does. Unknown fields are ignored, as the implementation ignores them. */
export function readCreate(text: string, dialect: Dialect): CreateInput | Violation[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [{ field: 'body', description: 'JSON decode error' }];
  }
  if (!isFields(value)) return [{ field: 'body', description: 'Input should be a valid object' }];
  const violations: Violation[] = [];
  const refuse = (field: string, description: string) => {
    violations.push({ field, description });
  };

  const sourceType = value['source_type'];
  let sourceUrl: string | null = null;
  let fileName = '';
  let extension: string | null = null;
  if (sourceType === 'url') {
    const read = readUrl(value['source_url']);
    if (typeof read === 'string') refuse('source_url', read);
    else ({ sourceUrl, fileName, extension } = read);
  } else if (sourceType === 'file') {
    const given = value['file_name'];
    if (typeof given !== 'string' || given === '')
      refuse('file_name', 'file_name is required when source_type is file');
    else {
      fileName = given;
      extension = extensionOf(given);
      if (extension === null) refuse('file_name', 'file_name must carry a file extension');
    }
  } else {
    refuse('source_type', "Input should be 'url' or 'file'");
  }
  if (extension !== null && !EXTENSIONS.has(extension)) {
    refuse(sourceType === 'url' ? 'source_url' : 'file_name', `Unsupported file type: .${extension}`);
  }

  const dataId = optionalText(value, 'data_id', 128, refuse);
  if (dialect === 'doc' && dataId !== null && !/^[A-Za-z0-9._-]*$/.test(dataId)) {
    refuse('data_id', 'Only letters, digits, hyphens, underscores and dots are allowed');
  }
  const namespace = optionalText(value, 'namespace', 255, refuse) ?? 'default';
  const documentId = optionalText(value, 'document_id', 255, refuse);
  const params = readParams(value['parsing_params'], refuse);
  checkWebhook(value['webhook'], refuse);

  if (violations.length > 0 || (sourceType !== 'url' && sourceType !== 'file')) return violations;
  return { sourceType, sourceUrl, fileName, extension, dataId, namespace, documentId, ...params };
}

/** Lower-case extension of a name, without the dot; null when there is none. */
export function extensionOf(name: string): string | null {
  return /\.([A-Za-z0-9]{1,10})$/.exec(name)?.[1]?.toLowerCase() ?? null;
}

function readUrl(given: unknown): { sourceUrl: string; fileName: string; extension: string | null } | string {
  if (typeof given !== 'string' || given === '') return 'source_url is required when source_type is url';
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    return 'Input should be a valid URL';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'URL scheme should be http or https';
  const last = url.pathname.split('/').at(-1) ?? '';
  let fileName = last;
  try {
    fileName = decodeURIComponent(last);
  } catch {
    // A stray percent sign is part of the name then.
  }
  return { sourceUrl: given, fileName: fileName === '' ? url.hostname : fileName, extension: extensionOf(fileName) };
}

function optionalText(fields: Fields, name: string, max: number, refuse: (field: string, text: string) => void) {
  const value = fields[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') {
    refuse(name, 'Input should be a valid string');
    return null;
  }
  if (value.length > max) refuse(name, `String should have at most ${max} characters`);
  return value;
}

function readParams(given: unknown, refuse: (field: string, text: string) => void) {
  const params = { model: 'base', ocrEnabled: false };
  if (given === undefined || given === null) return params;
  if (!isFields(given)) {
    refuse('parsing_params', 'Input should be a valid object');
    return params;
  }
  const { model, doc_type: docType } = given;
  if (model === 'base' || model === 'advanced') params.model = model;
  else if (model !== undefined) refuse('parsing_params.model', "Input should be 'base' or 'advanced'");
  if (docType !== undefined && !DOC_TYPES.includes(docType)) {
    refuse('parsing_params.doc_type', "Input should be 'auto', 'pdf', 'docx', 'txt' or 'md'");
  }
  for (const name of BOOLEAN_PARAMS) {
    if (given[name] !== undefined && typeof given[name] !== 'boolean') {
      refuse(`parsing_params.${name}`, 'Input should be a valid boolean');
    }
  }
  params.ocrEnabled = given['ocr_enabled'] === true;
  return params;
}

/** Checked as the vendor checks it; the sandbox never calls a webhook. */
function checkWebhook(given: unknown, refuse: (field: string, text: string) => void): void {
  if (given === undefined || given === null) return;
  const target = isFields(given) ? given['url'] : undefined;
  if (typeof target !== 'string' || !URL.canParse(target)) {
    refuse('webhook.url', 'Input should be a valid URL');
    return;
  }
  const { protocol, hostname } = new URL(target);
  if (protocol !== 'http:' && protocol !== 'https:') refuse('webhook.url', 'URL scheme should be http or https');
  if (/^(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|0\.|\[)/.test(hostname)) {
    refuse('webhook.url', 'Webhook target must be a public address');
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The names in a create body, which may hold markers. The body is not validated yet and may be anything at all. */
export function submittedNames(text: string): Record<'sourceUrl' | 'fileName' | 'dataId', string | null> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return {
    sourceUrl: textField(body, 'source_url'),
    fileName: textField(body, 'file_name'),
    dataId: textField(body, 'data_id'),
  };
}
