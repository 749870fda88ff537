import type * as z from 'zod';
import type { VendorJobStatus } from '../core/submission.ts';
import { whyOperationNameIsRefused, whyVendorNameIsRefused } from '../core/vendor-names.ts';
import type { HttpOptions, Lookup, Operation, VendorAdapter } from '../ports/vendor-adapter.ts';
import { checkDeclaration, checkStatusWords } from './check-declaration.ts';
import { httpDefaults, namesOf } from './vendor-defaults.ts';

/** A look-up as it is declared: one vendor job per request when `maxBatch` is left out. */
export type LookupSpec<Account> = Omit<Lookup<Account>, 'maxBatch'> & Partial<Pick<Lookup<Account>, 'maxBatch'>>;

/** An operation as it is declared; what its steps know as `input` follows from its schema. */
export type OperationSpec<Account, Schema extends z.ZodType> = Omit<Operation<Account, z.output<Schema>>, 'input'> & {
  input: Schema;
};

/** What `defineVendor` takes: a `VendorAdapter` in which what can be guessed may be left out. */
export interface VendorSpec<AccountSchema extends z.ZodType, Inputs extends Record<string, z.ZodType>> {
  name: string;
  summary: string;
  account: AccountSchema;
  /** Left out, a field `apiKey` of a vendor `acme` is read from `ACME_API_KEY`, and so on for all that are texts. */
  environment?: Readonly<Record<string, string>>;
  /** Left out, the fields whose names say so: `apiKey`, `clientSecret`, `accessToken` … */
  secrets?: readonly string[];
  /** Left out, the secrets. */
  credentials?: readonly string[];
  /** Left out, requests go to the account's `baseUrl` and carry its `apiKey` as a bearer token. */
  http?: Partial<HttpOptions<z.output<AccountSchema>>>;
  lookups: Readonly<Record<string, LookupSpec<z.output<AccountSchema>>>>;
  operations: { readonly [Name in keyof Inputs]: OperationSpec<z.output<AccountSchema>, Inputs[Name]> };
  /** Left out where the vendor has no list of its jobs. */
  listVendorJobs?: NonNullable<VendorAdapter<z.output<AccountSchema>>['listVendorJobs']>;
}

/** A vendor whose operations are known by name and input. */
export type DefinedVendor<AccountSchema extends z.ZodType, Inputs extends Record<string, z.ZodType>> = Omit<
  VendorAdapter<z.output<AccountSchema>>,
  // With the adapter's own record of any name beside it, every text would be the name of an operation.
  'operations'
> & {
  readonly operations: {
    readonly [Name in keyof Inputs]: Operation<z.output<AccountSchema>, z.output<Inputs[Name]>> & {
      input: Inputs[Name];
    };
  };
};

/**
 * Declares a vendor; see docs/adding-a-vendor.md. The types of `http` and `lookups` follow from the account schema,
 * those of an operation's steps from its own `input`. Checked here, once, so that a slip shows at start and not at the
 * first failure.
 * @throws Error naming what contradicts itself.
 */
export function defineVendor<AccountSchema extends z.ZodType, Inputs extends Record<string, z.ZodType>>(
  vendor: VendorSpec<AccountSchema, Inputs>,
): DefinedVendor<AccountSchema, Inputs> {
  const fail = (message: string): never => {
    throw new Error(`vendor ${JSON.stringify(vendor.name)}: ${message}`);
  };
  const refusal = whyVendorNameIsRefused(vendor.name);
  if (refusal !== undefined) fail(refusal);
  const operations = vendor.operations as Readonly<Record<string, Operation>>;
  for (const name of Object.keys(operations)) {
    const why = whyOperationNameIsRefused(name);
    if (why !== undefined) fail(`operation ${JSON.stringify(name)}: ${why}`);
  }
  try {
    checkDeclaration({ lookups: vendor.lookups, operations });
  } catch (error) {
    fail((error as Error).message);
  }
  const lookups = Object.entries(vendor.lookups).map(([name, lookup]) => [name, { maxBatch: 1, ...lookup }] as const);
  const defined = {
    ...vendor,
    ...namesOf(vendor, fail),
    http: { ...httpDefaults(vendor, fail), ...vendor.http },
    lookups: Object.fromEntries(lookups),
  };
  return Object.freeze(defined) as unknown as DefinedVendor<AccountSchema, Inputs>;
}

/** Types an operation by its input schema where it stands in a file of its own. */
export function defineOperation<Account>() {
  return <Schema extends z.ZodType>(
    operation: OperationSpec<Account, Schema>,
  ): Operation<Account, z.output<Schema>> & { input: Schema } => operation as never;
}

/**
 * Translates a vendor's words for how a job stands, in any case where none is listed as written. A word that is not
 * listed is `running`: it ends nothing, and the deadline bounds it.
 * @throws Error where a word stands for nothing that a vendor job can be
 * @example const toStatus = statusWords({ queued: 'pending', done: 'succeeded', failed: 'failed' });
 */
export function statusWords(words: Readonly<Record<string, VendorJobStatus>>): (word: string) => VendorJobStatus {
  checkStatusWords(words);
  const known = new Map(Object.entries(words));
  const folded = new Map(Object.entries(words).map(([word, status]) => [word.toLowerCase(), status]));
  return (word) => known.get(word) ?? folded.get(word.toLowerCase()) ?? 'running';
}
