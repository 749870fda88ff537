import type * as z from 'zod';
import { isSecretName } from '../core/redact.ts';
import type { HttpOptions, VendorAdapter } from '../ports/vendor-adapter.ts';

/** What a vendor's declaration may leave out, read off the fields of its account. */

type Fail = (message: string) => never;
type Names = Pick<VendorAdapter, 'environment' | 'secrets' | 'credentials'>;
type Declared = Partial<Names> & { name: string; account: z.ZodType; http?: Partial<HttpOptions<never>> };

/** Which variables make up the default account, which of its fields are secret, and which start the vendor. */
export function namesOf(vendor: Declared, fail: Fail): Names {
  const fields = textFields(vendor.account);
  const environment =
    vendor.environment ?? Object.fromEntries(fields.map((field) => [field, variableFor(vendor.name, field)]));
  const secrets = vendor.secrets ?? fields.filter(isSecretName);
  if (secrets.length === 0 && vendor.secrets === undefined) {
    fail('no field of `account` is named like a secret: list them in `secrets`, or say `secrets: []`');
  }
  const credentials = vendor.credentials ?? secrets;
  if (credentials.length === 0) {
    fail('nothing tells when to start it: name the fields of `account` that must be set in `credentials`');
  }
  return { environment, secrets, credentials };
}

/** A base URL and a bearer key, where the account has the fields for them. */
export function httpDefaults(vendor: Declared, fail: Fail): Partial<HttpOptions<Record<string, string>>> {
  const fields = new Set(textFields(vendor.account));
  if (vendor.http?.baseUrl === undefined && !fields.has('baseUrl')) {
    fail('`account` has no `baseUrl`: say in `http.baseUrl` where requests go');
  }
  if (vendor.http?.headers === undefined && !fields.has('apiKey')) {
    fail('`account` has no `apiKey`: say in `http.headers` how requests are signed');
  }
  return {
    baseUrl: ({ baseUrl }) => baseUrl ?? '',
    headers: ({ apiKey }) => ({ authorization: `Bearer ${apiKey ?? ''}` }),
  };
}

/** `apiKey` of `acme` → `ACME_API_KEY`. */
function variableFor(vendor: string, field: string): string {
  const words = field.replace(/([a-z0-9])([A-Z])/g, '$1_$2');
  return `${vendor.replaceAll('-', '_')}_${words}`.toUpperCase();
}

/** The account's fields that a variable can fill: texts, with or without a default. */
function textFields(account: z.ZodType): string[] {
  const { shape } = account as { shape?: Record<string, z.ZodType> };
  return Object.entries(shape ?? {}).flatMap(([name, field]) => (isText(field) ? [name] : []));
}

function isText(field: z.ZodType): boolean {
  const { type, innerType } = field.def as { type: string; innerType?: z.ZodType };
  return innerType === undefined ? type === 'string' || type === 'enum' : isText(innerType);
}
