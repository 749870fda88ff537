import * as z from 'zod';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { HttpClient } from '../../src/vendors/http/client.ts';

export interface PlainAccount {
  baseUrl: string;
}

/** One account's client for a vendor of no importance. */
export function plainClient(
  baseUrl: string,
  credential?: () => Promise<{ token: string; expiresAt?: number }>,
): HttpClient<PlainAccount> {
  const adapter = defineVendor({
    name: 'acme',
    summary: '',
    account: z.object({ baseUrl: z.string() }),
    environment: {},
    secrets: [],
    credentials: ['baseUrl'],
    http: {
      baseUrl: (account) => account.baseUrl,
      headers: (_account, held) => ({ authorization: `Bearer ${held?.token ?? 'static'}` }),
      ...(credential === undefined ? {} : { credential }),
    },
    lookups: {},
    operations: {},
  });
  return new HttpClient(adapter, { baseUrl });
}
