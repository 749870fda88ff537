import type { Checkpoint } from '../../src/workers/engine.ts';
import type { JobView } from '../../src/vendor-sandbox/vendor-double.ts';

/** What a worker process is told to do the next time it passes a place between two writes. */
export interface Order {
  kind: 'die-at' | 'freeze-at';
  point: Checkpoint;
  /** Passes to let go by first. */
  skip: number;
}

export type FromWorker =
  { kind: 'ready' } | { kind: 'lock-owner'; id: string } | { kind: 'dying' | 'freezing'; point: Checkpoint };

export interface VendorCreate {
  at: number;
  jobId: string | null;
  isCreated: boolean;
  dataId: string | null;
  source: string | null;
  status: number | null;
  faults: readonly string[];
}

export interface VendorLookUp {
  at: number;
  /** When the answer was out. */
  answeredAt: number;
  jobId: string;
  status: number | null;
  faults: readonly string[];
}

/** One page of the job list, as it was asked for. */
export interface VendorList {
  at: number;
  /** From when on jobs were asked for: ten minutes before an intent, which tells whose question it was. */
  from: number;
  faults: readonly string[];
}

/** What the vendor knows at the end: the side that nobody but the vendor can tell. */
export interface Audit {
  creates: VendorCreate[];
  lookUps: VendorLookUp[];
  lists: VendorList[];
  /** Jobs whose file arrived. */
  uploads: string[];
  jobs: Pick<JobView, 'id' | 'status' | 'isTerminal' | 'endedAt' | 'dataId' | 'source'>[];
  requests: number;
  byRoute: Readonly<Record<string, number>>;
  byStatus: Readonly<Record<string, number>>;
  byFault: Readonly<Record<string, number>>;
  /** Entries that the ledger had no room for; more than none, and it proves nothing. */
  dropped: number;
}
