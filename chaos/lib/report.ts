import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { round } from '../../bench/lib/stats.ts';
import { projectDir } from '../../scripts/transpile.ts';
import type { Violation } from './violation.ts';
import { faultCounts, type FireReport } from './fire.ts';
import type { FireOptions } from './options.ts';
import { drawFire } from './picture.ts';
import { recoveryFigures, type Figures } from './recovery-figures.ts';
import type { Departure } from './workers.ts';

const shownViolations = 20;
/** A list of more faults than this is nothing that anybody reads. */
const listedFaults = 200;
/** What a supervisor gives a worker that it told to stop. */
const stopWithinMs = 10_000;

/** Without violations and all settled; of a control run the contrary. */
export function isAsExpected(options: FireOptions, report: FireReport): boolean {
  if (options.control !== undefined) return report.verdict.violations.some((one) => one.invariant === 2);
  return report.verdict.violations.length === 0 && report.settledAfterMs !== null && report.abandoned === 0;
}

export function summarise(options: FireOptions, report: FireReport): string[] {
  const { counts, violations, afterLoss } = report.verdict;
  const recovery = recoveryFigures(report.recovery);
  const lines = [
    `seed ${options.seed}, ${round(report.durationMs / 1_000, 1)} s, Redis ${options.redis}${options.control === undefined ? '' : `, control ${options.control}`}`,
    `submissions: ${options.submissions}, settled ${counts.settled}: ${list(counts.outcomes)}; deliveries ${counts.deliveries}, repeated ${counts.repeatedDeliveries}`,
    `loads: ${list(counts.byLoad)}`,
    `vendor: ${counts.creates} creates, ${counts.vendorJobs} jobs, ${counts.sentAgain} submissions sent more than once, ${counts.neverBegun} jobs never begun, ${counts.lookUps} look-ups, ${counts.hints} hints, ${counts.heldRequests} requests of the held account`,
    `faults: ${list(faultCounts(report))}; ${report.kills} deaths, ${report.workersStarted} workers started, ${report.missed} missed`,
    `deaths by place: ${list(report.diedAt)}`,
    `vendor faults: ${list(report.vendor.byFault)}`,
    `recovery after a SIGKILL, Redis reachable: ${tell(recovery.redisReachable)}; polls ${tell(recovery.polls)}`,
    `  of these, lock gone: ${tell(recovery.unlocked)}; back in line: ${tell(recovery.freed)}`,
    `  Redis killed, cut or late meanwhile: ${tell(recovery.redisTroubled)}; abandoned ${report.abandoned}`,
    ...[...recovery.slowest, ...recovery.slowestTroubled].map((line) => `  ${line}`),
    `extra look-ups: ${counts.extraLookUps} in all, at most ${counts.maxExtraLookUps} for one, ${counts.unexplainedExtra} submissions with more than their interruptions`,
    `parents in flows: ${list(counts.parents)}; ${counts.twins} twins after their deduplication id was free`,
    `near deadlines: passed by ${counts.maxExpiredLateMs} ms at most`,
    `workers told to stop: ${report.departures.map(tellDeparture).join(', ')}`,
    `the machine stood still ${report.standstills.count} times, ${report.standstills.longestMs} ms at most`,
  ];
  if (options.redis !== 'always') {
    lines.push(
      `where Redis may have lost the last seconds: ${afterLoss.length} deviations; pushed again ${report.pushedAgain}`,
      ...afterLoss.slice(0, shownViolations).map(tellViolation),
    );
  }
  lines.push(...violations.slice(0, shownViolations).map(tellViolation));
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
    pushedAgain: report.pushedAgain,
    counts: report.verdict.counts,
    struck: faultCounts(report),
    faults: report.faults.length > listedFaults ? [] : report.faults.map(tellFault),
    deaths: report.kills,
    diedAt: report.diedAt,
    missed: report.missed,
    workersStarted: report.workersStarted,
    departures: report.departures,
    standstills: report.standstills,
    recovery: { ...recoveryFigures(report.recovery), abandoned: report.abandoned },
    vendor: report.vendor,
  };
  const file = path.join(dir, options.name);
  writeFileSync(`${file}.json`, `${JSON.stringify(json, null, 2)}\n`);
  writeFileSync(`${file}.svg`, drawFire(options, report));
  return [`${file}.json`, `${file}.svg`];
}

function tell({ jobs, p50Ms, p99Ms, maxMs }: Figures): string {
  return jobs === 0 ? 'none' : `p50 ${p50Ms} ms, p99 ${p99Ms} ms, most ${maxMs} ms, of ${jobs} jobs`;
}

function tellDeparture({ code, ms }: Departure): string {
  // One that had an order to die kept it on its way out.
  const end = code ?? (ms > stopWithinMs ? 'killed' : 'died');
  return `${end} after ${round(ms / 1_000, 1)} s${ms > stopWithinMs ? ' (TOO LATE)' : ''}`;
}

function tellViolation({ invariant, submission, what }: Violation): string {
  return `  [${invariant}] ${submission}: ${what}`;
}

function tellFault({ at, kind, note }: FireReport['faults'][number]): string {
  return `${(at / 1_000).toFixed(1)} s ${kind}${note === undefined ? '' : ` ${note}`}`;
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
