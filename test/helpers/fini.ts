import type { Config } from '../../src/config/load-config.ts';
import type { VendorAdapter } from '../../src/ports/vendor-adapter.ts';
import { fini } from '../../src/vendors/fini/adapter.ts';
import { Harness, type HarnessOptions } from './harness.ts';
import { ScriptedVendor, type ScriptedCall, type ScriptedReply } from './scripted-vendor.ts';

export const routes = {
  ingest: 'POST /v2/documents/public',
  refresh: 'POST /v2/documents/public/refresh',
  list: 'GET /v2/documents/public',
  record: 'GET /v2/documents/public/*',
  generate: 'POST /v2/knowledge/public',
  bulk: 'POST /v2/knowledge/public/bulk',
  status: 'POST /v2/knowledge/public/jobs/status',
} as const;

export const quickPoll = { initialDelayMs: 50, factor: 1.2, maxDelayMs: 150, deadlineMs: 20_000 };

/** The vendor's error envelope. */
export function refusal(status: number, message: string | string[] = 'no', error = 'Error'): ScriptedReply {
  return { status, json: { statusCode: status, message, error } };
}

export function uuid(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

export interface FiniRecord {
  id: string;
  originalUrl: string;
  source: string;
  success: boolean;
  error: string;
  createdAt: string;
  updatedAt: string;
  linkedJobId: string;
  linkedJobStatus: string;
  linkedKnowledgeId: string | null;
  changed: boolean;
  [field: string]: unknown;
}

/** What a Fini workspace holds, for scripts that need one to hold something. Its clock moves with every touch. */
export class Workspace {
  readonly records = new Map<string, FiniRecord>();
  #clock = Date.parse('2026-11-01T00:00:00.000Z');
  #runs = 0;

  add(id: string, fields: Partial<FiniRecord> = {}): FiniRecord {
    const at = this.tick();
    const record: FiniRecord = {
      id,
      originalUrl: `https://docs.example.com/${id}`,
      source: 'web',
      title: `Page ${id}`,
      paragraphs: ['text'],
      success: true,
      error: '',
      createdAt: at,
      updatedAt: at,
      linkedJobId: `run-${++this.#runs}`,
      linkedJobStatus: 'COMPLETED',
      linkedKnowledgeId: null,
      changed: false,
      ...fields,
    };
    this.records.set(id, record);
    return record;
  }

  /** Changes a record the way the vendor's own work does. */
  touch(id: string, fields: Partial<FiniRecord>): void {
    const record = this.records.get(id);
    if (record !== undefined) Object.assign(record, { updatedAt: this.tick() }, fields);
  }

  /** A new run over a record: queued now, and over after `looks` reads of it. */
  run(id: string, end: Partial<FiniRecord> = {}, looks = 2): void {
    this.touch(id, { linkedJobId: `run-${++this.#runs}`, linkedJobStatus: 'PENDING' });
    this.#ends.set(id, { looks, end });
  }

  readonly #ends = new Map<string, { looks: number; end: Partial<FiniRecord> }>();

  /** GET by id. */
  read(call: ScriptedCall): ScriptedReply {
    const id = call.path.split('/').at(-1) ?? '';
    const record = this.records.get(id);
    if (record === undefined) return refusal(404, 'no such document', 'Not Found');
    const end = this.#ends.get(id);
    if (end !== undefined && --end.looks <= 0) {
      this.#ends.delete(id);
      this.touch(id, { linkedJobStatus: 'COMPLETED', ...end.end });
    }
    return { json: record };
  }

  /** GET list: last changed first, in pages. */
  list(call: ScriptedCall): ScriptedReply {
    const changed = call.query.get('changed');
    const source = call.query.get('source');
    const rows = [...this.records.values()]
      .filter(
        (row) => (changed === null || row.changed === (changed === 'true')) && (source ?? row.source) === row.source,
      )
      .sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
    const cursor = call.query.get('cursor');
    const from = cursor === null ? 0 : rows.findIndex((row) => row.id === cursor) + 1;
    const limit = Number(call.query.get('limit') ?? 50);
    return { json: { documents: rows.slice(from, from + limit), hasMore: from + limit < rows.length } };
  }

  tick(): string {
    this.#clock += 1_000;
    return new Date(this.#clock).toISOString();
  }
}

export interface FiniRig {
  vendor: ScriptedVendor;
  workspace: Workspace;
  harness: Harness;
  stop(): Promise<void>;
}

export interface FiniOptions extends HarnessOptions {
  /** Fields of the account beside key and address. */
  account?: Record<string, unknown>;
  /** Grace of every operation, ms. */
  graceMs?: number;
}

/** Workers for Fini against a scripted vendor whose records live in a workspace. */
export async function startFini(options: FiniOptions = {}): Promise<FiniRig> {
  const vendor = await ScriptedVendor.start();
  const workspace = new Workspace();
  vendor.on(routes.record, (call) => workspace.read(call)).on(routes.list, (call) => workspace.list(call));
  const harness = await Harness.start({
    ...options,
    env: { FINI_API_KEY: 'fini_test', FINI_BASE_URL: vendor.url, ...options.env },
    adapters: [withGrace(options.graceMs)],
    change: (config) => quicken(config, options.account ?? {}),
  });
  return {
    vendor,
    workspace,
    harness,
    async stop() {
      await harness.stop();
      await vendor.close();
    },
  };
}

/** Looking a lost submit up takes its time by design; not here. */
function quicken(config: Config, fields: Record<string, unknown>): Config {
  const reconcile = { ...config.reconcile, absenceMs: 200, minAbsentLooks: 2, gapsMs: [100], inFlightMs: 200 };
  const vendors = config.vendors.map((entry) => ({
    ...entry,
    accounts: entry.accounts.map((one) => ({ ...one, account: { ...(one.account as object), ...fields } })),
  }));
  return { ...config, reconcile, vendors };
}

function withGrace(graceMs: number | undefined): VendorAdapter {
  if (graceMs === undefined) return fini;
  const operations = Object.entries(fini.operations).map(([name, one]) => [name, { ...one, graceMs }] as const);
  return { ...fini, operations: Object.fromEntries(operations) };
}
