import type { Call } from './http/call.ts';
import type { LedgerEntry, RequestKind } from './ledger-entry.ts';
import { openedEntry } from './ledger-entry.ts';

/** Most ids of a batched request that an entry keeps. */
const MOST_IDS = 1_000;

/** Every given field must match. */
export interface LedgerFilter {
  readonly vendor?: string | undefined;
  readonly route?: string | undefined;
  /** What the request was for. */
  readonly kind?: RequestKind | undefined;
  readonly method?: string | undefined;
  readonly jobId?: string | undefined;
  readonly dataId?: string | undefined;
  /** A part of the source URL or file name. */
  readonly source?: string | undefined;
  readonly status?: number | undefined;
  /** A fault that struck. */
  readonly fault?: string | undefined;
  /** Only requests that created a job (true), or only those that did not (false). */
  readonly jobCreated?: boolean | undefined;
  /** Only entries after this sequence number. */
  readonly afterSeq?: number | undefined;
  /** Only the last so many of what matches. */
  readonly last?: number | undefined;
}

/** All creates that name one data id or one source. */
export interface CreateGroup {
  readonly key: string;
  /** Create requests seen. */
  readonly requests: number;
  /** Jobs made by them; more than one means work done (and paid) twice. */
  readonly jobIds: readonly string[];
}

/** Counts over the whole life of the ledger, entries already dropped included. */
export interface LedgerSummary {
  readonly requests: number;
  readonly jobsCreated: number;
  readonly inFlight: number;
  readonly maxInFlight: number;
  /** E.g. `{ "knowhere.create": 3 }`. */
  readonly byRoute: Readonly<Record<string, number>>;
  /** E.g. `{ "200": 40, "429": 2, "none": 1 }`. */
  readonly byStatus: Readonly<Record<string, number>>;
  /** Strikes by fault name. */
  readonly byFault: Readonly<Record<string, number>>;
  /** Entries that the limit has pushed out. */
  readonly dropped: number;
}

/**
 * What the sandbox was asked, in order. Holds the latest `limit` entries; the counts of `summary()` hold for all.
 * Queries walk the entries: a few ms at 100,000.
 */
export class Ledger {
  readonly #limit: number;
  #entries: LedgerEntry[] = [];
  #seq = 0;
  #dropped = 0;
  #jobsCreated = 0;
  #inFlight = 0;
  #maxInFlight = 0;
  /** Tells calls of before a clear from those after it, so that the count in flight stays true. */
  #generation = 0;
  readonly #openAt = new WeakMap<LedgerEntry, number>();
  #byRoute = new Map<string, number>();
  #byStatus = new Map<string, number>();
  #byFault = new Map<string, number>();

  constructor(limit = 200_000) {
    this.#limit = limit;
  }

  /** Opens the entry of a call. It closes itself should the client leave first. */
  open(vendor: string, call: Call): LedgerEntry {
    this.#seq += 1;
    const entry = openedEntry(this.#seq, vendor, call);
    const generation = this.#generation;
    this.#entries.push(entry);
    // Dropped in blocks: shifting one by one would copy the whole list for each request.
    if (this.#entries.length > this.#limit * 1.1 + 10) {
      const excess = this.#entries.length - this.#limit;
      this.#entries = this.#entries.slice(excess);
      this.#dropped += excess;
    }
    this.#inFlight += 1;
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight);
    this.#openAt.set(entry, generation);
    call.response.once('close', () => {
      this.close(entry, call);
      if (entry.end === 'answered' && !call.response.writableFinished) entry.end = 'client-left';
    });
    return entry;
  }

