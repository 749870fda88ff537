import { lifecycles } from './benchmarks/lifecycles.ts';
import { lateness } from './benchmarks/lateness.ts';
import { memory } from './benchmarks/memory.ts';
import { profile } from './benchmarks/profile.ts';
import { roundTrips } from './benchmarks/round-trips.ts';
import { protectionsCost } from './benchmarks/protections.ts';
import { upkeep } from './benchmarks/upkeep.ts';
import { workerMemory } from './benchmarks/worker-memory.ts';
import { buildChildren } from './lib/build.ts';
import { quoteInDocs, withConditions, writeReport, type Benchmark } from './lib/report.ts';

const benchmarks: readonly Benchmark[] = [
  lifecycles,
  protectionsCost,
  memory,
  roundTrips,
  lateness,
  upkeep,
  workerMemory,
  profile,
];

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

const build = buildChildren();
try {
  for (const benchmark of benchmarks) {
    if (names.length === 0 || names.includes(benchmark.name)) await runOne(benchmark);
  }
} finally {
  build.remove();
}

async function runOne(benchmark: Benchmark): Promise<void> {
  const startedAt = performance.now();
  console.log(`${benchmark.name} …`);
  const found = await benchmark.run({ quick, compiled: build.child, say: (line) => console.log(`  ${line}`) });
  const report = { ...found, headline: withConditions(found.headline) };
  const seconds = (performance.now() - startedAt) / 1_000;
  writeReport(benchmark.name, report, quick, seconds);
  if (!quick) quoteInDocs(benchmark.name, report);
  for (const line of report.headline) console.log(`${benchmark.name}: ${line}`);
  console.log(`${benchmark.name}: ${report.ok ? 'done' : 'FAILED'} in ${seconds.toFixed(0)} s`);
  if (!report.ok) process.exitCode = 1;
}
