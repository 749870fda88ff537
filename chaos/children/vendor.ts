/** The vendor in a process of its own: the sandbox, with faults that strike at random, and its ledger at the end. */
import { writeFileSync } from 'node:fs';
import { serve } from '../../bench/lib/serve.ts';
import { startSandbox } from '../../src/vendor-sandbox/index.ts';
import type { Audit } from '../lib/orders.ts';
import type { VendorFault } from '../lib/options.ts';

const sandbox = await startSandbox({
  vendors: ['knowhere'],
  dialect: 'impl',
  speed: Number(process.env['CHAOS_SPEED'] ?? '10'),
  ledgerLimit: 3_000_000,
});

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
    const summary = sandbox.ledger.summary();
    const audit: Audit = {
      creates: sandbox.ledger.entries({ route: 'create' }).map((entry) => ({
        at: entry.atMs,
        jobId: entry.jobId,
        isCreated: entry.jobCreated,
        dataId: entry.dataId,
        source: entry.source,
        status: entry.status,
        faults: entry.faults,
      })),
      lookUps: sandbox.ledger.entries({ route: 'lookup' }).map((entry) => ({
        at: entry.atMs,
        answeredAt: entry.atMs + (entry.durationMs ?? 0),
        jobId: entry.jobId ?? '',
        status: entry.status,
        faults: entry.faults,
      })),
      lists: sandbox.ledger.entries({ route: 'list' }).map((entry) => ({
        at: entry.atMs,
        from: Date.parse(new URLSearchParams(entry.query).get('start_time') ?? ''),
        faults: entry.faults,
      })),
      uploads: sandbox.ledger
        .entries({ route: 'upload', status: 200 })
        .flatMap((entry) => (entry.jobId === null ? [] : [entry.jobId])),
      jobs: sandbox.jobs({ limit: 10_000_000 }).jobs.map(({ id, status, isTerminal, endedAt, dataId, source }) => ({
        id,
        status,
        isTerminal,
        endedAt,
        dataId,
        source,
      })),
      requests: summary.requests,
      byRoute: summary.byRoute,
      byStatus: summary.byStatus,
      byFault: summary.byFault,
      dropped: summary.dropped,
    };
    writeFileSync(file, JSON.stringify(audit));
  },
});
