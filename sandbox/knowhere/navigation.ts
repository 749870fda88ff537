import type { Chunk, Chunked } from './chunks.ts';

/** A section in `doc_nav.json`; those of lower levels stand in `children`. */
export interface NavigationSection {
  readonly title: string;
  /** As its chunks have it. */
  readonly path: string;
  readonly level: number;
  readonly summary: string | null;
  readonly chunk_count: number;
  readonly children: NavigationSection[];
}

interface Resource {
  readonly path: string;
  readonly summary: string | null;
}

/** What `doc_nav.json` holds, in the form that the vendor's own SDK reads: nothing but optional fields may be missing. */
export function documentNavigation(
  { chunks, headings }: Chunked,
  fileName: string,
): { sections: NavigationSection[]; resources: { images: Resource[]; tables: Resource[] } } {
  const counts = new Map<string, number>();
  for (const { path } of chunks) counts.set(path, (counts.get(path) ?? 0) + 1);
  const sections: NavigationSection[] = [];
  const open: NavigationSection[] = [];
  for (const { level, title } of headings) {
    const path = `${fileName}/${title}`;
    const section = { title, path, level, summary: null, chunk_count: counts.get(path) ?? 0, children: [] };
    while ((open.at(-1)?.level ?? 0) >= level) open.pop();
    (open.at(-1)?.children ?? sections).push(section);
    open.push(section);
  }
  return { sections, resources: { images: resources(chunks, 'image'), tables: resources(chunks, 'table') } };
}

function resources(chunks: readonly Chunk[], type: Chunk['type']): Resource[] {
  const found = chunks.filter((chunk) => chunk.type === type);
  return found.map(({ metadata }) => ({ path: String(metadata['file_path']), summary: null }));
}
