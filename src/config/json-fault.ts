/**
 * Finds where a text stops being JSON. The message of `JSON.parse` quotes the text, and a file that was named by mistake
 * may contain a key.
 */
export function findJsonFault(text: string): { line: number; column: number } {
  const at = lengthOfJson(text);
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: at - lineStart + 1 };
}

/** What may come next. */
type Expected = 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or close' | 'end';

const blanks = /[ \t\r\n]*/y;
// eslint-disable-next-line no-control-regex -- a string must not contain control characters
const stringToken = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const scalarToken = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** @returns the offset of the first character that cannot be where it is; the text's length if the end is missing */
function lengthOfJson(text: string): number {
  const open: ('{' | '[')[] = [];
  let at = 0;
  let expected: Expected = 'value';
  const take = (token: RegExp): boolean => {
    token.lastIndex = at;
    if (!token.test(text)) return false;
    at = token.lastIndex;
    return true;
  };
  const closed = (): Expected => (open.length === 0 ? 'end' : ', or close');
  for (;;) {
    take(blanks);
    const character = text[at];
    if (character === undefined || expected === 'end') return at;
    const isClosing = character === (open.at(-1) === '{' ? '}' : ']') && open.length > 0;
    if (isClosing && (expected === ', or close' || expected === 'value or ]' || expected === 'name or }')) {
      at += 1;
      open.pop();
      expected = closed();
    } else if (expected === ':' || expected === ', or close') {
      if (character !== (expected === ':' ? ':' : ',')) return at;
      at += 1;
      expected = expected === ':' || open.at(-1) === '[' ? 'value' : 'name';
    } else if (expected === 'name' || expected === 'name or }') {
      if (!take(stringToken)) return at;
      expected = ':';
    } else if (character === '{' || character === '[') {
      at += 1;
      open.push(character);
      expected = character === '{' ? 'name or }' : 'value or ]';
    } else {
      if (!take(stringToken) && !take(scalarToken)) return at;
      expected = closed();
    }
  }
}
