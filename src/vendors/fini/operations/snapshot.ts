import { VendorRejectedError } from '../../../core/errors.ts';
import type { Json } from '../../../core/json.ts';
import type { VendorHttp } from '../../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../../timestamps.ts';
import { canonicalUrl } from '../addresses.ts';
import { getRecords, listRecords } from '../records.ts';
import { toBefore, type Before, type RunNotes } from '../runs.ts';

/** How the records of one request stood before it; saved with the intent. */
export interface Snapshot {
  /** By record id. */
  known: [string, Before][];
  /** Ids that the vendor does not have. */
  unknown: string[];
  /** Web only: the newest `updatedAt` of any record. What is newer was touched after the snapshot. */
  watermark?: string | null;
}

const searchedPages = 10;

/** @throws VendorRejectedError when the vendor has none of them */
export async function snapshotRecords(http: VendorHttp, ids: readonly string[]): Promise<Snapshot> {
  const snapshot: Snapshot = { known: [], unknown: [] };
  for (const [id, wire] of await getRecords(http, ids)) {
    if (wire === undefined) snapshot.unknown.push(id);
    else snapshot.known.push([id, toBefore(wire)]);
  }
  if (snapshot.known.length === 0) throw unknownDocuments(snapshot.unknown);
  return snapshot;
}

/**
 * Web pages go by URL, and the list has no documented filter for it. What the first page shows is noted, and further
 * pages are read for records that must exist; for all others the watermark tells old from new.
 */
export async function snapshotPages(
  http: VendorHttp,
  urls: readonly string[],
  mustExist: readonly string[],
): Promise<Snapshot> {
  const wanted = new Set(urls.map(canonicalUrl));
  const missing = new Set(mustExist.map(canonicalUrl));
  const known = new Map<string, Before>();
  let watermark: string | null = null;
  for await (const { documents: rows } of listRecords(http, { source: 'web' }, searchedPages)) {
    for (const wire of rows) {
      if ((parseTimestamp(wire.updatedAt) ?? 0) > (parseTimestamp(watermark) ?? 0)) watermark = wire.updatedAt ?? null;
      const url = canonicalUrl(wire.originalUrl ?? '');
      if (wanted.has(url) && !known.has(wire.id)) known.set(wire.id, toBefore(wire));
      missing.delete(url);
    }
    if (missing.size === 0) break;
  }
  return { known: [...known], unknown: [], watermark };
}

/** @throws Error when there is none, which a saved intent rules out */
export function readSnapshot(snapshot: Json | undefined): Snapshot {
  if (snapshot === undefined) throw new Error('what the records looked like before this submit was not saved');
  return snapshot as unknown as Snapshot;
}

/** What to keep with one record of a request. */
export function notesFor(snapshot: Snapshot, id: string): RunNotes {
  const before = snapshot.known.find(([known]) => known.toLowerCase() === id.toLowerCase())?.[1];
  return {
    ...(before === undefined ? {} : { before }),
    ...(snapshot.watermark === undefined ? {} : { watermark: snapshot.watermark }),
  };
}

export function unknownDocuments(ids: readonly string[]): VendorRejectedError {
  const shown = ids.slice(0, 5).join(', ');
  const rest = ids.length > 5 ? ` and ${ids.length - 5} more` : '';
  return new VendorRejectedError(`this workspace has no document ${shown}${rest}`, { httpStatus: 404 });
}
