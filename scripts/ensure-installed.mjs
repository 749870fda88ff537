import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isMain, projectDir, runInForeground, seconds } from './tool.mjs';

const oldestNode = { major: 20, minor: 19 };

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, devOptional?: boolean }} LockedPackage */

/** Ends the process with one line when this Node is too old: what would follow are syntax errors far from the cause. */
export function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > oldestNode.major || (major === oldestNode.major && minor >= oldestNode.minor)) return;
  console.error(
    `jobferry needs Node ${oldestNode.major}.${oldestNode.minor} or later; this is ${process.versions.node}.`,
  );
  process.exit(1);
}

/**
 * @param {string} path
 * @returns {Record<string, LockedPackage> | undefined} undefined where there is no such file, or none that npm wrote
 */
function readLock(path) {
  try {
    const lock = /** @type {{ packages?: Record<string, LockedPackage> }} */ (JSON.parse(readFileSync(path, 'utf8')));
    return lock.packages;
  } catch {
    return undefined;
  }
}

/**
 * Whether node_modules holds what package-lock.json asks for, by content: npm writes what it has installed to a lock
 * file of its own there, last of all, so a cut-off install has none; and times of files say nothing after a checkout.
 */
export function isInstalled(folder = projectDir) {
  const wanted = readLock(join(folder, 'package-lock.json'));
  const present = readLock(join(folder, 'node_modules', '.package-lock.json'));
  if (wanted === undefined) return existsSync(join(folder, 'node_modules'));
  if (present === undefined) return false;
  for (const [path, { version, integrity, optional, devOptional }] of Object.entries(wanted)) {
    if (path === '') continue; // the project itself
    const found = present[path];
    // Optional packages for other systems are in the lock file and never on this disk.
    if (found === undefined && (optional || devOptional)) continue;
    if (found?.version !== version || found?.integrity !== integrity) return false;
  }
  return Object.keys(present).every((path) => wanted[path] !== undefined);
}

/** Installs the packages of the lock file where they are missing or others; otherwise costs a few milliseconds. */
export async function ensureInstalled() {
  requireNode();
  if (isInstalled()) return;
  const command = existsSync(join(projectDir, 'package-lock.json')) ? 'ci' : 'install';
  console.log(`Installing packages (npm ${command}) …`);
  const startedAt = Date.now();
  // Under `npm start` the npm that runs is the one to use, not another that PATH may hold.
  const npmFile = process.env.npm_execpath;
  const viaNpm = npmFile !== undefined && basename(npmFile) === 'npm-cli.js';
  const args = [command, '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const code = await (
    viaNpm
      ? runInForeground(process.execPath, [npmFile, ...args])
      : runInForeground(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, {
          shell: process.platform === 'win32',
        })
  ).catch((/** @type {Error} */ error) => {
    console.error(`npm cannot be started: ${error.message}`);
    return 1;
  });
  if (code !== 0) {
    console.error(`npm ${command} failed with exit code ${code}; its message stands above.`);
    process.exit(code);
  }
  console.log(`Packages installed in ${seconds(startedAt)}.`);
}

if (isMain(import.meta.url)) await ensureInstalled();
