import { spawn } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { clearInterval, setInterval } from 'node:timers';
import { fileURLToPath } from 'node:url';

/** The project's folder: the scripts work from any working folder. */
export const projectDir = fileURLToPath(new URL('..', import.meta.url));

/**
 * The script file behind an installed command. Run with our own Node, it needs neither `npx` nor the links in
 * `node_modules/.bin`, which are shell files on some systems.
 * @param {string} packageName
 */
export function toolFile(packageName, binName = packageName) {
  const folder = new URL(`../node_modules/${packageName}/`, import.meta.url);
  const { bin } = /** @type {{ bin?: string | Record<string, string> }} */ (
    JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'))
  );
  const file = typeof bin === 'string' ? bin : bin?.[binName];
  if (file === undefined) throw new Error(`${packageName} has no command ${binName}`);
  return fileURLToPath(new URL(file, folder));
}

/**
 * Runs a program in the project's folder with our input and output, passes signals on, and resolves to its exit code.
 * At a terminal Ctrl+C reaches the whole process group already: passing it on would make one key press arrive twice,
 * and a second SIGINT reads as "stop now" to a program that is shutting down in order.
 *
 * npm puts a shell between itself and us, and a SIGTERM sent to npm ends that shell without our hearing of it. So under
 * npm the loss of the parent counts as SIGTERM; else a killed `npm start` would leave all its processes behind.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>}
 */
export function runInForeground(command, args, { cwd = projectDir, ...options } = {}) {
  const child = spawn(command, args, { cwd, stdio: 'inherit', ...options });
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  const onInterrupt = () => {
    if (!atTerminal) child.kill('SIGINT');
  };
  const onTerminate = () => child.kill('SIGTERM');
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    onTerminate();
  }, 500);
  if (process.env.npm_lifecycle_event === undefined) clearInterval(watch);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearInterval(watch);
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onTerminate);
      resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

/**
 * Runs a program quietly; what it printed comes back with its exit code.
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {Promise<{ code: number, output: string }>}
 */
export function runQuietly(command, args) {
  const child = spawn(command, args, { cwd: projectDir, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

/** @param {number} startedAt - epoch ms */
export function seconds(startedAt) {
  return `${((Date.now() - startedAt) / 1000).toFixed(1)} s`;
}

/**
 * True for the script that was started, false where it is imported by another one.
 * @param {string} metaUrl
 */
export function isMain(metaUrl) {
  return process.argv[1] !== undefined && fileURLToPath(metaUrl) === realpathSync(process.argv[1]);
}
