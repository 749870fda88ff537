import type { Load, ParentRule, Vendor } from './loads.ts';

/** All that the checks are made from: what was pushed, what was delivered, what the vendor saw, what Redis still holds. */
export interface Evidence {
  submissions: ReadonlyMap<string, Submitted>;
  deliveries: ReadonlyMap<string, readonly Told[]>;
  /** By submission: what became of the job that waited for it in a flow. */
  parents: ReadonlyMap<string, ParentEnd>;
  audit: Audit;
  leftovers: readonly Leftover[];
  /** Times of which Redis forgot what it was told. */
  lost: readonly Window[];
  /** Times in which answers of the vendor did not all arrive. */
  vendorTrouble: readonly Window[];
  /** Times in which a worker stood still, by our doing or the machine's, and those in which nobody could see who did. */
  standstill: readonly Window[];
  /** Times in which an older client kept a queue paused: what came into it meanwhile is in no list afterwards. */
  pauses: readonly Window[];
  /** By submission: how often a process that held its job died, froze, was rolled or lost Redis. */
  interruptions: ReadonlyMap<string, number>;
}

/** One submission as its producer knows it. */
export interface Submitted {
  id: string;
  load: Load;
  pushedAt: number;
  /** When somebody asked for its end, and was told that it would come. */
  cancelRequestedAt?: number;
  /** When a foreign client removed its poll job, or tried to. */
  removedAt?: number;
  /** In a flow: what becomes of its parent when it does not succeed. */
  parent?: ParentRule;
  /** It has a deduplication id. */
  isDeduplicated?: boolean;
  /** The submission under whose deduplication id it was pushed, and that should have kept it out while it lasted. */
  twinOf?: string;
}

/** How the parent of a submission ended. */
export interface ParentEnd {
  /** BullMQ's word. */
  state: string;
  /** Fingerprint of what it was given as the child's value; undefined: nothing. */
  value: string | undefined;
  /** Why the child failed, as it was told. */
  failed: string | undefined;
}

/** What one delivery of an event said. */
export interface Told {
  at: number;
  eventId: string;
  /** Fingerprint of all of it. */
  content: string;
  /** Fingerprint of the event's `data`. */
  data: string;
  outcome: string;
  vendorJobs: readonly { id: string; status: string }[];
  because: string;
  enqueuedAt: number;
  /** When the vendor had accepted it; null: never. */
  submittedAt: number | null;
  settledAt: number;
  polls: number;
}

/** Where a submission's job, or the parent of one, was found when everything should have been over. */
export interface Leftover {
  queue: string;
  jobId: string;
  place: string;
  record: string | null;
}

export interface Window {
  from: number;
  to: number;
}

/** What the vendors know at the end: the side that nobody but they can tell. */
export interface Audit {
  creates: VendorCreate[];
  lookUps: VendorLookUp[];
  /** Knowhere's pages of the job list. */
  lists: VendorList[];
  /** Requests with the wrong key. */
  refused: VendorRequest[];
  /** Knowhere's jobs whose file arrived. */
  uploads: string[];
  jobs: AuditedJob[];
  requests: number;
  byRoute: Readonly<Record<string, number>>;
  byStatus: Readonly<Record<string, number>>;
  byFault: Readonly<Record<string, number>>;
  /** Entries that the ledger had no room for; more than none, and it proves nothing. */
  dropped: number;
}

export interface VendorRequest {
  at: number;
  /** When the answer was out. */
  answeredAt: number;
  /** Null: none went out. */
  status: number | null;
  faults: readonly string[];
}

export interface VendorCreate extends VendorRequest {
  /** The submission that it names. */
  submission: string | null;
  jobId: string | null;
}

export interface VendorLookUp extends VendorRequest {
  jobId: string;
}

/** One page of the job list, as it was asked for. */
export interface VendorList {
  at: number;
  /** From when on jobs were asked for: ten minutes before an intent, which tells whose question it was. */
  from: number;
  faults: readonly string[];
}

export interface AuditedJob {
  vendor: Vendor;
  id: string;
  /** What it works on: a record, a role, a knowledge item. */
  resourceId: string | null;
  source: string | null;
  submission: string | null;
  status: string;
  isTerminal: boolean;
  endedAt: number | null;
}
