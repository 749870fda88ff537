import { AccountHeldError, VendorContractError, VendorRejectedError } from '../../core/errors.ts';
import { clip } from '../../core/json.ts';
import type { VendorHttp } from '../../ports/vendor-adapter.ts';
import { record, recordList, type WireRecord } from './wire.ts';

const recordsPath = 'v2/documents/public';
/** Rows carry their whole text, so a page can be heavy. */
const maxListBytes = 32 * 1024 * 1024;
const maxRecordBytes = 16 * 1024 * 1024;
const pageSize = 50;

/**
 * Reads one record.
 * @throws VendorRejectedError with status 404 for an id that this workspace does not have
 */
export async function getRecord(http: VendorHttp, id: string): Promise<WireRecord> {
  let body: WireRecord;
  try {
    const path = `${recordsPath}/${encodeURIComponent(id)}`;
    ({ body } = await http.request({ method: 'GET', path, reply: record, maxBytes: maxRecordBytes }));
  } catch (error) {
    throw await explain(http, id, error);
  }
  if (body.id.toLowerCase() !== id.toLowerCase()) {
    throw new VendorContractError(`asked for document ${id}, got ${clip(body.id, 60)}`);
  }
  return body;
}

/**
 * A 403 means a key without `read`, or a record of another workspace. One is a fault of the account, the other of this
 * id, and one bad id must not hold up an account: a list that works shows that the key can read.
 */
async function explain(http: VendorHttp, id: string, error: unknown): Promise<unknown> {
  if (error instanceof AccountHeldError && error.httpStatus === 403) {
    await http.request({ method: 'GET', path: recordsPath, query: { limit: 1 }, reply: recordList });
    const message = `document ${id} belongs to another workspace`;
    return new VendorRejectedError(message, { httpStatus: 404, cause: error });
  }
  // "Not a UUID": no record has such an id.
  if (error instanceof VendorRejectedError && error.httpStatus === 400) {
    return new VendorRejectedError(error.message, { httpStatus: 404, cause: error });
  }
  return error;
}

/** Reads several records, a few at a time. @returns by id; undefined for what the vendor does not have. */
export async function getRecords(
  http: VendorHttp,
  ids: readonly string[],
): Promise<ReadonlyMap<string, WireRecord | undefined>> {
  const found = new Map<string, WireRecord | undefined>();
  const queue = [...ids];
  const work = async (): Promise<void> => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        found.set(id, await getRecord(http, id));
      } catch (error) {
        if (!(error instanceof VendorRejectedError) || error.httpStatus !== 404) throw error;
        found.set(id, undefined);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(8, ids.length) }, work));
  return found;
}

export interface ListQuery {
  source?: string;
  changed?: boolean;
}

/** One page of the list; `unreadable` counts rows that make no sense, any of which may be what is looked for. */
export interface RecordPage {
  readonly documents: readonly WireRecord[];
  readonly unreadable: number;
}

/**
 * Walks the record list, last changed first. Records that are processed meanwhile move to the front, so a walk can
 * skip rows and repeat them: what it yields are hints, and absence from it proves nothing.
 */
export async function* listRecords(http: VendorHttp, query: ListQuery, maxPages: number): AsyncGenerator<RecordPage> {
  const cursors = new Set<string>();
  let cursor: string | undefined;
  for (let page = 0; page < maxPages; page += 1) {
    const { body } = await http.request({
      method: 'GET',
      path: recordsPath,
      query: { limit: pageSize, ...query, ...(cursor === undefined ? {} : { cursor, direction: 'next' }) },
      reply: recordList,
      maxBytes: maxListBytes,
    });
    yield body;
    cursor = body.documents.at(-1)?.id;
    // A cursor that comes back would make the walk endless.
    if (body.hasMore !== true || cursor === undefined || cursors.has(cursor)) return;
    cursors.add(cursor);
  }
}
