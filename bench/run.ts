import { lifecycles } from './benchmarks/lifecycles.ts';
import { lateness } from './benchmarks/lateness.ts';
import { memory } from './benchmarks/memory.ts';
import { profile } from './benchmarks/profile.ts';
import { roundTrips } from './benchmarks/round-trips.ts';
import { workerMemory } from './benchmarks/worker-memory.ts';
import { buildChildren } from './lib/build.ts';
import { quoteInDocs, writeReport, type Benchmark } from './lib/report.ts';

const benchmarks: readonly Benchmark[] = [lifecycles, memory, roundTrips, lateness, workerMemory, profile];

const given = process.argv.slice(2);
const quick = given.includes('--quick');
const names = given.filter((argument) => !argument.startsWith('-'));
const unknown = [
  ...given.filter((argument) => argument.startsWith('-') && argument !== '--quick' && argument !== '--'),
  ...names.filter((name) => benchmarks.every((one) => one.name !== name)),
];
if (unknown.length > 0) {
  console.error(`Not known: ${unknown.join(', ')}. Known: --quick, ${benchmarks.map((one) => one.name).join(', ')}`);
  process.exit(64);
}

const compiled = buildChildren();
for (const benchmark of benchmarks) {
  if (names.length > 0 && !names.includes(benchmark.name)) continue;
  const startedAt = performance.now();
  console.log(`${benchmark.name} …`);
  const report = await benchmark.run({ quick, compiled, say: (line) => console.log(`  ${line}`) });
  const seconds = (performance.now() - startedAt) / 1_000;
  writeReport(benchmark.name, report, quick, seconds);
  if (!quick) quoteInDocs(benchmark.name, report);
  for (const line of report.headline) console.log(`${benchmark.name}: ${line}`);
  console.log(`${benchmark.name}: ${report.ok ? 'done' : 'FAILED'} in ${seconds.toFixed(0)} s`);
  if (!report.ok) process.exitCode = 1;
}
