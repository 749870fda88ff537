import { readFileSync } from 'node:fs';

/** The sandbox's README and the pages of its vendors, as one text. */
export function readPages(): string {
  const pages = ['README.md', 'knowhere/README.md', 'fini/README.md', 'sharely/README.md'];
  return pages.map((page) => readFileSync(new URL(`../../sandbox/${page}`, import.meta.url), 'utf8')).join('\n');
}
