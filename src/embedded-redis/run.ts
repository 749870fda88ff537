import { spawn } from 'node:child_process';

export interface RunResult {
  /** Exit code; null when a signal ended it or it could not be started. */
  code: number | null;
  stdout: string;
  stderr: string;
  /** Why there is no exit code. */
  fault?: string;
}

/** Runs a program to its end with no terminal and no input; never throws, so that each caller words its own failure. */
export function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string>; timeoutMs: number },
): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      // Messages are parsed, so they must not come in the language of the desktop.
      env: { ...process.env, LC_ALL: 'C', LANGUAGE: 'C', DEBIAN_FRONTEND: 'noninteractive', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', (error) => resolve({ code: null, stdout, stderr, fault: error.message }));
    child.once('close', (code, signal) => {
      if (code !== null) resolve({ code, stdout, stderr });
      else resolve({ code, stdout, stderr, fault: `ended by ${signal ?? 'a signal'} (limit ${options.timeoutMs} ms)` });
    });
  });
}

/** One short line about a failed run: the first error line it printed, or how it ended. */
export function describeExit(result: RunResult): string {
  if (result.fault !== undefined) return result.fault;
  const lines = `${result.stderr}\n${result.stdout}`.split('\n').map((line) => line.trim());
  const telling = lines.find((line) => /^E:|error/i.test(line)) ?? lines.find((line) => line !== '');
  return `exit code ${result.code ?? 'none'}${telling === undefined ? '' : `: ${telling.slice(0, 200)}`}`;
}
