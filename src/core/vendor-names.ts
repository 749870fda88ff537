/** The names that vendors and operations can have. They become names of queues and jobs. */

const vendorNamePattern = /^[a-z][a-z0-9-]{0,40}$/;
const operationNamePattern = /^[A-Za-z][A-Za-z0-9.]{0,60}$/;
const takenVendorNames: readonly string[] = ['results', 'jobferry'];

/** Why a vendor cannot have this name; undefined where it can. */
export function whyVendorNameIsRefused(name: string): string | undefined {
  if (!vendorNamePattern.test(name)) return 'the name must match ^[a-z][a-z0-9-]*$';
  return takenVendorNames.includes(name) ? 'this name is taken' : undefined;
}

/** Why an operation cannot have this name; undefined where it can. */
export function whyOperationNameIsRefused(name: string): string | undefined {
  return operationNamePattern.test(name) ? undefined : 'the name must match ^[A-Za-z][A-Za-z0-9.]*$';
}
