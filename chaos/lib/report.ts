import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { percentile, round } from '../../bench/lib/stats.ts';
import { projectDir } from './build.ts';
import { faultCounts, type FireReport } from './fire.ts';
import type { FireOptions } from './options.ts';
import { drawFire } from './picture.ts';

const shownViolations = 20;

export interface RecoveryFigures {
  jobs: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  /** Redis was away meanwhile; not in the figures. */
  leftOut: number;
}

export function recoveryFigures(report: FireReport): RecoveryFigures {
  const clean = report.recovery.filter((sample) => !sample.isSpoilt).map((sample) => sample.ms);
  return {
    jobs: clean.length,
    p50Ms: Math.round(percentile(clean, 0.5)),
    p99Ms: Math.round(percentile(clean, 0.99)),
    maxMs: Math.round(Math.max(0, ...clean)),
    leftOut: report.recovery.length - clean.length,
  };
}

/** Without violations and all settled; of a control run the contrary. */
export function isAsExpected(options: FireOptions, report: FireReport): boolean {
  if (options.control !== undefined) return report.verdict.violations.some((one) => one.invariant === 2);
  return report.verdict.violations.length === 0 && report.settledAfterMs !== null && report.abandoned === 0;
}

export function summarise(options: FireOptions, report: FireReport): string[] {
  const { counts, violations, afterLoss } = report.verdict;
  const recovery = recoveryFigures(report);
  const lines = [
    `seed ${options.seed}, ${round(report.durationMs / 1_000, 1)} s, Redis ${options.redis}${options.control === undefined ? '' : `, control ${options.control}`}`,
    `submissions: ${options.submissions}, settled ${counts.settled}: ${list(counts.outcomes)}; deliveries ${counts.deliveries}, repeated ${counts.repeatedDeliveries}`,
    `vendor: ${counts.creates} creates, ${counts.vendorJobs} jobs, ${counts.sentAgain} submissions sent more than once, ${counts.neverBegun} jobs never begun, ${counts.lookUps} look-ups, ${counts.hints} hints`,
    `faults: ${list(faultCounts(report))}; ${report.kills} deaths, ${report.workersStarted} workers started, ${report.missed} missed`,
    `deaths by place: ${list(report.diedAt)}`,
    `vendor faults: ${list(report.vendor.byFault)}`,
    `recovery after a SIGKILL: p50 ${recovery.p50Ms} ms, p99 ${recovery.p99Ms} ms, most ${recovery.maxMs} ms, of ${recovery.jobs} jobs (${recovery.leftOut} left out), abandoned ${report.abandoned}`,
    `extra look-ups: ${counts.extraLookUps} in all, at most ${counts.maxExtraLookUps} for one, ${counts.unexplainedExtra} submissions with more than their interruptions`,
    `exits of workers told to stop: ${report.rollExits.map(String).join(', ')}`,
  ];
  if (options.redis !== 'always') {
    lines.push(`where Redis may have lost the last seconds: ${afterLoss.length} deviations`);
    for (const one of afterLoss.slice(0, shownViolations))
      lines.push(`  [${one.invariant}] ${one.submission}: ${one.what}`);
  }
  for (const one of violations.slice(0, shownViolations))
    lines.push(`  [${one.invariant}] ${one.submission}: ${one.what}`);
  if (violations.length > shownViolations) lines.push(`  and ${violations.length - shownViolations} more`);
  const verdict = `${violations.length} violations`;
  lines.push(
    options.control === undefined
      ? verdict
      : `${verdict}: ${isAsExpected(options, report) ? 'seen, as it must be' : 'NOT SEEN: the test proves nothing'}`,
  );
  return lines;
}

/** @returns the files written */
export function writeResults(options: FireOptions, report: FireReport): string[] {
  const dir = options.out ?? path.join(projectDir, 'chaos', 'results');
  mkdirSync(dir, { recursive: true });
  const { say: _say, out: _out, vendorFaults: _vendorFaults, faults: _planned, ...settings } = options;
  const json = {
    ok: isAsExpected(options, report),
    measuredAt: new Date().toISOString(),
    ...settings,
    seconds: round(report.durationMs / 1_000, 1),
    settledAfterMs: report.settledAfterMs,
    violations: report.verdict.violations,
    afterLoss: report.verdict.afterLoss,
    counts: report.verdict.counts,
    struck: faultCounts(report),
    faults: report.faults.map(
      ({ at, kind, note }) => `${(at / 1_000).toFixed(1)} s ${kind}${note === undefined ? '' : ` ${note}`}`,
    ),
    deaths: report.kills,
    diedAt: report.diedAt,
    missed: report.missed,
    workersStarted: report.workersStarted,
    rollExits: report.rollExits,
    recovery: { ...recoveryFigures(report), abandoned: report.abandoned },
    vendor: report.vendor,
  };
  const file = path.join(dir, options.name);
  writeFileSync(`${file}.json`, `${JSON.stringify(json, null, 2)}\n`);
  writeFileSync(`${file}.svg`, drawFire(options, report));
  return [`${file}.json`, `${file}.svg`];
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
