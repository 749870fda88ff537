import { traitOf } from '../faults/traits.ts';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { invalidReply, plainError } from './errors.ts';
import { documentIdsBody, ingestBody, isWebUrl, read } from './input.ts';
import type { FiniJob, FiniRecord, SourceKind } from './model.ts';
import { type FiniParts, type FiniRequest, jobFaults, noteJobs, struck } from './parts.ts';

/** POST /v2/documents/public: queues first ingestions and refreshes; URLs for `web`, record ids otherwise. */
export function ingest(parts: FiniParts, request: FiniRequest): Reply {
  const settings = parts.settings();
  const body = read(ingestBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, settings);
  const { source, documentIdsToAdd, documentIdsToRefresh } = body;
  if (documentIdsToAdd.length + documentIdsToRefresh.length === 0) {
    return invalidReply(['documentIdsToAdd or documentIdsToRefresh must not be empty'], settings);
  }
  const wrong = wrongValues(source, { documentIdsToAdd, documentIdsToRefresh });
  if (wrong.length > 0) return invalidReply(wrong, settings);
  const found = source === 'web' ? webRecords(parts, request, body) : providerRecords(parts, request, source, body);
  if ('status' in found) return found;
  const { added, updated } = found;
  for (const record of [...added, ...updated]) {
    record.english = body.english ?? record.english;
    record.baser = body.baser ?? record.baser;
  }
  const jobs = [...added, ...updated].map((record) => queueRun(parts, request, record));
  noteJobs(
    request.call,
    jobs.map((job) => job.id),
  );
  return json(settings.postStatus, {
    addedDocumentIds: fewer(request, ids(added)),
    updatedDocumentIds: added.length > 0 ? ids(updated) : fewer(request, ids(updated)),
  });
}

/** POST /v2/documents/public/refresh: refreshes by record ids; answers a bare array. */
export function refresh(parts: FiniParts, request: FiniRequest): Reply {
  const settings = parts.settings();
  const body = read(documentIdsBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, settings);
  const records = new Set<FiniRecord>();
  for (const id of body.documentIds) {
    const record = parts.library.record(id);
    // One bad id refuses the whole request; nothing is queued.
    if (record === undefined) return plainError(400, 'One or more source IDs were not found', settings);
    if (record.workspace !== request.grant.workspace) return foreign(parts);
    if (record.source === 'files') {
      return plainError(400, 'Raw file sources cannot be refreshed; delete and upload them again', settings);
    }
    records.add(record);
  }
  const jobs = [...records].map((record) => queueRun(parts, request, record));
  noteJobs(
    request.call,
    jobs.map((job) => job.id),
  );
  return json(settings.postStatus, fewer(request, ids([...records])));
}

interface Found {
  readonly added: readonly FiniRecord[];
  readonly updated: readonly FiniRecord[];
}

interface Lists {
  readonly documentIdsToAdd: readonly string[];
  readonly documentIdsToRefresh: readonly string[];
}

function webRecords({ library, marks, settings }: FiniParts, request: FiniRequest, lists: Lists): Found | Reply {
  const { grant } = request;
  const { addKnownUrl } = settings();
  const { workspace } = grant;
  const unknown = lists.documentIdsToRefresh.filter((url) => library.recordByUrl(workspace, url) === undefined);
  if (unknown.length > 0) return plainError(400, 'One or more URLs to refresh are not known', settings());
  const added: FiniRecord[] = [];
  const updated = new Set<FiniRecord>();
  const toAdd =
    struck(request, 'one-record') === undefined ? lists.documentIdsToAdd : onePerPage(lists.documentIdsToAdd);
  for (const url of new Set(toAdd)) {
    const known = library.recordByUrl(workspace, url);
    if (known === undefined || addKnownUrl === 'duplicate') {
      added.push(library.addRecord({ workspace, source: 'web', originalUrl: url, faults: marks.forLater(url) }));
    } else if (addKnownUrl === 'refresh') {
      updated.add(known);
    }
  }
  for (const url of lists.documentIdsToRefresh) {
    const record = library.recordByUrl(workspace, url);
    if (record !== undefined && !added.includes(record)) updated.add(record);
  }
  return { added, updated: [...updated] };
}

/** The first of each page's spellings. */
function onePerPage(urls: readonly string[]): string[] {
  const byPage = new Map<string, string>();
  for (const url of urls) {
    const [address = url, ...query] = (url.split('#', 1)[0] ?? url).split('?');
    let end = address.length;
    while (address[end - 1] === '/') end -= 1;
    const page = [address.slice(0, end), ...query].join('?');
    if (!byPage.has(page)) byPage.set(page, url);
  }
  return [...byPage.values()];
}

function providerRecords(parts: FiniParts, { grant }: FiniRequest, source: SourceKind, lists: Lists): Found | Reply {
  const added = new Set<FiniRecord>();
  const updated = new Set<FiniRecord>();
  for (const [list, into] of [
    [lists.documentIdsToAdd, added],
    [lists.documentIdsToRefresh, updated],
  ] as const) {
    for (const id of list) {
      const record = parts.library.record(id);
      if (record === undefined) return plainError(400, 'One or more document IDs were not found', parts.settings());
      if (record.workspace !== grant.workspace) return foreign(parts);
      if (record.source !== source) {
        return plainError(400, `Document ${id} is a ${record.source} source, not ${source}`, parts.settings());
      }
      into.add(record);
    }
  }
  return { added: [...added], updated: [...updated].filter((record) => !added.has(record)) };
}

function wrongValues(source: SourceKind, lists: Lists): string[] {
  const wrong: string[] = [];
  for (const [name, values] of Object.entries(lists) as [string, readonly string[]][]) {
    if (source === 'web' && !values.every(isWebUrl)) {
      wrong.push(`${name} must contain URLs when source is "web", not document IDs`);
    } else if (source !== 'web' && values.some(isWebUrl)) {
      wrong.push(`${name} must contain document IDs when source is "${source}", not URLs`);
    }
  }
  return wrong;
}

function queueRun(parts: FiniParts, request: FiniRequest, record: FiniRecord): FiniJob {
  const faults = jobFaults(parts, request, `${record.originalUrl} ${record.title}`, record);
  if (record.run === null && traitOf(faults, 'redirected') !== undefined) {
    const url = new URL(record.originalUrl);
    url.pathname = `/moved${url.pathname}`;
    parts.library.redirect(record, url.href);
  }
  return parts.work.queue({
    kind: 'ingestion',
    workspace: record.workspace,
    source: record.originalUrl,
    faults,
    record,
    generation: null,
  });
}

function foreign(parts: FiniParts): Reply {
  return plainError(403, 'One or more sources belong to a different workspace', parts.settings());
}

function fewer(request: FiniRequest, all: readonly string[]): readonly string[] {
  const missing = Number(struck(request, 'fewer-ids') ?? 0);
  return missing === 0 ? all : all.slice(0, Math.max(0, all.length - missing));
}

function ids(records: readonly FiniRecord[]): string[] {
  return records.map((record) => record.id);
}
