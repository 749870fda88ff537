import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { ensureInstalled } from './ensure-installed.mjs';
import { isMain, projectDir, runQuietly, seconds, toolFile } from './tool.mjs';

const distDir = join(projectDir, 'dist');
const commandFile = join(distDir, 'cli', 'main.js');
const stampFile = join(projectDir, '.jobferry', 'build-stamp');

/** In this order: `src` is compiled against the sandbox's declarations, and the sandbox against nothing of ours. */
const parts = [
  { sources: join(projectDir, 'sandbox'), output: join(distDir, 'sandbox'), project: 'sandbox/tsconfig.json' },
  { sources: join(projectDir, 'src'), output: distDir, project: 'tsconfig.build.json' },
];

/** @param {string} folder */
function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Changes whenever a rebuild could give something else. Contents, because a checkout gives old files new times. */
function fingerprint() {
  const hash = createHash('sha256');
  const settings = readdirSync(projectDir).filter((name) => name === 'package.json' || /^tsconfig.*\.json$/.test(name));
  for (const path of [
    ...settings.map((name) => join(projectDir, name)),
    ...parts.flatMap(({ sources }) => filesBelow(sources)),
  ].sort()) {
    hash
      .update(`${relative(projectDir, path)}\0`)
      .update(readFileSync(path))
      .update('\0');
  }
  return hash.digest('hex');
}

/** @param {string} wanted */
function isFresh(wanted) {
  if (!existsSync(stampFile) || !existsSync(commandFile)) return false;
  if (readFileSync(stampFile, 'utf8') !== wanted) return false;
  // A dist that was cut short or partly deleted after the stamp was written.
  return parts.every(({ sources, output }) =>
    filesBelow(sources)
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
      .every((path) => existsSync(join(output, relative(sources, path).replace(/\.ts$/, '.js')))),
  );
}

/**
 * Compiles sandbox and src to dist unless dist is already what the sources give. Files are written in place and what is no longer
 * emitted is removed afterwards, so a jobferry that runs from dist is never without its modules.
 * @returns {Promise<boolean>} false when the compiler found faults; its messages have been printed.
 */
export async function ensureBuilt({ force = false } = {}) {
  const wanted = fingerprint();
  if (!force && isFresh(wanted)) return true;
  const startedAt = Date.now();
  rmSync(stampFile, { force: true });
  const emitted = new Set();
  for (const { project } of parts) {
    const { code, output } = await runQuietly(process.execPath, [
      toolFile('typescript', 'tsc'),
      ...['-p', project, '--noEmitOnError', '--listEmittedFiles', '--pretty', 'false'],
    ]);
    const lines = output.split('\n');
    /** @param {string} line */
    const isEmitted = (line) => line.startsWith('TSFILE:');
    if (code !== 0) {
      console.error(
        lines
          .filter((line) => !isEmitted(line))
          .join('\n')
          .trim(),
      );
      console.error(`Build failed after ${seconds(startedAt)}.`);
      return false;
    }
    for (const line of lines.filter(isEmitted)) emitted.add(resolve(projectDir, line.slice(7).trim()));
  }
  for (const path of filesBelow(distDir)) if (!emitted.has(path)) rmSync(path);
  // By force: an empty folder within one has gone with it.
  for (const folder of emptyFolders(distDir)) rmSync(folder, { recursive: true, force: true });
  if (existsSync(commandFile)) chmodSync(commandFile, 0o755);
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, wanted);
  console.log(`Built dist in ${seconds(startedAt)}.`);
  return true;
}

/** @param {string} folder */
function emptyFolders(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => existsSync(path) && statSync(path).isDirectory() && filesBelow(path).length === 0);
}

if (isMain(import.meta.url)) {
  await ensureInstalled();
  if (!(await ensureBuilt({ force: process.argv.includes('--force') }))) process.exit(1);
}
