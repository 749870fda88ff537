import { open } from 'node:fs/promises';
import { traitOf } from '../faults/traits.ts';
import type { KnowhereJob, Material } from './job.ts';
import { pdfPages, pdfText } from './pdf-text.ts';
import type { KnowhereSettings } from './settings.ts';
import type { Upload } from './upload-shelf.ts';
import { imaginedPages } from './work-plan.ts';

/** Of larger uploads only the beginning is read; the rest is counted. */
const READ_BYTES = 4 * 1_048_576;
const MEBIBYTE = 1_048_576;
const TEXTS = new Set(['md', 'txt', 'csv']);
const IMAGES = new Set(['jpg', 'jpeg', 'png']);
/** Size limits that only the documentation names. */
const DOC_LIMITS: Readonly<Record<string, number>> = { pdf: 100, docx: 50, xlsx: 50, pptx: 100 };

/** What a URL job has to go on: its name. The sandbox never fetches anything. */
export function urlMaterial(job: KnowhereJob, settings: KnowhereSettings): Material {
  const pages = Number(traitOf(job.faults, 'pages') ?? imaginedPages(job.sourceUrl ?? job.fileName));
  return { bytes: 0, pages, path: null, defect: tooManyPages(pages, settings) };
}

/** Looks at an upload: its pages, and whether the document can be parsed at all. */
export async function uploadMaterial(job: KnowhereJob, upload: Upload, settings: KnowhereSettings): Promise<Material> {
  const pages = Number(traitOf(job.faults, 'pages') ?? (await countedPages(job, upload)));
  const docLimit = job.dialect === 'doc' ? DOC_LIMITS[job.extension] : undefined;
  const limit = Math.min(settings.maxUploadBytes, docLimit === undefined ? Infinity : docLimit * MEBIBYTE);
  const defect =
    upload.bytes === 0
      ? 'Unable to parse document: the file is empty'
      : upload.bytes > limit
        ? `File size exceeds the maximum of ${Math.floor(limit / MEBIBYTE)} MB`
        : tooManyPages(pages, settings);
  return { bytes: upload.bytes, pages, path: upload.path, defect };
}

/** What the parsed document holds. `image` is the upload itself, when it is an image of modest size. */
export interface DocumentContent {
  readonly text: string;
  readonly image: Buffer | null;
}

/** The text that goes into the result. */
export async function documentContent(job: KnowhereJob): Promise<DocumentContent> {
  const { material } = job;
  if (material?.path === undefined || material.path === null) return { text: urlText(job), image: null };
  const head = await beginning(material.path);
  const rest = material.bytes - head.length;
  const note = rest > 0 ? `\n\n[sandbox: ${rest} further bytes are left out]\n` : '';
  if (TEXTS.has(job.extension)) return { text: head.toString('utf8') + note, image: null };
  if (IMAGES.has(job.extension)) {
    const image = material.bytes <= MEBIBYTE ? head : null;
    return { text: `# ${job.fileName}\n\nAn image of ${material.bytes} bytes.\n`, image };
  }
  const text = job.extension === 'pdf' ? pdfText(head) : '';
  if (text !== '') return { text: `# ${job.fileName}\n\n${text}\n${note}`, image: null };
  return {
    text: `# ${job.fileName}\n\nThe sandbox cannot read this format. ${material.bytes} bytes were uploaded.\n`,
    image: null,
  };
}

async function countedPages(job: KnowhereJob, { path, bytes }: Upload): Promise<number> {
  if (IMAGES.has(job.extension)) return 1;
  if (TEXTS.has(job.extension)) return Math.max(1, Math.ceil(bytes / 3_000));
  if (job.extension === 'pdf') {
    const pages = pdfPages(await beginning(path));
    if (pages !== null) return pages;
  }
  return Math.max(1, Math.ceil(bytes / 50_000));
}

function tooManyPages(pages: number, settings: KnowhereSettings): string | null {
  return pages > settings.maxPages
    ? `Document has ${pages} pages, more than the maximum of ${settings.maxPages}`
    : null;
}

function urlText(job: KnowhereJob): string {
  const pages = job.material?.pages ?? 1;
  const parts = [`# ${job.fileName}`, `Source: ${job.sourceUrl ?? job.fileName}`];
  for (let page = 1; page <= Math.min(pages, 100); page += 1) {
    parts.push(`## Page ${page}`, `The sandbox fetches nothing: this is page ${page} of ${pages} of ${job.fileName}.`);
  }
  return `${parts.join('\n\n')}\n`;
}

async function beginning(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, READ_BYTES));
    let filled = 0;
    while (filled < buffer.length) {
      const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  } finally {
    await file.close();
  }
}
