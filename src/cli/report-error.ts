import { ConfigError, IdTakenError, InvalidSubmissionError, RedisUnavailableError } from '../core/errors.ts';
import { redactText } from '../core/redact.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

let redisTrouble: string | undefined;

/** Remembers why Redis can not be reached: what a command that failed for it says is only that it gave up. */
export function noteRedisTrouble(where: string, error: Error): void {
  const { code } = error as NodeJS.ErrnoException;
  redisTrouble = `${where} is not reachable: ${error.message === '' ? (code ?? error.name) : error.message}`;
}

/** Tells on stderr what went wrong, one line per fault, and returns the exit code that goes with it. */
export function reportError(error: unknown): number {
  const { exitCode, lines } = describeError(error);
  for (const line of lines) write(line);
  const isUnexpected = exitCode === exitCodes.internal;
  if (isUnexpected && /^(debug|trace)$/.test(process.env['LOG_LEVEL'] ?? '') && error instanceof Error) {
    process.stderr.write(`${redactText(error.stack ?? '')}\n`);
  }
  return exitCode;
}

/** One line for people on stderr, whatever stood in it. */
export function complain(line: string): void {
  write(redactText(inOneLine(line)));
}

function write(redacted: string): void {
  process.stderr.write(`jobferry: ${inOneLine(redacted)}\n`);
}

function inOneLine(text: string): string {
  const parts = text.split(/[\r\n]/).map((part) => part.trim());
  return parts.filter((part) => part !== '').join(' ');
}

/** Its lines have no secrets in them any more. */
function describeError(error: unknown): { exitCode: number; lines: string[] } {
  if (error instanceof ConfigError) return { exitCode: exitCodes.config, lines: error.faults.map(toLine) };
  if (error instanceof InvalidSubmissionError) return { exitCode: exitCodes.badInput, lines: error.faults.map(toLine) };
  if (error instanceof RedisUnavailableError) {
    return { exitCode: exitCodes.unavailable, lines: [redactText(`REDIS_URL: ${redisTrouble ?? error.message}`)] };
  }
  if (error instanceof IdTakenError) return { exitCode: exitCodes.notSucceeded, lines: [redactText(error.message)] };
  if (error instanceof CommandError) return { exitCode: error.exitCode, lines: [redactText(error.message)] };
  return { exitCode: exitCodes.internal, lines: [redactText(error instanceof Error ? error.message : String(error))] };
}

/**
 * Path and message apart: after `apiKey: ` any word would pass for a key, and what is hidden then is the name of the
 * file that is missing.
 */
function toLine(fault: { path: string; message: string }): string {
  return `${fault.path === '' ? 'job data' : redactText(fault.path)}: ${redactText(fault.message)}`;
}
