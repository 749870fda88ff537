import { readFileSync } from 'node:fs';
import type { Fault } from '../core/json.ts';
import type { Environment } from './environment.ts';

/**
 * A secret from the environment: the variable itself, or the line in the file that `<name>_FILE` names. Unlike a
 * variable, a file appears in no listing of processes or containers.
 * @returns undefined if neither is set, or if the file cannot be read, which is a fault.
 */
export function readSecretVariable(env: Environment, name: string, faults: Fault[]): string | undefined {
  const value = env[name] === '' ? undefined : env[name];
  const path = env[`${name}_FILE`];
  if (path === undefined || path === '') return value;
  const complain = (message: string): undefined => void faults.push({ path: `${name}_FILE`, message });
  if (value !== undefined) return complain(`is set, and ${name} too: unset one of them`);
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    return complain(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`);
  }
  if (text === '') return complain(`${path} is empty`);
  return /[\r\n]/.test(text) ? complain(`${path} has more than one line`) : text;
}
