/** The vendors in a process of their own: the sandbox, with faults that strike at random, and its ledger at the end. */
import { writeFileSync } from 'node:fs';
import { serve } from '../../bench/lib/serve.ts';
import { startSandbox } from '../../sandbox/index.ts';
import { keyFingerprint, type LedgerEntry } from '../../sandbox/ledger-entry.ts';
import type { JobView } from '../../sandbox/vendor-double.ts';
import type { Audit, AuditedJob, VendorCreate, VendorLookUp, VendorRequest } from '../lib/evidence.ts';
import { submissionOf, type Vendor } from '../lib/loads.ts';
import type { VendorFault } from '../lib/vendor-faults.ts';

const sandbox = await startSandbox({
  dialect: 'impl',
  speed: Number(process.env['CHAOS_SPEED'] ?? '10'),
  ledgerLimit: 3_000_000,
});

const wrongKey = keyFingerprint(`Bearer ${process.env['CHAOS_WRONG_KEY'] ?? ''}`);

serve({
  listen: () => sandbox.port,
  async arm({ faults, seed }: { faults: readonly VendorFault[]; seed: number }) {
    await sandbox.reset({ seed });
    for (const fault of faults) sandbox.faults.arm({ times: 'always', ...fault });
  },
  disarm() {
    for (const rule of sandbox.faults.armed()) sandbox.faults.disarm(rule.id);
  },
  /** Into a file: a long run's ledger is too much for the line. */
  audit(file: string) {
    writeFileSync(file, JSON.stringify(audit()));
  },
  turn: () => null,
});

function audit(): Audit {
  const { ledger } = sandbox;
  const { requests, byRoute, byStatus, byFault, dropped } = ledger.summary();
  const taken = ledger.entries().filter((entry) => !isWrongKey(entry));
  return {
    creates: taken.filter((entry) => entry.kind === 'create').map(toCreate),
    lookUps: taken.filter(isLookUp).flatMap(toLookUps),
    lists: ledger.entries({ vendor: 'knowhere', route: 'list' }).map((entry) => ({
      at: entry.atMs,
      from: Date.parse(new URLSearchParams(entry.query).get('start_time') ?? ''),
      faults: entry.faults,
    })),
    refused: ledger.entries().filter(isWrongKey).map(toRequest),
    uploads: ledger
      .entries({ vendor: 'knowhere', route: 'upload', status: 200 })
      .flatMap((entry) => (entry.jobId === null ? [] : [entry.jobId])),
    jobs: sandbox.jobs({ limit: 10_000_000 }).jobs.map(toJob),
    requests,
    byRoute,
    byStatus,
    byFault,
    dropped,
  };
}

function isWrongKey({ headers }: LedgerEntry): boolean {
  return headers['authorization']?.includes(`(${wrongKey})`) === true;
}

/** An upload of Sharely's is asked for by its record. */
function isLookUp({ kind, route }: LedgerEntry): boolean {
  return kind === 'lookup' || route === 'knowledge-get';
}

function toRequest(entry: LedgerEntry): VendorRequest {
  return {
    at: entry.atMs,
    answeredAt: entry.atMs + (entry.durationMs ?? 0),
    status: entry.status,
    faults: entry.faults,
  };
}

function toCreate(entry: LedgerEntry): VendorCreate {
  const submission = submissionOf(entry.source) ?? submissionOf(entry.dataId) ?? null;
  return { ...toRequest(entry), submission, jobId: entry.jobId ?? entry.jobIds[0] ?? null };
}

function toLookUps(entry: LedgerEntry): VendorLookUp[] {
  const request = toRequest(entry);
  if (entry.route === 'knowledge-get') return [{ ...request, jobId: entry.path.split('/').at(-1) ?? '' }];
  const ids = entry.jobId === null ? entry.jobIds : [entry.jobId];
  return ids.map((jobId) => ({ ...request, jobId }));
}

function toJob({ vendor, id, dataId, source, status, isTerminal, endedAt }: JobView): AuditedJob {
  return {
    vendor: vendor as Vendor,
    id,
    resourceId: vendor === 'knowhere' ? null : dataId,
    source,
    submission: submissionOf(source) ?? submissionOf(dataId) ?? null,
    status,
    isTerminal,
    endedAt: endedAt === null ? null : Date.parse(endedAt),
  };
}
