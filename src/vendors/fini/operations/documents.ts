import { VendorContractError } from '../../../core/errors.ts';
import type { Json } from '../../../core/json.ts';
import type { ErrorInfo, Intent, VendorJob } from '../../../core/submission.ts';
import type { ConfirmReply, ReconcileReply, SubmitReply, VendorRef } from '../../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../../timestamps.ts';
import { operation, type Context } from '../account.ts';
import { WantedPages } from '../addresses.ts';
import { ingestInput, looksLikeUrl, refreshInput, type IngestInput } from '../input.ts';
import { partOf } from './parts.ts';
import { getRecords, listRecords } from '../records.ts';
import { hasBegun, readNotes, toExtra, type RunNotes } from '../runs.ts';
import { notesFor, readSnapshot, snapshotPages, snapshotRecords, unknownDocuments, type Snapshot } from './snapshot.ts';
import { ingestReply, refreshReply, type WireRecord } from '../wire.ts';

type WithIds = Context<{ documentIds: string[] }>;

const reconciledPages = 20;

const poll = { initialDelayMs: 3_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 7_200_000 };
const graceMs = 30_000;

export const ingest = operation({
  summary: 'Ingests web pages or provider documents, or processes them again. COMPLETED means processed, not live.',
  input: ingestInput,
  // No idempotency key; but a record shows whether a run began since the snapshot.
  resend: 'lookup',
  poll,
  graceMs,

  async preflight(context) {
    const { items } = partOf(itemsOf(context.input), context);
    const values = items.map((item) => item.value);
    const mustExist = items.filter((item) => item.refresh).map((item) => item.value);
    const { http, input } = context;
    return toJson(
      input.source === 'web' ? await snapshotPages(http, values, mustExist) : await snapshotRecords(http, values),
    );
  },

  async submit(context): Promise<SubmitReply> {
    const { input, http } = context;
    const snapshot = readSnapshot(context.snapshot);
    const part = partOf(itemsOf(input), context);
    const sent = part.items.filter((item) => !snapshot.unknown.includes(item.value));
    const toAdd = sent.filter((item) => item.add).map((item) => item.value);
    const toRefresh = sent.filter((item) => item.refresh).map((item) => item.value);
    const { body } = await http.request({
      method: 'POST',
      path: 'v2/documents/public',
      json: {
        source: input.source,
        ...(toAdd.length === 0 ? {} : { documentIdsToAdd: toAdd }),
        ...(toRefresh.length === 0 ? {} : { documentIdsToRefresh: toRefresh }),
        ...(input.english === undefined ? {} : { english: input.english }),
        ...(input.baser === undefined ? {} : { baser: input.baser }),
      },
      reply: ingestReply,
    });
    const accepted = [...new Set([...(body.addedDocumentIds ?? []), ...(body.updatedDocumentIds ?? [])])];
    const values = sent.map((item) => item.value);
    const jobs = input.source === 'web' ? toPageRefs(accepted, values, context) : toRefs(accepted, values, context);
    return { jobs: [...jobs, ...toUnknown(snapshot)], more: part.more };
  },

  async reconcile(context, intent) {
    const part = partOf(itemsOf(context.input), context);
    const values = part.items.map((item) => item.value);
    return context.input.source === 'web'
      ? findPages(context, values, part.more, intent)
      : findRuns(context, values, part.more);
  },

  giveUp(context, error) {
    const part = partOf(itemsOf(context.input), context);
    return { jobs: part.items.map((item) => toRefused(item.value, error)), more: part.more };
  },

  async confirm(context) {
    return context.input.source === 'web' ? findUnnamedPages(context) : { kind: 'confirmed' };
  },
});

