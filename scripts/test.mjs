import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { runInForeground, toolFile } from './tool.mjs';

/** For daily work, under a minute: what a slip breaks first. Needs no build, for no file of it runs the command. */
const quickFiles = [
  'test/unit',
  ...['any-vendor', 'cancel', 'knowhere-parse', 'outcomes', 'retry'].map((name) => `test/integration/${name}.test.ts`),
];

await ensureInstalled();
const isQuick = process.argv[2] === '--quick';
const given = process.argv.slice(isQuick ? 3 : 2);
// The end-to-end tests run the built command. A build that fails must not keep the other tests from telling why.
const built = isQuick || (await ensureBuilt());

const reportDir = mkdtempSync(join(tmpdir(), 'jobferry-test-report-'));
const reportFile = join(reportDir, 'report.json');
try {
  const code = await runInForeground(process.execPath, [
    toolFile('vitest'),
    'run',
    ...['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`],
    ...(isQuick ? quickFiles : []),
    ...given,
  ]);
  const { passed, failed, skipped } = countTests(reportFile);
  process.exitCode = code !== 0 || !built || failed > 0 ? code || 1 : 0;
  if (!built) console.log('The build failed; its messages stand above the tests.');
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
} finally {
  rmSync(reportDir, { recursive: true, force: true });
}

/**
 * @typedef {{
 *   testResults: { status: string, assertionResults: { status: string }[] }[],
 *   numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number,
 * }} TestReport
 */

/**
 * A test file that cannot even be loaded has no tests to count; it counts as one failure, so that it is not missed.
 * @param {string} path
 */
function countTests(path) {
  /** @type {TestReport} */
  let report;
  try {
    report = /** @type {TestReport} */ (JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  ).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
