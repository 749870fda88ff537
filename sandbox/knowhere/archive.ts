import { createHash } from 'node:crypto';
import { ZipFile } from 'yazl';
import { traitOf } from '../faults/traits.ts';
import { chunked, type Chunked } from './chunks.ts';
import type { JobEnd, KnowhereJob } from './job.ts';
import { documentContent } from './material.ts';
import { documentNavigation } from './navigation.ts';
import { docTime, implTime } from './render.ts';

const CACHE_BYTES = 64 * 1_048_576;
/** Two names of one length: ZIP writers refuse the second, so it is written over the first. */
const HARMLESS_NAME = 'xx/sandbox-evil.txt';
const EVIL_NAME = '../sandbox-evil.txt';

/**
 * Makes a result ZIP at the first request for it. The same job always gives the same bytes, so only size and hash are kept
 * for each job, and the bytes of the latest ones.
 */
export class ArchiveShelf {
  readonly #cache = new Map<string, Buffer>();
  readonly #underWay = new Map<string, Promise<Buffer>>();
  #cachedBytes = 0;

  /** Lower-case hex SHA-256 of the ZIP of a job that is done. */
  async sha256(job: KnowhereJob, end: JobEnd): Promise<string> {
    if (job.archive === null) await this.bytes(job, end);
    return job.archive?.sha256 ?? '';
  }

  /** The ZIP of a job that is done. */
  async bytes(job: KnowhereJob, end: JobEnd): Promise<Buffer> {
    const cached = this.#cache.get(job.id);
    if (cached !== undefined) return cached;
    let building = this.#underWay.get(job.id);
    if (building === undefined) {
      building = this.#build(job, end).finally(() => this.#underWay.delete(job.id));
      this.#underWay.set(job.id, building);
    }
    return building;
  }

  clear(): void {
    this.#cache.clear();
    this.#cachedBytes = 0;
  }

  async #build(job: KnowhereJob, end: JobEnd): Promise<Buffer> {
    const bytes = await zipped(await entries(job, end), new Date(end.atMs));
    job.archive ??= { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length };
    this.#cache.set(job.id, bytes);
    this.#cachedBytes += bytes.length;
    for (const [id, old] of this.#cache) {
      if (this.#cachedBytes <= CACHE_BYTES) break;
      this.#cache.delete(id);
      this.#cachedBytes -= old.length;
    }
    return bytes;
  }
}

type Entry = readonly [path: string, content: Buffer];

async function entries(job: KnowhereJob, end: JobEnd): Promise<Entry[]> {
  const { text, image } = await documentContent(job);
  const imagePath = image === null ? null : `images/${job.fileName.replace(/[/\\]/g, '_')}`;
  const parsed = chunked(text, job.fileName, imagePath);
  const isDoc = job.dialect === 'doc';
  // Old ZIPs hold a bare list.
  const chunks = jsonFile(isDoc ? parsed.chunks : { chunks: parsed.chunks });
  const manifest = isDoc ? docManifest(job, end, parsed) : implManifest(job, end, parsed);
  const files: Entry[] = [
    ['manifest.json', jsonFile(manifest)],
    ['chunks.json', chunks],
    [isDoc ? 'content.md' : 'full.md', Buffer.from(text)],
  ];
  if (!isDoc) {
    files.push(['doc_nav.json', jsonFile(documentNavigation(parsed, job.fileName))]);
    if (parsed.headings.length > 0) files.push(['toc_hierarchies.json', jsonFile(parsed.headings)]);
  }
  for (const { path, html } of parsed.tables) files.push([path, Buffer.from(html)]);
  if (image !== null && imagePath !== null) files.push([imagePath, image]);
  if (traitOf(job.faults, 'result-zip-slip') !== undefined)
    files.push([HARMLESS_NAME, Buffer.from('outside of the folder\n')]);
  return files;
}

function statistics(job: KnowhereJob, { chunks }: Chunked) {
  const count = (type: string) => chunks.filter((chunk) => chunk.type === type).length;
  return {
    total_pages: job.material?.pages ?? 1,
    total_chunks: chunks.length,
    text_chunks: count('text'),
    image_chunks: count('image'),
    table_chunks: count('table'),
  };
}

function docManifest(job: KnowhereJob, end: JobEnd, parsed: Chunked) {
  return {
    version: '1.0',
    job_id: job.id,
    data_id: job.dataId,
    source_file_name: job.fileName,
    processing_date: docTime(end.atMs),
    // The documented `checksum` is left out: no file can hold the hash of the archive that it is in, and the vendor's own
    // SDK compares it with just that.
    statistics: statistics(job, parsed),
  };
}

function implManifest(job: KnowhereJob, end: JobEnd, parsed: Chunked) {
  const pages = job.material?.pages ?? 1;
  return {
    version: '2.0',
    job_id: job.id,
    data_id: job.dataId,
    source_file_name: job.fileName,
    processing_date: implTime(end.atMs),
    processing: {
      page_count: pages,
      billing_status: 'charged',
      cost: { credits: pages },
      timing: {
        started_at: implTime(job.createdAtMs),
        completed_at: implTime(end.atMs),
        duration_ms: Math.round(end.atMs - job.createdAtMs),
      },
      stages: ['fetch', 'parse', 'chunk', 'package'],
    },
    statistics: statistics(job, parsed),
    HIERARCHY: parsed.headings,
  };
}

function jsonFile(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

async function zipped(files: readonly Entry[], modifiedAt: Date): Promise<Buffer> {
  const zip = new ZipFile();
  for (const [path, content] of files) {
    // Small files are stored plain: thousands of jobs must not wait for a compressor.
    zip.addBuffer(content, path, { mtime: modifiedAt, compress: content.length > 4_096 });
  }
  zip.end();
  const parts: Buffer[] = [];
  for await (const part of zip.outputStream) parts.push(part as Buffer);
  const bytes = Buffer.concat(parts);
  for (let at = bytes.indexOf(HARMLESS_NAME); at !== -1; at = bytes.indexOf(HARMLESS_NAME, at)) {
    bytes.write(EVIL_NAME, at, 'latin1');
  }
  return bytes;
}
