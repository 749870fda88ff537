import { createHash } from 'node:crypto';
import type { Call, CallEnd } from './http/call.ts';

/** What a request is for: starts work, asks how work stands, or anything else. */
export type RequestKind = 'create' | 'lookup' | 'other';

/** One request that the sandbox was asked, and what became of it. Bounded: never a whole body, never a secret. */
export interface LedgerEntry {
  /** 1, 2, 3 … since start or reset, in order of arrival. */
  readonly seq: number;
  /** Arrival, ISO 8601. */
  readonly at: string;
  /** Arrival, Unix ms. */
  readonly atMs: number;
  /** From arrival to the end of the answer, ms; null while in flight. */
  durationMs: number | null;
  readonly vendor: string;
  /** The vendor's route name, e.g. `create`, `lookup`; `unknown` for a path that the vendor does not have. */
  route: string;
  kind: RequestKind;
  readonly method: string;
  readonly path: string;
  /** Query with link signatures removed. */
  readonly query: string;
  /** A few headers that tell something; the API key only as a fingerprint. */
  readonly headers: Readonly<Record<string, string>>;
  /** Length of the body and its first 600 characters (JSON bodies only). */
  body: { readonly bytes: number; readonly excerpt: string | null };
  /** The vendor job that the request was about, or that it created. */
  jobId: string | null;
  jobCreated: boolean;
  /** Jobs that a batched request asked for or created, the first 1,000; empty for requests about one job. */
  jobIds: readonly string[];
  /** How many ids a batched request asked for, or how many jobs it created; null for requests about one job. */
  idCount: number | null;
  dataId: string | null;
  /** Source URL or file name of a create. */
  source: string | null;
  /** Names of the faults that struck it. */
  faults: readonly string[];
  /** Status that went out; null: none did (yet). */
  status: number | null;
  /** `in-flight` until the answer is out or the connection is gone. */
  end: CallEnd | 'in-flight';
}

const KEPT_HEADERS = [
  'content-type',
  'content-length',
  'transfer-encoding',
  'user-agent',
  'idempotency-key',
  'x-request-id',
  'range',
  'organizationid',
];

export function openedEntry(seq: number, vendor: string, call: Call): LedgerEntry {
  return {
    seq,
    at: new Date(call.arrivedAtMs).toISOString(),
    atMs: call.arrivedAtMs,
    durationMs: null,
    vendor,
    route: 'unknown',
    kind: 'other',
    method: call.method,
    path: call.path.slice(0, 300),
    query: safeQuery(call.search),
    headers: safeHeaders(call),
    body: { bytes: 0, excerpt: null },
    jobId: null,
    jobCreated: false,
    jobIds: [],
    idCount: null,
    dataId: null,
    source: null,
    faults: [],
    status: null,
    end: 'in-flight',
  };
}

/** Eight hex digits that tell keys apart without telling the key. */
export function keyFingerprint(authorization: string): string {
  return createHash('sha256').update(authorization).digest('hex').slice(0, 8);
}

function safeQuery(search: string): string {
  return search.slice(0, 1_000).replace(/(X-Amz-(?:Signature|Credential)=)[^&]*/g, '$1…');
}

function safeHeaders(call: Call): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = call.header(name);
    if (value !== undefined) kept[name] = value.slice(0, 200);
  }
  const authorization = call.header('authorization');
  if (authorization !== undefined) {
    kept['authorization'] = `${authorization.split(' ', 1)[0] ?? ''} … (${fingerprints.of(authorization)})`.slice(
      0,
      60,
    );
  }
  const apiKey = call.header('x-api-key');
  if (apiKey !== undefined) kept['x-api-key'] = `… (${fingerprints.of(apiKey)})`;
  return kept;
}

/** A client sends the same few keys over and over; hashing them each time would cost more than the answer. */
const fingerprints = {
  known: new Map<string, string>(),
  of(authorization: string): string {
    const known = this.known.get(authorization);
    if (known !== undefined) return known;
    const fingerprint = keyFingerprint(authorization);
    if (this.known.size > 1_000) this.known.clear();
    this.known.set(authorization, fingerprint);
    return fingerprint;
  },
};
