import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { VendorHttp } from '../../src/ports/vendor-adapter.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness } from '../helpers/harness.ts';
import { ScriptedVendor, type ScriptedCall, type ScriptedReply } from '../helpers/scripted-vendor.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function start(...replies: ScriptedReply[]) {
  const vendor = await ScriptedVendor.start();
  stops.push(() => vendor.close());
  const times: number[] = [];
  const noting =
    (reply: ScriptedReply) =>
    (_call: ScriptedCall): ScriptedReply => {
      times.push(performance.now());
      return reply;
    };
  vendor.on('POST /things', ...replies.map(noting));
  const make = {
    summary: 'Makes it.',
    input: z.strictObject({}),
    async submit({ http }: { http: VendorHttp }) {
      const { body } = await http.request({ method: 'POST', path: 'things', reply: z.object({ id: z.string() }) });
      return { jobs: [{ id: body.id, kind: 'job', status: 'succeeded' as const }] };
    },
  };
  const adapter = defineVendor({
    name: 'busy',
    summary: 'Takes its time.',
    account: z.strictObject({ apiKey: z.string(), baseUrl: z.string() }),
    http: { baseUrl: (account) => account.baseUrl, headers: () => ({}) },
    lookups: { job: { look: async () => new Map() } },
    operations: {
      patient: { ...make, resend: 'none' },
      hurried: { ...make, resend: 'none', submitTimeoutMs: 300 },
      repeatable: { ...make, resend: 'safe' },
    },
  });
  const harness = await Harness.start({
    adapters: [adapter],
    env: { BUSY_API_KEY: 'key', BUSY_BASE_URL: vendor.url },
    change: (config) => ({ ...config, reconcile: { ...config.reconcile, inFlightMs: 100 } }),
  });
  stops.push(() => harness.stop());
  return { harness, times };
}

const slow = { json: { id: 'v1' }, delayMs: 900 };

describe('a submit that the vendor takes long to answer', () => {
  it('is of unknown fate after the time that its operation allows', async () => {
    const { harness } = await start(slow);
    const { data } = await harness.event(await harness.submit('busy', 'hurried', {}));
    expect(data).toMatchObject({
      outcome: 'unconfirmed',
      error: { details: { cause: { code: 'vendor_unavailable' } } },
    });
    expect(JSON.stringify(data.error)).toContain('300 ms');
  });

  it('is waited for where the operation allows more', async () => {
    const { harness, times } = await start(slow);
    const { data } = await harness.event(await harness.submit('busy', 'patient', {}));
    expect(data.outcome).toBe('succeeded');
    expect(times).toHaveLength(1);
  });
});

describe('a 503 that names a time, to a submit', () => {
  const busy = { status: 503, json: {}, headers: { 'retry-after': '3' } };

  it('is kept to where sending again is safe, by the others of the account too', async () => {
    const { harness, times } = await start(busy, { json: { id: 'v1' } });
    const first = await harness.submit('busy', 'repeatable', {});
    while (times.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = await harness.submit('busy', 'repeatable', {});
    for (const id of [first, second]) expect((await harness.event(id)).data.outcome).toBe('succeeded');
    const [refusedAt = 0, ...later] = times;
    expect(later).toHaveLength(2);
    for (const at of later) expect(at - refusedAt).toBeGreaterThanOrEqual(2_950);
  });
});
