import { join } from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { projectDir, runQuietly, seconds, toolFile } from './tool.mjs';

await ensureInstalled();

/** @param {string[]} args */
const node = (...args) => runQuietly(process.execPath, args);
/** As `npm run lint` names them. */
const cruised = ['src', 'sandbox', 'bench', 'chaos', 'scripts', 'test', 'examples'];
const steps = {
  types: () => node(toolFile('typescript', 'tsc'), '-p', 'tsconfig.json', '--noEmit'),
  eslint: () => node(toolFile('eslint'), '.'),
  prettier: () => node(toolFile('prettier'), '--check', '.'),
  'import arrows': () =>
    node(toolFile('dependency-cruiser', 'depcruise'), '--config', '.dependency-cruiser.mjs', ...cruised),
  build: async () => ({ code: (await ensureBuilt()) ? 0 : 1, output: '' }),
  'public surface': () => node(join(projectDir, 'scripts', 'api-report.mjs'), '--check'),
};

// Every step runs, whatever the others found: one run shows all faults.
const failed = [];
for (const [name, step] of Object.entries(steps)) {
  const startedAt = Date.now();
  const { code, output } = await step();
  if (code !== 0) {
    failed.push(name);
    console.log(output.trimEnd());
  }
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(14)} ${seconds(startedAt)}`);
}
if (failed.length > 0) {
  console.log(`Checks failed: ${failed.join(', ')}`);
  process.exitCode = 1;
}
