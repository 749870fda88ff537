import { inflateSync } from 'node:zlib';

const LARGEST_STREAM_BYTES = 4 * 1_048_576;

/** Pages of a PDF, counted by its page objects; null when they cannot be seen (packed into object streams). */
export function pdfPages(pdf: Buffer): number | null {
  const count = pdf.toString('latin1').match(/\/Type\s*\/Page(?![A-Za-z])/g)?.length ?? 0;
  return count === 0 ? null : count;
}

/**
 * The literal strings that a PDF's content streams show, plain or deflated. Best effort: fonts with encodings of their
 * own give nothing readable, and such strings are left out.
 */
export function pdfText(pdf: Buffer): string {
  const lines: string[] = [];
  for (const content of contentStreams(pdf)) {
    for (const block of content.matchAll(/BT\b([\s\S]*?)\bET\b/g)) {
      const line = shownStrings(block[1] ?? '');
      if (isReadable(line)) lines.push(line);
    }
  }
  return lines.join('\n');
}

function* contentStreams(pdf: Buffer): Generator<string> {
  const text = pdf.toString('latin1');
  for (const match of text.matchAll(/<<((?:(?!stream)[\s\S]){0,2000}?)>>\s*stream\r?\n/g)) {
    const start = match.index + match[0].length;
    const stop = text.indexOf('endstream', start);
    if (stop === -1) return;
    const dictionary = match[1] ?? '';
    if (!dictionary.includes('FlateDecode')) {
      if (!dictionary.includes('/Filter')) yield text.slice(start, stop);
      continue;
    }
    try {
      yield inflateSync(pdf.subarray(start, stop), { maxOutputLength: LARGEST_STREAM_BYTES }).toString('latin1');
    } catch {
      // A stream that does not unpack has no text to give.
    }
  }
}

/** Strings of the show operators; a large gap between parts of one array is a space, a new line moves on. */
function shownStrings(block: string): string {
  let line = '';
  for (const [, literal, gap, operator] of block.matchAll(
    /\(((?:\\[\s\S]|[^\\()])*)\)|(?<!\d)(-?\d+(?:\.\d+)?)(?=\s*\()|(\bTd\b|\bTD\b|T\*|')/g,
  )) {
    if (literal !== undefined) line += unescaped(literal);
    else if (gap !== undefined && Number(gap) < -150 && !line.endsWith(' ')) line += ' ';
    else if (operator !== undefined && line !== '' && !line.endsWith('\n')) line += '\n';
  }
  return line.trim();
}

function unescaped(literal: string): string {
  const named: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '', f: '' };
  return literal.replace(/\\([0-7]{1,3}|\r?\n|[\s\S])/g, (_whole, code: string) => {
    if (/^[0-7]/.test(code)) return String.fromCharCode(Number.parseInt(code, 8) & 0xff);
    if (/^[\r\n]/.test(code)) return '';
    return named[code] ?? code;
  });
}

function isReadable(text: string): boolean {
  if (text === '') return false;
  const printable = text.replace(/[^\n\r\t\x20-\x7e\xa0-\xff]/g, '').length;
  return printable / text.length > 0.9;
}
