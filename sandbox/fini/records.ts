import { randomUUID } from 'node:crypto';
import { disturbedRows } from '../faults/row-faults.ts';
import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { invalidReply, plainError } from './errors.ts';
import { documentIdsBody, isUuid, read } from './input.ts';
import { absence } from './job-status.ts';
import { type FiniRecord, sourceKinds } from './model.ts';
import { type FiniParts, type FiniRequest, struck } from './parts.ts';
import { shownRecord } from './render.ts';

/** GET /v2/documents/public/{id} */
export function oneRecord({ library, work, settings }: FiniParts, { call, admission, grant }: FiniRequest): Reply {
  const id = admission.jobId ?? '';
  if (!isUuid(id)) return plainError(400, 'id must be a UUID', settings());
  const record = library.record(id);
  if (record === undefined) return plainError(404, 'Source not found', settings());
  if (record.workspace !== grant.workspace) {
    return plainError(403, 'Source belongs to a different workspace', settings());
  }
  // The run that is on its way is the one that the caller waits for.
  const job = record.next ?? record.run;
  if (job !== null) {
    work.look(job);
    const hidden = absence(job);
    if (hidden !== null) {
      call.faultNames.push(hidden);
      return plainError(404, 'Source not found', settings());
    }
  }
  const shown = shownRecord(record, settings());
  if (!isChangeDenied(record)) return json(200, shown);
  call.faultNames.push('changed-late');
  return json(200, { ...shown, changed: false });
}

/** A record that is behind: what the list says of its change, it does not say yet. */
function isChangeDenied(record: FiniRecord): boolean {
  const { run } = record;
  const late = run?.phase === 'ended' && record.changed ? traitOf(run.faults, 'changed-late') : undefined;
  if (late === undefined) return false;
  record.deniedChanges += 1;
  return late === '0' || record.deniedChanges <= Number(late);
}

/**
 * GET /v2/documents/public: by `updatedAt`, newest first, then `externalId`. A record that is being worked on moves to
 * the front, so a walk by cursor can skip rows or meet them twice; that is the vendor's order, not a fault.
 */
export function listRecords(parts: FiniParts, request: FiniRequest): Reply {
  const { library, settings } = parts;
  const query = readQuery(request.call.query, settings().maxListLimit);
  if (Array.isArray(query)) return invalidReply(query, settings());
  const { workspace } = request.grant;
  const all = [...library.records()].filter((record) => record.workspace === workspace);
  const position = query.cursor === null ? undefined : all.find((record) => record.id === query.cursor);
  if (query.cursor !== null && position === undefined) return plainError(400, 'cursor was not found', settings());
  const rows = all.filter(query.fits).sort(newestFirst);
  const beyond =
    position === undefined
      ? rows
      : rows.filter((row) => {
          const order = newestFirst(row, position);
          return query.direction === 'next' ? order > 0 : order < 0;
        });
  // `previous` walks towards newer rows, and shows the nearest ones in the usual order.
  const isBackward = query.direction === 'previous' && position !== undefined;
  const page = isBackward ? beyond.slice(-query.limit) : beyond.slice(0, query.limit);
  const shown = page.map((record) => shownRecord(record, settings()));
  const shift = struck(request, 'list-shifts');
  if (shift !== undefined) {
    const [last, following] = [page.at(-1), beyond[page.length]];
    if (last !== undefined && shift !== 'skip') library.touch(last);
    if (following !== undefined && shift !== 'repeat') library.touch(following);
  }
  const foreignRow = () => ({ ...shown[0], id: randomUUID(), originalUrl: 'https://example.com/foreign' });
  return json(200, {
    documents: disturbedRows<Record<string, unknown>>(shown, request.faults.active, foreignRow),
    hasMore: beyond.length > page.length,
  });
}

/** DELETE /v2/documents/public */
export function deleteRecords({ library, settings }: FiniParts, request: FiniRequest): Reply {
  const body = read(documentIdsBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, settings());
  const records: FiniRecord[] = [];
  for (const id of new Set(body.documentIds)) {
    const record = library.record(id);
    if (record === undefined) return plainError(400, 'One or more source IDs were not found', settings());
    if (record.workspace !== request.grant.workspace) {
      return plainError(403, 'Source belongs to a different workspace', settings());
    }
    records.push(record);
  }
  for (const record of records) library.removeRecord(record);
  const articles = records.map((record) => record.linkedKnowledgeId).filter((id) => id !== null);
  const deletedArticles = body.deleteArticles === true ? library.removeArticles(new Set(articles)) : [];
  return json(200, { deletedDocuments: records.map((record) => record.id), deletedArticles });
}

interface ListQuery {
  readonly limit: number;
  readonly cursor: string | null;
  readonly direction: 'next' | 'previous';
  readonly fits: (record: FiniRecord) => boolean;
}

/** The filters on title, URL and links exist; their names are not documented, so these are ours. */
function readQuery(query: URLSearchParams, maxLimit: number | null): ListQuery | string[] {
  const wrong: string[] = [];
  const word = <T extends string>(name: string, words: readonly T[]): T | null => {
    const value = query.get(name);
    if (value === null || words.includes(value as T)) return value as T | null;
    wrong.push(`${name} must be one of ${words.join(', ')}`);
    return null;
  };
  const limitText = query.get('limit') ?? '50';
  const limit = Number(limitText);
  if (!/^\d{1,9}$/.test(limitText) || limit < 1) wrong.push('limit must be a positive whole number');
  const direction = word('direction', ['next', 'previous']) ?? 'next';
  const source = word('source', sourceKinds);
  const english = word('english', ['true', 'false']);
  const changed = word('changed', ['true', 'false']);
  if (wrong.length > 0) return wrong;
  const part = (name: string) => query.get(name)?.toLowerCase();
  const [title, url] = [part('title'), part('originalUrl')];
  const [id, knowledgeId] = [query.get('id'), query.get('linkedKnowledgeId')];
  const operation = query.get('linkedOperation');
  return {
    limit: Math.min(limit, maxLimit ?? limit),
    cursor: query.get('cursor'),
    direction,
    fits: (record) =>
      (source === null || record.source === source) &&
      (english === null || String(record.english) === english) &&
      (changed === null || String(record.changed) === changed) &&
      (title === undefined || record.title.toLowerCase().includes(title)) &&
      (url === undefined || record.originalUrl.toLowerCase().includes(url)) &&
      (id === null || record.id === id) &&
      (knowledgeId === null || record.linkedKnowledgeId === knowledgeId) &&
      (operation === null || record.linkedOperation === operation),
  };
}

function newestFirst(one: FiniRecord, other: FiniRecord): number {
  if (one.updatedAtMs !== other.updatedAtMs) return other.updatedAtMs - one.updatedAtMs;
  return one.externalId === other.externalId ? 0 : one.externalId < other.externalId ? 1 : -1;
}
