import path from 'node:path';
import type { Fault } from '../core/json.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import type { Environment } from './environment.ts';
import { secretReference, type ConfigFile } from './config-file.ts';

/**
 * Refuses addresses in a configuration file that was found by its default name, if the secret that would be sent there
 * comes from the environment or from a file outside the working folder. Otherwise a worker that is started in a foreign
 * folder would send the keys of its environment to the author of the file.
 * @param file - the path of the configuration file
 */
export function refuseFoundAddresses(
  file: string,
  accounts: ConfigFile['accounts'],
  adapters: readonly VendorAdapter[],
  env: Environment,
): Fault[] {
  return adapters.flatMap((adapter) =>
    Object.entries(accounts[adapter.name] ?? {}).flatMap(([name, fields]) => {
      const secret = adapter.secrets
        .map((field) => foreignSource(adapter, name, field, fields[field], env, path.dirname(file)))
        .find((source) => source !== undefined);
      if (secret === undefined) return [];
      return Object.entries(fields)
        .filter(([field, value]) => isForeignAddress(adapter, field, value, env))
        .map(([field]) => ({
          path: `accounts.${adapter.name}.${name}.${field}`,
          message: `is set by ${file}, which was only found in the working folder, and ${secret} would be sent there; set JOBFERRY_CONFIG to that path if you mean it`,
        }));
    }),
  );
}

function foreignSource(
  adapter: VendorAdapter,
  account: string,
  field: string,
  value: unknown,
  env: Environment,
  folder: string,
): string | undefined {
  const { data } = secretReference.safeParse(value);
  if (data === undefined) {
    const variable = adapter.environment[field] ?? '';
    return account === 'default' && value === undefined && (env[variable] ?? '') !== '' ? variable : undefined;
  }
  if ('env' in data) return data.env;
  const isInside = !path.relative(folder, path.resolve(folder, data.file)).startsWith('..');
  return isInside ? undefined : data.file;
}

function isForeignAddress(adapter: VendorAdapter, field: string, value: unknown, env: Environment): boolean {
  if (typeof value !== 'string' || !/^https?:/i.test(value) || !URL.canParse(value)) return false;
  if (value === env[adapter.environment[field] ?? '']) return false;
  return new URL(value).origin !== usualOrigin(adapter);
}

/** The vendor's default address; undefined if it cannot be determined. */
function usualOrigin(adapter: VendorAdapter): string | undefined {
  const credentials = Object.fromEntries([...adapter.credentials, ...adapter.secrets].map((one) => [one, 'x']));
  const others = Object.fromEntries(Object.keys(adapter.environment).map((one) => [one, 'x']));
  for (const fields of [credentials, { ...others, ...credentials, baseUrl: undefined }]) {
    const parsed = adapter.account.safeParse(fields);
    if (!parsed.success) continue;
    try {
      return new URL(adapter.http.baseUrl(parsed.data)).origin;
    } catch {
      return undefined;
    }
  }
  return undefined;
}
