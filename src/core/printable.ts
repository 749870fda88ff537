/**
 * What a terminal acts on instead of showing it: C0 and C1 controls (but for tab and line feed), DEL, the line separators of
 * Unicode, and the marks that change the direction of text, with which a text can pretend to be another.
 */
// eslint-disable-next-line no-control-regex -- these are what it looks for
const unprintable = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text that a terminal, a log or a page shows as it is: what they would act on is written as `\x1b` or `\u202e`. */
export function printable(text: string): string {
  return text.replace(unprintable, escape);
}

/** The same in one line: a text from outside must not look like a line of ours. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\t\n]/g, escape);
}

function escape(character: string): string {
  const code = character.charCodeAt(0).toString(16);
  return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`;
}
