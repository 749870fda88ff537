import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

/** The pages that an index links to, as it writes them. */
function linkedFrom(index: string): Set<string> {
  return new Set([...readFileSync(index, 'utf8').matchAll(/\]\(([^)#]+)/g)].map(([, to = '']) => to));
}

it('the reading order names every page of docs', () => {
  const linked = linkedFrom('docs/README.md');
  const pages = readdirSync('docs', { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.md') && file !== 'README.md' && !/^decisions\/\d/.test(file),
  );
  expect(pages.length).toBeGreaterThan(10);
  expect(pages.filter((page) => !linked.has(page))).toEqual([]);
});

it('the index of decisions names every record, numbered without a gap', () => {
  const linked = linkedFrom('docs/decisions/README.md');
  const records = readdirSync('docs/decisions').filter((file) => file !== 'README.md');
  expect(records.filter((record) => !linked.has(record))).toEqual([]);
  expect(records.sort().map((record) => Number(record.slice(0, 4)))).toEqual(records.map((_, index) => index + 1));
});
