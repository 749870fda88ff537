import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, loadavg, totalmem } from 'node:os';
import path from 'node:path';
import { projectDir } from '../../scripts/transpile.ts';

export interface Benchmark {
  name: string;
  run(options: RunOptions): Promise<Report>;
}

export interface RunOptions {
  /** A bounded run that shows that the benchmark works; its numbers prove little. */
  quick: boolean;
  compiled: (name: string) => string;
  say: (line: string) => void;
}

export interface Report {
  /** What the page and the terminal show, most telling first. */
  headline: string[];
  redis: string;
  settings: object;
  numbers: object;
  svg: string;
  /** False when the benchmark found what must not be. */
  ok: boolean;
}

/** What others did on the machine before anything of ours ran. */
const loadBefore = loadavg()[0] ?? 0;
const busyLoadPerCore = 0.25;

/** Says on the page what nobody could know later: that a neighbour may have slowed things down. */
export function withConditions(headline: readonly string[]): string[] {
  const cores = cpus().length;
  if (loadBefore / cores < busyLoadPerCore) return [...headline];
  return [
    ...headline,
    `taken on a machine that was busy with other work: load ${loadBefore.toFixed(1)} on ${cores} cores`,
  ];
}

const resultsDir = path.join(projectDir, 'bench', 'results');

export function writeReport(name: string, report: Report, quick: boolean, seconds: number): void {
  mkdirSync(resultsDir, { recursive: true });
  const { svg, headline, ok, redis, settings, numbers } = report;
  const json = {
    benchmark: name,
    ok,
    quick,
    headline,
    measuredAt: new Date().toISOString(),
    seconds: Math.round(seconds),
    machine: { ...machine(), loadBefore },
    versions: { ...versions(), redis },
    settings,
    numbers,
  };
  // A quick run shows that nothing rots; it must not replace numbers that somebody quotes.
  const file = path.join(resultsDir, quick ? `${name}.quick` : name);
  writeFileSync(`${file}.json`, `${JSON.stringify(json, null, 2)}\n`);
  writeFileSync(`${file}.svg`, svg);
}

/** Puts the newest numbers between a benchmark's markers in docs/performance.md, so that page and results agree. */
export function quoteInDocs(name: string, report: Report): void {
  const file = path.join(projectDir, 'docs', 'performance.md');
  if (!existsSync(file)) return;
  const page = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) return;
  const lines = report.headline.map((line) => `- ${line}`).join('\n');
  writeFileSync(file, `${page.slice(0, from + begin.length)}\n${lines}\n${page.slice(to)}`);
}

function machine(): object {
  const cores = cpus();
  return {
    cpu: cores[0]?.model ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    platform: `${process.platform} ${process.arch}`,
  };
}

function versions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const versionOf = (name: string): string => {
    const file = path.join(projectDir, 'node_modules', name, 'package.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  };
  const own = require(path.join(projectDir, 'package.json')) as { version: string };
  return {
    jobferry: own.version,
    node: process.versions.node,
    ...Object.fromEntries(['bullmq', 'ioredis', 'ky', 'pino'].map((name) => [name, versionOf(name)])),
  };
}
