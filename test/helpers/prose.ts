import ts from 'typescript';

/** A piece of text that people read, and the line where it starts. */
export interface Prose {
  line: number;
  text: string;
}

/**
 * The prose of a Markdown page, one piece per line. Left out: code, addresses of links, quotations, and names of tests, which are
 * the last column of tables headed `Test` or `Case`, or stand in brackets after the name of a test file.
 */
export function proseOfMarkdown(page: string): Prose[] {
  let isCode = false;
  let namesTests = false;
  return page.split('\n').flatMap((source, index) => {
    if (/^\s*```/.test(source)) {
      isCode = !isCode;
      return [];
    }
    if (isCode) return [];
    if (!source.startsWith('|')) namesTests = false;
    else if (/\|\s*(?:Test|Case)\s*\|\s*$/.test(source)) namesTests = true;
    const row = namesTests ? source.replace(/\|[^|]*\|\s*$/, '|') : source;
    const text = row
      .replace(/<!--.*?-->/g, ' ')
      .replace(/`[^`]*`/g, '`…`')
      .replace(/"[^"]*"|“[^“”]*”/g, '"…"')
      .replace(/\]\([^)]*\)/g, ']')
      .replace(/\([a-z-]+: [^)]*\)/g, '(…)');
    return [{ line: index + 1, text }];
  });
}

/** The comments and texts of a TypeScript file. Code in backquotes inside a comment is left out. */
export function proseOfSource(source: string): Prose[] {
  const file = ts.createSourceFile('source.ts', source, ts.ScriptTarget.Latest, true);
  const found = new Map<number, Prose>();
  const add = (position: number, text: string): void => {
    found.set(position, { line: file.getLineAndCharacterOfPosition(position).line + 1, text });
  };
  const addComments = (ranges: readonly ts.CommentRange[] | undefined): void => {
    for (const { pos, end } of ranges ?? []) {
      const comment = source.slice(pos, end).replace(/\n[ \t]*(?:\*|\/\/)/g, '\n');
      add(pos, comment.replace(/`[^`\n]*`/g, '`…`'));
    }
  };
  const visit = (node: ts.Node): void => {
    addComments(ts.getLeadingCommentRanges(source, node.getFullStart()));
    addComments(ts.getTrailingCommentRanges(source, node.getEnd()));
    const isText = ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node);
    if (isText) add(node.getStart(), node.text);
    for (const child of node.getChildren(file)) visit(child);
  };
  visit(file);
  return [...found.values()].sort((one, other) => one.line - other.line);
}
