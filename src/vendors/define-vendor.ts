import type * as z from 'zod';
import type { Operation, VendorAdapter } from '../ports/vendor-adapter.ts';

/**
 * Declares a vendor; see docs/adding-a-vendor.md. The types of `http`, `lookups` and `operations` follow from the
 * account schema. Checked here, once, so that a slip shows at start and not at the first failure.
 * @throws Error naming what contradicts itself.
 */
export function defineVendor<
  Schema extends z.ZodType,
  const Operations extends Record<string, Operation<z.output<Schema>>>,
>(
  vendor: Omit<VendorAdapter<z.output<Schema>>, 'account' | 'operations'> & { account: Schema; operations: Operations },
): VendorAdapter<z.output<Schema>> & { operations: Operations } {
  const fail = (message: string): never => {
    throw new Error(`vendor ${JSON.stringify(vendor.name)}: ${message}`);
  };
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(vendor.name)) fail('the name must match ^[a-z][a-z0-9-]*$');
  if (vendor.name === 'results' || vendor.name === 'jobferry') fail('this name is taken');
  for (const [name, operation] of Object.entries(vendor.operations)) {
    if (!/^[A-Za-z][A-Za-z0-9.]{0,60}$/.test(name))
      fail(`operation ${JSON.stringify(name)}: the name must match ^[A-Za-z][A-Za-z0-9.]*$`);
    if (operation.resend !== 'none' && operation.resend !== 'safe' && operation.reconcile === undefined) {
      fail(`operation ${name}: a resend that needs a look-up needs \`reconcile\``);
    }
  }
  for (const [name, lookup] of Object.entries(vendor.lookups)) {
    if (typeof lookup.maxBatch === 'number' && (!Number.isInteger(lookup.maxBatch) || lookup.maxBatch < 1))
      fail(`look-up ${name}: maxBatch must be a whole number from 1`);
  }
  return Object.freeze(vendor) as VendorAdapter<z.output<Schema>> & { operations: Operations };
}

/** Types an operation by its input schema, so that its steps know what `input` is. */
export function defineOperation<Account>() {
  return <Schema extends z.ZodType>(
    operation: Omit<Operation<Account, z.output<Schema>>, 'input'> & { input: Schema },
  ): Operation<Account, z.output<Schema>> & { input: Schema } => operation as never;
}
