/** Parses a line of JSON in which no object has a key twice; JSON.parse would take the last one without a word. */
export function parseStrictly(line: string): Record<string, unknown> {
  const value = JSON.parse(line) as Record<string, unknown>;
  // What was parsed has each key once, so its text has as many as the line, where none was there twice.
  if (countKeys(line) !== countKeys(JSON.stringify(value))) throw new Error(`a key stands twice in ${line}`);
  return value;
}

/** A text is a key where a colon follows. */
function countKeys(json: string): number {
  return [...json.matchAll(/"(?:[^"\\]|\\.)*"\s*(:?)/g)].filter(([, colon]) => colon === ':').length;
}