/** `documents.refresh`, and the first stage of `knowledge.refreshChanged`. */
export const refreshSteps = {
  resend: 'lookup',
  poll,
  graceMs,

  async preflight(context: WithIds) {
    return toJson(await snapshotRecords(context.http, partOf(context.input.documentIds, context).items));
  },

  async submit(context: WithIds): Promise<SubmitReply> {
    const snapshot = readSnapshot(context.snapshot);
    const part = partOf(context.input.documentIds, context);
    // One unknown id makes the vendor refuse the whole request.
    const documentIds = part.items.filter((id) => !snapshot.unknown.includes(id));
    const { body } = await context.http.request({
      method: 'POST',
      path: 'v2/documents/public/refresh',
      json: { documentIds },
      reply: refreshReply,
    });
    return { jobs: [...toRefs(body, documentIds, context), ...toUnknown(snapshot)], more: part.more };
  },

  async reconcile(context: WithIds): Promise<ReconcileReply> {
    const part = partOf(context.input.documentIds, context);
    return findRuns(context, part.items, part.more);
  },

  giveUp(context: WithIds, error: ErrorInfo): SubmitReply {
    const part = partOf(context.input.documentIds, context);
    return { jobs: part.items.map((id) => toRefused(id, error)), more: part.more };
  },
} as const;

export const refresh = operation({
  summary: 'Processes existing records again from their source. COMPLETED means processed, not live.',
  input: refreshInput,
  ...refreshSteps,
});

interface Item {
  value: string;
  add: boolean;
  refresh: boolean;
}

/** What is named twice is one item; in both lists it is sent in both, and the vendor decides. */
function itemsOf(input: IngestInput): Item[] {
  const toRefresh = new Set(input.documentIdsToRefresh);
  const toAdd = new Set(input.documentIdsToAdd);
  return [...new Set([...toAdd, ...toRefresh])].map((value) => ({
    value,
    add: toAdd.has(value),
    refresh: toRefresh.has(value),
  }));
}

/** Documents named by id. Rows that we did not ask for are nobody's; ids left out are watched for a while. */
function toRefs(accepted: readonly string[], asked: readonly string[], context: Context<unknown>): VendorRef[] {
  const snapshot = readSnapshot(context.snapshot);
  const listed = new Set(accepted.map((id) => id.toLowerCase()));
  return asked.map((id) => {
    const isListed = listed.has(id.toLowerCase());
    return toRef(id, { ...notesFor(snapshot, id), ...(isListed ? {} : { unlistedSince: context.now }) });
  });
}

/** Web pages: the reply has record ids in no order, and fewer of them than URLs. Which is which, the records tell. */
function toPageRefs(accepted: readonly string[], urls: readonly string[], context: Context<unknown>): VendorRef[] {
  const snapshot = readSnapshot(context.snapshot);
  // One record per page at most. More than were asked for are not ours to wait for, and the list tells which are.
  if (accepted.length > urls.length) {
    throw new VendorContractError(`the vendor named ${accepted.length} records for ${urls.length} pages`);
  }
  if (accepted.length === 0) return urls.map((url) => toAddressRef(url, snapshot.watermark, context.now));
  return accepted.map((id) => toRef(id, notesFor(snapshot, id)));
}

function toRef(id: string, notes: RunNotes): VendorRef {
  return { id, kind: 'document', extra: toExtra(notes) };
}

/** A page by its URL, as the vendor named no record for it. */
function toAddressRef(url: string, watermark: string | null | undefined, now: number): VendorRef & VendorJob {
  const notes: RunNotes = { unlistedSince: now, ...(watermark === undefined ? {} : { watermark }) };
  return { id: url, kind: 'address', status: 'pending', extra: toExtra(notes) };
}

function toUnknown(snapshot: Snapshot): VendorRef[] {
  return snapshot.unknown.map((id) => toRefused(id, unknownDocuments([id]).toInfo()));
}

function toRefused(id: string, error: ErrorInfo): VendorRef {
  const result = looksLikeUrl(id) ? { originalUrl: id } : { documentId: id };
  return { id, kind: '', status: 'failed', vendorStatus: 'refused', result, error };
}

/** A run that began since the snapshot shows that the vendor took the request; it takes a request whole. */
async function findRuns(context: Context<unknown>, asked: readonly string[], more: boolean): Promise<ReconcileReply> {
  const snapshot = readSnapshot(context.snapshot);
  const ids = asked.filter((id) => !snapshot.unknown.includes(id));
  const records = await getRecords(context.http, ids);
  const begun = ids.filter((id) => {
    const wire = records.get(id);
    return wire !== undefined && hasBegun(wire, notesFor(snapshot, id));
  });
  if (begun.length === 0) return { found: 'absent' };
  return { found: { jobs: [...toRefs(begun, ids, context), ...toUnknown(snapshot)], more } };
}

