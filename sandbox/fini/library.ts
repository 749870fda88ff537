import { randomUUID } from 'node:crypto';
import type { BoundFault } from '../faults/definition.ts';
import type { FiniJob, FiniRecord, Save, SourceKind } from './model.ts';

/** What a new record may bring along; the rest has defaults. */
export type NewRecord = { readonly workspace: string; readonly source: SourceKind; readonly originalUrl: string } & {
  readonly faults: readonly BoundFault[];
} & Partial<Omit<FiniRecord, 'id' | 'workspace' | 'source' | 'originalUrl' | 'faults'>>;

/** All records, jobs and saves of all workspaces. */
export class Library {
  readonly #records = new Map<string, FiniRecord>();
  readonly #byUrl = new Map<string, FiniRecord>();
  readonly #jobs = new Map<string, FiniJob>();
  #saves: Save[] = [];

  addRecord(fields: NewRecord): FiniRecord {
    const now = Date.now();
    const record: FiniRecord = {
      title: titleOf(fields.originalUrl),
      externalId: randomUUID(),
      mimeType: 'text/markdown',
      type: 'page',
      english: true,
      baser: false,
      paragraphs: [],
      oldParagraphs: [],
      success: false,
      error: '',
      createdAtMs: now,
      updatedAtMs: now,
      run: null,
      shownJobId: null,
      next: null,
      linkedKnowledgeId: null,
      linkedOperation: null,
      changed: false,
      deniedChanges: 0,
      runFaults: [],
      ...fields,
      id: randomUUID(),
    };
    this.#records.set(record.id, record);
    const key = urlKey(record.workspace, record.originalUrl);
    if (!this.#byUrl.has(key)) this.#byUrl.set(key, record);
    return record;
  }

  record(id: string): FiniRecord | undefined {
    return this.#records.get(id);
  }

  recordByUrl(workspace: string, url: string): FiniRecord | undefined {
    return this.#byUrl.get(urlKey(workspace, url));
  }

  records(): Iterable<FiniRecord> {
    return this.#records.values();
  }

  removeRecord(record: FiniRecord): void {
    this.#records.delete(record.id);
    for (const [key, known] of this.#byUrl) if (known === record) this.#byUrl.delete(key);
  }

  /** The page redirects: its record shows where to, and is known by both addresses. */
  redirect(record: FiniRecord, url: string): void {
    record.originalUrl = url;
    const key = urlKey(record.workspace, url);
    if (!this.#byUrl.has(key)) this.#byUrl.set(key, record);
  }

  /** Puts a record at the front of lists. */
  touch(record: FiniRecord, atMs = Date.now()): void {
    // Always another value than before: clients tell runs apart by it.
    record.updatedAtMs = Math.max(Math.floor(atMs), record.updatedAtMs + 1);
  }

  addJob(job: FiniJob): void {
    this.#jobs.set(job.id, job);
  }

  job(id: string): FiniJob | undefined {
    return this.#jobs.get(id);
  }

  /** Newest first. */
  jobsNewestFirst(): FiniJob[] {
    return [...this.#jobs.values()].reverse();
  }

  addSave(save: Save): void {
    this.#saves.push(save);
  }

  saves(): readonly Save[] {
    return this.#saves;
  }

  /** Drops the saves of some articles. @returns the ids that existed */
  removeArticles(articleIds: ReadonlySet<string>): string[] {
    const isOf = (id: string | null): id is string => id !== null && articleIds.has(id);
    const found = new Set(this.#saves.map((save) => save.articleId).filter(isOf));
    this.#saves = this.#saves.filter((save) => !isOf(save.articleId));
    return [...found];
  }

  clear(): void {
    this.#records.clear();
    this.#byUrl.clear();
    this.#jobs.clear();
    this.#saves = [];
  }
}

function urlKey(workspace: string, url: string): string {
  return `${workspace} ${url}`;
}

/** The last part of a URL's path, without markers: those stay with the URL. */
function titleOf(url: string): string {
  const path = url.split(/[?#]/, 1)[0] ?? url;
  const last = path.split('/').filter(Boolean).at(-1) ?? url;
  return last.replace(/\.fault-[^.]*/g, '') || 'Untitled';
}
