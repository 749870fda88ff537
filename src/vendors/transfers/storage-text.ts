import { clip } from '../../core/json.ts';
import { formsOf, redactText, withoutForms } from '../../core/redact.ts';

/**
 * What a storage says, for people. S3 quotes the request that it was sent, in several encodings, so only its code and
 * sentence are taken where it has them; and whatever stands in a link's query, or in a signed header, goes before
 * anything is cut.
 * @param headers - those that were sent
 */
export function readable(text: string, links: readonly URL[], headers: Readonly<Record<string, string>> = {}): string {
  const [code, sentence] = ['Code', 'Message'].map((name) => readElement(text, name));
  const said = code === undefined ? text : `${code}: ${sentence ?? 'no message'}`;
  const values = [...links.flatMap((link) => [...link.searchParams.values()]), ...secretValues(headers)];
  const forms = values.flatMap((value) => [...formsOf(value), ...formsOf(escapeXml(value))]);
  const plain = withoutForms(said, forms)
    .replace(/<[^<>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return clip(redactText(plain), 300);
}

/** The text of the first such element of an XML document; undefined where there is none. */
function readElement(xml: string, name: string): string | undefined {
  const start = xml.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const from = start + name.length + 2;
  const end = xml.indexOf(`</${name}>`, from);
  return end < 0 ? undefined : xml.slice(from, end);
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Values of signed headers can be credentials, such as a session token; kinds of content are not. */
function secretValues(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (/^content-type$/i.test(name) ? [] : [value]));
}