async function findPages(
  context: Context<IngestInput>,
  urls: readonly string[],
  more: boolean,
  intent: Intent,
): Promise<ReconcileReply> {
  const snapshot = readSnapshot(context.snapshot);
  const watermark = parseTimestamp(snapshot.watermark);
  const wanted = new WantedPages(urls.map((url) => [url, url] as const));
  const found = new Map<string, WireRecord>();
  // Pages with a record under another spelling of their URL: it shows that the request was taken, and is searched again.
  const similar = new Set<string>();
  let unreadable = 0;
  for await (const { documents: rows, ...page } of listRecords(context.http, { source: 'web' }, reconciledPages)) {
    unreadable += page.unreadable;
    for (const wire of rows) {
      for (const { page: url, isExact } of wanted.at(wire.originalUrl)) {
        if (found.has(url) || !hasBegun(wire, notesFor(snapshot, wire.id))) continue;
        if (isExact) found.set(url, wire);
        else similar.add(url);
      }
    }
    const oldest = parseTimestamp(rows.at(-1)?.updatedAt);
    if (watermark !== undefined && oldest !== undefined && oldest < watermark) break;
  }
  const isTaken = found.size > 0 || similar.size > 0;
  if (!isTaken && unreadable > 0) {
    throw new VendorContractError(`${unreadable} rows of the document list can not be read`);
  }
  if (!isTaken) return { found: 'absent' };
  context.logger.info(
    { attempt: intent.attempt, found: found.size, asked: urls.length },
    'pages of a lost submit found',
  );
  const jobs = urls.map((url) => {
    const wire = found.get(url);
    return wire === undefined
      ? toAddressRef(url, snapshot.watermark, context.now)
      : toRef(wire.id, notesFor(snapshot, wire.id));
  });
  return { found: { jobs, more } };
}

/**
 * Every URL must have its record. The vendor's own sample names one id for two URLs, so those whose exact address no
 * record has are searched in the list, and are lost where none shows up.
 *
 * A page may be recorded under another address, after a redirect. Such records account for as many pages by number: for
 * all that are unnamed, or, where those are more, for as many of them as the search does not find.
 */
function findUnnamedPages(context: Context<IngestInput>): ConfirmReply {
  const { jobs } = context;
  const urls = itemsOf(context.input).map((item) => item.value);
  const asked = new Set(urls);
  const taken = new Set(jobs.map((job) => job.id));
  const recorded = jobs.filter((job) => job.kind === 'document');
  const sought = jobs.filter((job) => job.kind === 'address');
  const named = new Set(recorded.map((job) => resultOf(job).originalUrl));
  const unnamed = urls.filter((url) => !named.has(url) && !taken.has(url));
  const lost = sought.filter((job) => job.outcome === 'lost');
  const found = new Set(sought.map((job) => resultOf(job).documentId));
  const spare = recorded.filter((job) => !asked.has(resultOf(job).originalUrl ?? '') && !found.has(job.id)).length;
  if (unnamed.length === 0 || unnamed.length + lost.length <= spare) {
    return { kind: 'confirmed', drop: lost.slice(0, Math.max(0, spare - unnamed.length)).map((job) => job.id) };
  }
  const watermark = recorded
    .flatMap((job) => readNotes(job.extra).watermark ?? [])
    .sort()
    .at(0);
  return {
    kind: 'not-yet',
    reason: `${unnamed.length} of ${urls.length} URLs have no record yet`,
    jobs: unnamed.map((url) => toAddressRef(url, watermark, context.now)),
  };
}

function resultOf(job: VendorJob): { documentId?: string; originalUrl?: string | null } {
  return (job.result ?? {}) as { documentId?: string; originalUrl?: string | null };
}

function toJson(snapshot: Snapshot): Json {
  return snapshot as unknown as Json;
}
