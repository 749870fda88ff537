import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Fault } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { toFaults } from '../queues/submit-job.ts';
import { secretReference, type ConfigFile } from './config-file.ts';

export interface ConfiguredAccount {
  name: string;
  /** What the adapter's account schema made of the fields. */
  account: unknown;
  poll: { [Key in keyof PollOptions]?: PollOptions[Key] | undefined };
  /** Reads the secrets that stand in files anew; undefined when none does. */
  refresh: (() => Promise<unknown>) | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Collects the accounts of one vendor from the environment (the account `default`) and the configuration file, which
 * wins where both name a field.
 * @returns the accounts that can be used; none when the vendor has no credentials, which is no fault.
 */
export function readAccounts(
  adapter: VendorAdapter,
  file: ConfigFile,
  env: Environment,
  faults: Fault[],
): ConfiguredAccount[] {
  const given = new Map<string, Record<string, unknown>>(Object.entries(file.accounts[adapter.name] ?? {}));
  const fromEnvironment = readEnvironment(adapter, env);
  // A base URL alone makes no account: without credentials the vendor is not started.
  const isNamed = adapter.credentials.some((field) => fromEnvironment[field] !== undefined);
  const inFile = given.get('default');
  if (inFile !== undefined || isNamed) given.set('default', { ...fromEnvironment, ...inFile });

  const accounts: ConfiguredAccount[] = [];
  for (const [name, fields] of given) {
    const source = name === 'default' && inFile === undefined ? undefined : `accounts.${adapter.name}.${name}`;
    const account = readAccount(adapter, name, fields, env, source, faults);
    if (account !== undefined) accounts.push(account);
  }
  return accounts;
}

function readAccount(
  adapter: VendorAdapter,
  name: string,
  fields: Record<string, unknown>,
  env: Environment,
  source: string | undefined,
  faults: Fault[],
): ConfiguredAccount | undefined {
  const { poll, ...own } = fields;
  const resolved: Record<string, unknown> = {};
  const files: { field: string; path: string }[] = [];
  const before = faults.length;
  for (const [field, value] of Object.entries(own)) {
    const path = source === undefined ? (adapter.environment[field] ?? field) : `${source}.${field}`;
    const reference = secretReference.safeParse(value);
    if (reference.success) {
      if ('env' in reference.data) {
        resolved[field] = env[reference.data.env];
        if (resolved[field] === undefined || resolved[field] === '') {
          faults.push({ path, message: `the environment variable ${reference.data.env} is not set` });
        }
      } else {
        files.push({ field, path: reference.data.file });
        try {
          resolved[field] = readFileSync(reference.data.file, 'utf8').trim();
        } catch (error) {
          faults.push({
            path,
            message: `${reference.data.file} can not be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`,
          });
        }
      }
    } else if (
      source !== undefined &&
      adapter.secrets.includes(field) &&
      value !== env[adapter.environment[field] ?? '']
    ) {
      faults.push({
        path,
        message: 'is a secret: name it by { "env": "…" } or { "file": "…" } instead of writing it down',
      });
    } else {
      resolved[field] = value;
    }
  }
  if (faults.length > before) return undefined;
  const parsed = adapter.account.safeParse(resolved);
  if (!parsed.success) {
    for (const fault of toFaults(parsed.error)) {
      const [field = ''] = fault.path.split('.');
      const path = source === undefined ? (adapter.environment[field] ?? field) : `${source}.${fault.path}`;
      faults.push({ path, message: fault.message });
    }
    return undefined;
  }
  const refresh = async (): Promise<unknown> => {
    const anew = { ...resolved };
    for (const secret of files) anew[secret.field] = (await readFile(secret.path, 'utf8')).trim();
    return adapter.account.parse(anew) as unknown;
  };
  return {
    name,
    account: Object.freeze(parsed.data),
    poll: poll ?? {},
    refresh: files.length === 0 ? undefined : refresh,
  };
}

function readEnvironment(adapter: VendorAdapter, env: Environment): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [field, variable] of Object.entries(adapter.environment)) {
    const value = env[variable];
    if (value !== undefined && value !== '') fields[field] = value;
  }
  return fields;
}
