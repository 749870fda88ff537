import { afterEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { readLimits } from '../../src/vendors/knowhere/errors.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness } from '../helpers/harness.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';

const stops: (() => Promise<unknown>)[] = [];
const realNow = Date.now;
afterEach(async () => {
  vi.restoreAllMocks();
  for (const stop of stops.splice(0).reverse()) await stop();
});

const adapter = defineVendor({
  name: 'dated',
  summary: 'Names moments in its headers.',
  account: z.strictObject({ apiKey: z.string(), baseUrl: z.string() }),
  http: { baseUrl: (account) => account.baseUrl, headers: () => ({}), readLimits },
  lookups: { job: { look: async () => new Map() } },
  operations: {
    make: {
      summary: 'Makes it.',
      input: z.strictObject({}),
      resend: 'safe',
      async submit({ http }) {
        const { body } = await http.request({ method: 'POST', path: 'things', reply: z.object({ id: z.string() }) });
        return { jobs: [{ id: body.id, kind: 'job', status: 'succeeded' }] };
      },
    },
  },
});

describe('a moment that the vendor names', () => {
  it.each([
    ['Retry-After', 429, (at: number) => ({ 'retry-after': new Date(at).toUTCString() })],
    [
      'RateLimit-Reset, on a budget that is used up',
      503,
      (at: number) => ({ 'ratelimit-remaining': '0', 'ratelimit-reset': String(Math.ceil(at / 1_000)) }),
    ],
  ])(
    'is waited for by the time of Redis, not of a machine that is 50 s behind: %s',
    async (_name, status, headers) => {
      const vendor = await ScriptedVendor.start();
      stops.push(() => vendor.close());
      vendor.on('POST /things', () => ({ status, json: {}, headers: headers(realNow() + 3_000) }), {
        json: { id: 'v1' },
      });
      vi.spyOn(Date, 'now').mockImplementation(() => realNow() - 50_000);
      const harness = await Harness.start({
        adapters: [adapter],
        env: { DATED_API_KEY: 'key', DATED_BASE_URL: vendor.url },
      });
      stops.push(() => harness.stop());
      const startedAt = performance.now();
      const id = await harness.submit('dated', 'make', {});
      const event = await harness.event(id, 30_000);
      expect(event.data.error).toBe(null);
      expect(performance.now() - startedAt, 'the moment is waited for').toBeGreaterThan(1_500);
    },
    60_000,
  );
});
