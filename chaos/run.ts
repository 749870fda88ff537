import { build } from './lib/build.ts';
import { runFire } from './lib/fire.ts';
import { readOptions, type FireOptions } from './lib/options.ts';
import { isAsExpected, summarise, writeResults } from './lib/report.ts';

let options: FireOptions;
try {
  options = readOptions(process.argv.slice(2), (line) => console.log(line));
} catch (error) {
  console.error((error as Error).message);
  process.exit(64);
}

const compiled = build();
try {
  const report = await runFire(options, compiled);
  for (const line of summarise(options, report)) console.log(line);
  for (const file of writeResults(options, report)) console.log(`written: ${file}`);
  if (!isAsExpected(options, report)) process.exitCode = 1;
} finally {
  compiled.remove();
}
