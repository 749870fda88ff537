import { createHash } from 'node:crypto';

/** One piece of a parsed document, in the vendor's words. */
export interface Chunk {
  readonly chunk_id: string;
  readonly type: 'text' | 'image' | 'table';
  readonly content: string;
  readonly path: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A parsed document: its chunks, its headings, its tables as HTML files. */
export interface Chunked {
  readonly chunks: readonly Chunk[];
  readonly headings: readonly { readonly level: number; readonly title: string }[];
  readonly tables: readonly { readonly path: string; readonly html: string }[];
}

const LARGEST_CHUNK = 4_000;

/** Cuts Markdown or plain text at headings and tables, and long sections at blank lines. */
export function chunked(text: string, fileName: string, imagePath: string | null): Chunked {
  const chunks: Chunk[] = [];
  const headings: { level: number; title: string }[] = [];
  const tables: { path: string; html: string }[] = [];
  let path = fileName;
  let section: string[] = [];

  const add = (type: Chunk['type'], content: string, metadata: Chunk['metadata']) => {
    const hash = createHash('sha1').update(`${chunks.length}\n${content}`).digest('hex').slice(0, 16);
    chunks.push({ chunk_id: `chunk_${hash}`, type, content, path, metadata });
  };
  const flush = () => {
    for (const piece of pieces(section.join('\n').trim())) add('text', piece, { length: piece.length });
    section = [];
  };

  for (const block of blocks(text)) {
    const heading = /^(#{1,6}) +(\S.*)$/m.exec(block);
    if (block.startsWith('|') && block.includes('\n|')) {
      flush();
      const file = `tables/table-${tables.length + 1}.html`;
      tables.push({ path: file, html: tableHtml(block) });
      add('table', block, { file_path: file });
    } else {
      if (heading !== null && block.startsWith('#')) {
        flush();
        headings.push({ level: heading[1]?.length ?? 1, title: heading[2] ?? '' });
        path = `${fileName}/${heading[2] ?? ''}`;
      }
      section.push(block, '');
    }
  }
  flush();
  if (imagePath !== null) add('image', fileName, { file_path: imagePath });
  return { chunks, headings, tables };
}

function blocks(text: string): string[] {
  return text
    .split(/\r?\n\s*\r?\n|(?=^#{1,6} )/m)
    .map((block) => block.trim())
    .filter((block) => block !== '');
}

function pieces(section: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < section.length; at += LARGEST_CHUNK) found.push(section.slice(at, at + LARGEST_CHUNK));
  return found;
}

function tableHtml(block: string): string {
  const rows = block
    .split('\n')
    .filter((row) => !/^\|[\s:|-]+\|?$/.test(row))
    .map((row) => row.replace(/^\||\|$/g, '').split('|'));
  const cells = rows.map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell.trim())}</td>`).join('')}</tr>`);
  return `<table>\n${cells.join('\n')}\n</table>\n`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
