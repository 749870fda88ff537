import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Environment } from '../config/environment.ts';
import { readConfiguration } from '../config/config-file.ts';
import { ConfigError } from '../core/errors.ts';
import { clip, type Fault } from '../core/json.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { adapters as own } from '../vendors/catalogue.ts';
import { checkDeclaration } from '../vendors/check-declaration.ts';

/** The vendors that this command knows: those of the product, of the configuration file and of `--vendor-module`. */
export const adapters: VendorAdapter[] = [...own];

/**
 * Loads vendors from TypeScript or JavaScript files and adds them to `adapters`: first those that the configuration file
 * lists in `vendorModules`, relative to itself.
 * @param files - further ones, relative to the working folder
 * @throws ConfigError with a line for each that is missing, fails, exports no vendor, or takes a name that is taken
 */
export async function useVendorModules(
  files: readonly string[] = [],
  env: Environment = process.env,
  cwd = process.cwd(),
): Promise<void> {
  const faults: Fault[] = [];
  const sources = new Map<string, string>();
  // What is wrong with the file itself is said with all other faults of the configuration.
  for (const file of readConfiguration(env, cwd, []).vendorModules) sources.set(file, `vendorModules: ${file}`);
  for (const file of files) {
    const absolute = path.resolve(cwd, file);
    if (!sources.has(absolute)) sources.set(absolute, `--vendor-module ${file}`);
  }
  for (const [file, source] of sources) {
    try {
      for (const adapter of await loadVendors(file)) {
        const holder = adapters.find((one) => one.name === adapter.name);
        if (holder !== undefined)
          throw new Error(`the name ${JSON.stringify(adapter.name)} is taken by another vendor`);
        adapters.push(adapter);
      }
    } catch (error) {
      const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
      faults.push({ path: source, message: clip(line, 400) });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
}

/**
 * The vendors that a file exports, by default or by name.
 * @param file - absolute
 * @throws Error saying in one line what is wrong with it
 */
export async function loadVendors(file: string): Promise<VendorAdapter[]> {
  if (!existsSync(file)) throw new Error('there is no such file');
  const [{ createJiti }, jobferry, zod] = await Promise.all([import('jiti'), import('../index.ts'), import('zod')]);
  // The module gets what runs it: a second copy would have classes of its own, and one file needs no packages beside it.
  const jiti = createJiti(import.meta.url, {
    fsCache: false,
    interopDefault: false,
    virtualModules: { jobferry, zod },
  });
  let exported: Record<string, unknown>;
  try {
    exported = await jiti.import<Record<string, unknown>>(file);
  } catch (error) {
    throw new Error(`cannot be loaded: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const found = new Set([exported, ...Object.values(exported)].filter(isAdapter));
  if (found.size === 0) throw new Error('exports no vendor; export what defineVendor returns');
  for (const adapter of found) checkDeclaration(adapter);
  return [...found];
}

/** By its shape, because it may come from another copy of the library. */
function isAdapter(value: unknown): value is VendorAdapter {
  if (typeof value !== 'object' || value === null) return false;
  const { name, account, http, lookups, operations } = value as Partial<VendorAdapter>;
  return (
    typeof name === 'string' &&
    typeof account?.safeParse === 'function' &&
    typeof http?.baseUrl === 'function' &&
    typeof lookups === 'object' &&
    typeof operations === 'object'
  );
}
