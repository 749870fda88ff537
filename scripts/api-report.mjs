/**
 * Writes what each entry of the package exports into `api/`, one file an entry, from the built declarations: a widened
 * public surface shows in review. `--check` only says whether the files are up to date.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';
import { ensureBuilt } from './build.mjs';
import { projectDir, runQuietly } from './tool.mjs';

const isCheck = process.argv.includes('--check');
const reportFolder = join(projectDir, 'api');
const packageFile = join(projectDir, 'package.json');

/** `.` → jobferry, `./client` → jobferry-client; entries without types (schemas, package.json) have no surface. */
/** @type {{ exports: Record<string, { types?: string }> }} */
const manifest = JSON.parse(readFileSync(packageFile, 'utf8'));
const entries = Object.entries(manifest.exports).flatMap(([path, { types }]) =>
  types === undefined ? [] : [{ name: path === '.' ? 'jobferry' : `jobferry-${path.slice(2)}`, types }],
);

if (!(await ensureBuilt())) process.exit(1);
mkdirSync(reportFolder, { recursive: true });
const freshFolder = mkdtempSync(join(tmpdir(), 'jobferry-api-'));
try {
  const changed = [];
  for (const entry of entries) if (writeReport(entry)) changed.push(`${entry.name}.api.md`);
  const known = new Set(entries.map(({ name }) => `${name}.api.md`));
  const gone = readdirSync(reportFolder).filter((file) => !known.has(file));
  if (isCheck) await complain(changed, gone);
  else {
    for (const file of gone) rmSync(join(reportFolder, file));
    const touched = [...changed, ...gone];
    console.log(touched.length === 0 ? 'api is up to date' : `written: ${touched.join(', ')}`);
  }
} finally {
  rmSync(freshFolder, { recursive: true, force: true });
}

/**
 * @param {{ name: string, types: string }} entry
 * @returns true where the report differs from the one that is checked in
 */
function writeReport({ name, types }) {
  const options = { target: 'ES2023', module: 'NodeNext', moduleResolution: 'NodeNext', types: ['node'], strict: true };
  const silent = { default: { logLevel: ExtractorLogLevel.None } };
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: packageFile,
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: projectDir,
      mainEntryPointFilePath: resolve(projectDir, types),
      newlineKind: 'lf',
      compiler: {
        overrideTsconfig: { compilerOptions: { ...options, skipLibCheck: true }, include: ['dist/**/*.d.ts'] },
      },
      apiReport: {
        enabled: true,
        reportFileName: name,
        reportFolder,
        reportTempFolder: freshFolder,
        // What an exported type is made of is part of the surface, exported or not.
        includeForgottenExports: true,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      // Rules for comments and release tags are not ours; only a compiler error counts.
      messages: { extractorMessageReporting: silent, tsdocMessageReporting: silent },
    },
  });
  /** @param {import('@microsoft/api-extractor').ExtractorMessage} message */
  const onMessage = (message) => {
    message.handled = true;
    if (message.logLevel === ExtractorLogLevel.Error) console.error(message.text);
  };
  const result = Extractor.invoke(config, { localBuild: !isCheck, messageCallback: onMessage });
  if (result.errorCount > 0) throw new Error(`no report could be made of ${types}`);
  return result.apiReportChanged;
}

/**
 * @param {string[]} changed
 * @param {string[]} gone
 */
async function complain(changed, gone) {
  if (changed.length === 0 && gone.length === 0) return;
  for (const file of changed.filter((name) => existsSync(join(reportFolder, name)))) {
    const args = ['diff', '--no-index', '--unified=1', join(reportFolder, file), join(freshFolder, file)];
    const { output } = await runQuietly('git', args).catch(() => ({ output: '' }));
    console.log(output.trimEnd());
  }
  console.log(`The public surface is not what api/ says: ${[...changed, ...gone].join(', ')}.`);
  console.log('If this is meant, run `npm run api` and commit the files, so that the change shows in review.');
  process.exitCode = 1;
}
