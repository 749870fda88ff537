import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Fault } from '../core/json.ts';
import type { PollOptions } from '../core/poll-schedule.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { toFaults } from '../queues/submit-job.ts';
import { secretReference, type ConfigFile } from './config-file.ts';
import type { Environment } from './environment.ts';

export interface ConfiguredAccount {
  name: string;
  /** The fields, parsed by the adapter's account schema. */
  account: unknown;
  poll: { [Key in keyof PollOptions]?: PollOptions[Key] | undefined };
  /** Reads the secrets that are in files again; undefined if none are. */
  refresh: (() => Promise<unknown>) | undefined;
}

/** Fields of an account: from the configuration file, and from variables for fields that the file omits. */
interface GivenAccount {
  inFile: Readonly<Record<string, unknown>>;
  fromEnvironment: Readonly<Record<string, string>>;
}

/** The accounts of one vendor that environment and file name. Reads no secret. */
export function nameAccounts(adapter: VendorAdapter, file: ConfigFile, env: Environment): readonly string[] {
  return [...collectAccounts(adapter, file, env).keys()];
}

/**
 * Reads the accounts of one vendor, their secrets included.
 * @returns the usable accounts; none if the vendor has no credentials, which is not a fault.
 */
export function readAccounts(
  adapter: VendorAdapter,
  file: ConfigFile,
  env: Environment,
  faults: Fault[],
): ConfiguredAccount[] {
  const own: Fault[] = [];
  const accounts = [...collectAccounts(adapter, file, env)].flatMap(
    ([name, given]) => readAccount(adapter, name, given, env, own) ?? [],
  );
  // Several accounts may share a variable: report its fault once.
  faults.push(...new Map(own.map((fault) => [`${fault.path}: ${fault.message}`, fault])).values());
  return accounts;
}

/**
 * The environment forms the account `default`, and its base URL applies to every account that sets none: with a test
 * system in the environment, no other account may call the real one.
 */
function collectAccounts(adapter: VendorAdapter, file: ConfigFile, env: Environment): Map<string, GivenAccount> {
  const variables = readEnvironment(adapter, env);
  const { default: added = {}, ...others } = file.accounts[adapter.name] ?? {};
  // Limits or a base URL alone do not form an account: without credentials the vendor is not started.
  const isNamed = adapter.credentials.some((field) => variables[field] !== undefined || added[field] !== undefined);
  const inFile = Object.entries<Readonly<Record<string, unknown>>>(isNamed ? { default: added, ...others } : others);
  const shared = baseUrlField(adapter);
  return new Map(
    inFile.map(([name, fields]) => {
      const usable = Object.entries(variables).filter(
        ([field]) => fields[field] === undefined && (name === 'default' || field === shared),
      );
      return [name, { inFile: fields, fromEnvironment: Object.fromEntries(usable) }];
    }),
  );
}

/** The field that `<VENDOR>_BASE_URL` fills. */
function baseUrlField(adapter: VendorAdapter): string | undefined {
  const variable = `${adapter.name.replaceAll('-', '_').toUpperCase()}_BASE_URL`;
  return Object.entries(adapter.environment).find(([, name]) => name === variable)?.[0];
}

function readAccount(
  adapter: VendorAdapter,
  name: string,
  { inFile, fromEnvironment }: GivenAccount,
  env: Environment,
  faults: Fault[],
): ConfiguredAccount | undefined {
  const { poll, ...own } = inFile as { poll?: ConfiguredAccount['poll'] } & Record<string, unknown>;
  // A field that is missing everywhere is to be set where the rest of the account is.
  const isInFile = name !== 'default' || Object.keys(inFile).length > 0;
  const pathOf = (field: string): string =>
    isInFile && fromEnvironment[field] === undefined
      ? `accounts.${adapter.name}.${name}.${field}`
      : (adapter.environment[field] ?? field);
  const resolved: Record<string, unknown> = { ...fromEnvironment };
  const files: { field: string; path: string }[] = [];
  const before = faults.length;
  for (const [field, value] of Object.entries(own)) {
    const path = pathOf(field);
    const reference = secretReference.safeParse(value);
    if (!reference.success) {
      if (adapter.secrets.includes(field)) {
        faults.push({
          path,
          message: 'is a secret: name it by { "env": "…" } or { "file": "…" } instead of writing it down',
        });
      } else resolved[field] = value;
    } else if ('env' in reference.data) {
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
          message: `${reference.data.file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`,
        });
      }
    }
  }
  if (faults.length > before) return undefined;
  const parsed = adapter.account.safeParse(resolved);
  if (!parsed.success) {
    for (const fault of toFaults(parsed.error)) {
      const [field = ''] = fault.path.split('.');
      faults.push({ path: `${pathOf(field)}${fault.path.slice(field.length)}`, message: fault.message });
    }
    return undefined;
  }
  const refresh = async (): Promise<unknown> => {
    const renewed = { ...resolved };
    for (const secret of files) renewed[secret.field] = (await readFile(secret.path, 'utf8')).trim();
    return adapter.account.parse(renewed) as unknown;
  };
  return {
    name,
    account: Object.freeze(parsed.data),
    poll: poll ?? {},
    refresh: files.length === 0 ? undefined : refresh,
  };
}

function readEnvironment(adapter: VendorAdapter, env: Environment): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [field, variable] of Object.entries(adapter.environment)) {
    const value = env[variable];
    if (value !== undefined && value !== '') fields[field] = value;
  }
  return fields;
}