  /** Notes how a call ended; only the first time counts. */
  close(entry: LedgerEntry, call: Call): void {
    const generation = this.#openAt.get(entry);
    if (generation === undefined) return;
    this.#openAt.delete(entry);
    entry.durationMs = Date.now() - entry.atMs;
    entry.status = call.response.headersSent ? call.response.statusCode : null;
    entry.end = call.wasCut ? 'cut' : call.response.writableEnded ? 'answered' : 'client-left';
    fill(entry, call);
    if (generation !== this.#generation) return;
    this.#inFlight -= 1;
    if (entry.jobCreated) this.#jobsCreated += entry.idCount ?? 1;
    increment(this.#byRoute, `${entry.vendor}.${entry.route}`);
    increment(this.#byStatus, entry.status === null ? 'none' : String(entry.status));
    for (const fault of entry.faults) increment(this.#byFault, fault);
  }

  /** Entries that match, oldest first. */
  entries(filter: LedgerFilter = {}): LedgerEntry[] {
    const found = this.#entries.filter((entry) => matches(entry, filter));
    return filter.last === undefined ? found : found.slice(-filter.last);
  }

  /** Creates grouped by data id or by source, in order of first appearance. */
  creates(by: 'dataId' | 'source', filter: LedgerFilter = {}): CreateGroup[] {
    const groups = new Map<string, { key: string; requests: number; jobIds: string[] }>();
    for (const entry of this.#entries) {
      const key = entry[by];
      if (entry.kind !== 'create' || key === null || !matches(entry, filter)) continue;
      const group = groups.get(key) ?? { key, requests: 0, jobIds: [] };
      group.requests += 1;
      if (entry.jobCreated && entry.jobId !== null) group.jobIds.push(entry.jobId);
      else if (entry.jobCreated) group.jobIds.push(...entry.jobIds);
      groups.set(key, group);
    }
    return [...groups.values()];
  }

  /** Look-ups of a job, oldest first, with their times; batched ones included. */
  lookups(jobId: string): { at: string; atMs: number; status: number | null }[] {
    return this.entries({ jobId, kind: 'lookup' }).map(({ at, atMs, status }) => ({ at, atMs, status }));
  }

  summary(): LedgerSummary {
    return {
      requests: this.#seq,
      jobsCreated: this.#jobsCreated,
      inFlight: this.#inFlight,
      maxInFlight: this.#maxInFlight,
      byRoute: Object.fromEntries(this.#byRoute),
      byStatus: Object.fromEntries(this.#byStatus),
      byFault: Object.fromEntries(this.#byFault),
      dropped: this.#dropped,
    };
  }

  clear(): void {
    this.#generation += 1;
    this.#entries = [];
    this.#seq = 0;
    this.#dropped = 0;
    this.#jobsCreated = 0;
    this.#inFlight = 0;
    this.#maxInFlight = 0;
    this.#byRoute.clear();
    this.#byStatus.clear();
    this.#byFault.clear();
  }
}

/** Copies what is known of a call so far, so that calls in flight can be distinguished, too. */
export function fill(entry: LedgerEntry, call: Call): void {
  entry.jobId = call.jobId;
  entry.jobCreated = call.jobCreated;
  if (call.jobIds !== null) {
    entry.jobIds = call.jobIds.length > MOST_IDS ? call.jobIds.slice(0, MOST_IDS) : call.jobIds;
    entry.idCount = call.jobIds.length;
  }
  entry.faults = call.faultNames;
  entry.body = { bytes: call.bodyBytes, excerpt: call.bodyExcerpt };
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function matches(entry: LedgerEntry, filter: LedgerFilter): boolean {
  return (
    (filter.vendor === undefined || entry.vendor === filter.vendor) &&
    (filter.route === undefined || entry.route === filter.route) &&
    (filter.method === undefined || entry.method === filter.method) &&
    (filter.kind === undefined || entry.kind === filter.kind) &&
    (filter.jobId === undefined || entry.jobId === filter.jobId || entry.jobIds.includes(filter.jobId)) &&
    (filter.dataId === undefined || entry.dataId === filter.dataId) &&
    (filter.source === undefined || (entry.source?.includes(filter.source) ?? false)) &&
    (filter.status === undefined || entry.status === filter.status) &&
    (filter.fault === undefined || entry.faults.includes(filter.fault)) &&
    (filter.jobCreated === undefined || entry.jobCreated === filter.jobCreated) &&
    (filter.afterSeq === undefined || entry.seq > filter.afterSeq)
  );
}
