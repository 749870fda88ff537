import type { Config } from '../config/load-config.ts';
import { ConfigError } from '../core/errors.ts';
import type { VendorAdapter } from '../ports/vendor-adapter.ts';

/** The variables that start a vendor, as people are told: `SHARELY_API_KEY or SHARELY_ACCESS_TOKEN`. */
export function neededVariables(adapter: VendorAdapter): string {
  return adapter.credentials.map((field) => adapter.environment[field] ?? field).join(' or ');
}

export interface VendorChoice {
  started: string[];
  /** Those that were not asked for, or have no credentials. */
  withoutCredentials: VendorAdapter[];
}

/**
 * Decides which vendors a worker works for.
 * @throws ConfigError when one that was asked for is unknown or has no credentials, or when none is left.
 */
export function chooseVendors(config: Config, wanted: readonly string[] | undefined): VendorChoice {
  const known = new Map(config.vendors.map((vendor) => [vendor.adapter.name, vendor]));
  if (wanted !== undefined) {
    const faults = wanted.flatMap((name) => {
      const vendor = known.get(name);
      if (vendor === undefined) {
        const message = `${JSON.stringify(name)} is no vendor; known: ${[...known.keys()].join(', ')}`;
        return [{ path: '--vendors', message }];
      }
      if (vendor.accounts.length > 0) return [];
      return [{ path: '--vendors', message: `${name} has no credentials; set ${neededVariables(vendor.adapter)}` }];
    });
    if (faults.length > 0) throw new ConfigError(faults);
    return { started: [...wanted], withoutCredentials: [] };
  }
  const started = config.vendors.filter(({ accounts }) => accounts.length > 0).map(({ adapter }) => adapter.name);
  const without = config.vendors.filter(({ accounts }) => accounts.length === 0).map(({ adapter }) => adapter);
  if (started.length === 0) {
    const variables = without.map(neededVariables).join(' or ');
    const message = 'is not set: no vendor has credentials, so there is nothing to work for';
    throw new ConfigError([{ path: variables, message }]);
  }
  return { started, withoutCredentials: without };
}
