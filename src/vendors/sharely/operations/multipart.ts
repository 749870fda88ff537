import { randomUUID } from 'node:crypto';
import type { OpenFile } from '../../../ports/vendor-adapter.ts';

export interface MultipartFile {
  field: string;
  fileName: string;
  file: OpenFile;
}

/**
 * A multipart/form-data body that streams one file and holds nothing but a chunk of it. Its length is known before,
 * because gateways refuse uploads without one. `FormData` would need the file as a blob in memory.
 */
export function multipart(
  fields: Readonly<Record<string, string | undefined>>,
  { field, fileName, file }: MultipartFile,
): { body: ReadableStream<Uint8Array>; headers: Record<string, string> } {
  const boundary = `jobferry-${randomUUID()}`;
  const texts = Object.entries(fields).map(([name, value]) =>
    value === undefined
      ? ''
      : `--${boundary}\r\ncontent-disposition: form-data; name="${quote(name)}"\r\n\r\n${value}\r\n`,
  );
  // Fields first: whoever reads the stream knows them before the file comes.
  const head = Buffer.from(
    `${texts.join('')}--${boundary}\r\n` +
      `content-disposition: form-data; name="${quote(field)}"; filename="${quote(fileName)}"\r\n` +
      `content-type: ${mediaTypeOf(fileName)}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    body: ReadableStream.from<Uint8Array>(parts()),
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + file.size + tail.length),
    },
  };

  async function* parts(): AsyncGenerator<Uint8Array> {
    yield head;
    yield* file.stream();
    yield tail;
  }
}

/** As browsers do it. */
function quote(text: string): string {
  return text.replace(/"/g, '%22').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

const mediaTypes: Readonly<Record<string, string>> = {
  csv: 'text/csv',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  htm: 'text/html',
  html: 'text/html',
  json: 'application/json',
  md: 'text/markdown',
  pdf: 'application/pdf',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  rtf: 'application/rtf',
  txt: 'text/plain',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  xml: 'application/xml',
};

function mediaTypeOf(fileName: string): string {
  const extension = /\.([A-Za-z0-9]{1,10})$/.exec(fileName)?.[1]?.toLowerCase() ?? '';
  return (Object.hasOwn(mediaTypes, extension) ? mediaTypes[extension] : undefined) ?? 'application/octet-stream';
}
