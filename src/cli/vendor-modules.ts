import { existsSync } from 'node:fs';
import path from 'node:path';
import { ConfigError } from '../core/errors.ts';
import { clip, type Fault } from '../core/json.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { adapters as own } from '../vendors/catalogue.ts';

/** The vendors that this command knows: those of the product, and those of `--vendor-module`. */
export const adapters: VendorAdapter[] = [...own];

const option = '--vendor-module';

/**
 * Loads vendors from TypeScript or JavaScript files and adds them to `adapters`.
 * @param files - relative to the working folder
 * @throws ConfigError with a line for each that is missing, fails, exports no vendor, or takes a name that is taken
 */
export async function useVendorModules(files: readonly string[], cwd = process.cwd()): Promise<void> {
  const faults: Fault[] = [];
  for (const file of files) {
    try {
      for (const adapter of await loadVendors(path.resolve(cwd, file))) {
        const holder = adapters.find((one) => one.name === adapter.name);
        if (holder !== undefined)
          throw new Error(`the name ${JSON.stringify(adapter.name)} is taken by another vendor`);
        adapters.push(adapter);
      }
    } catch (error) {
      const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
      faults.push({ path: `${option} ${file}`, message: clip(line, 400) });
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
    throw new Error(`can not be loaded: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const found = new Set([exported, ...Object.values(exported)].filter(isAdapter));
  if (found.size === 0) throw new Error('exports no vendor; export what defineVendor returns');
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
