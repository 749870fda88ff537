import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { VendorUnavailableError } from '../../src/core/errors.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness, until } from '../helpers/harness.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

describe('cancel', () => {
  let rig: KnowhereRig;
  let reader: SubmissionReader;

  beforeEach(async () => {
    rig = await startKnowhere();
    reader = new SubmissionReader(rig.harness.redis, rig.harness.prefix);
  });
  afterEach(async () => {
    await reader.close();
    await rig.stop();
  });

  const cancel = (id: string): Promise<string> => reader.cancel('knowhere', id, Date.now());

  it('before the submit sends nothing', async () => {
    await rig.harness.push('knowhere', 'parse', { input: urlInput() }, { jobId: 'early', delay: 60_000 });
    expect(await cancel('early')).toBe('requested');
    const event = await rig.harness.event('early');
    expect(event.data).toMatchObject({ outcome: 'canceled', error: { code: 'canceled' } });
    expect(rig.creates()).toEqual([]);
  });

  it('while it waits for its next look-up ends it at once', async () => {
    const poll = { initialDelayMs: 30_000, maxDelayMs: 30_000 };
    await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll }, { jobId: 'between' });
    await until(async () => (await reader.status('knowhere', 'between'))?.phase === 'polling');
    expect(await cancel('between')).toBe('requested');
    const event = await rig.harness.event('between', 3_000);
    expect(event.data.outcome).toBe('canceled');
    expect(event.data.error?.message).toContain('may go on working');
    expect(await cancel('between')).toBe('already-over');
  });

  it('while a look-up is in flight ends it after that look-up', async () => {
    const poll = { ...quickPoll, initialDelayMs: 50, maxDelayMs: 60_000, factor: 10 };
    rig.sandbox.faults.arm({ fault: 'slow-reply', argument: 800, route: 'lookup' });
    await rig.harness.push(
      'knowhere',
      'parse',
      { input: urlInput('x.pdf?sandbox=stall'), poll },
      { jobId: 'inflight' },
    );
    await until(() => rig.lookups().length > 0);
    expect(await cancel('inflight')).toBe('requested');
    expect((await rig.harness.event('inflight', 5_000)).data.outcome).toBe('canceled');
  });

  it('racing success yields one outcome', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `race-${index}`);
    for (const jobId of ids)
      await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId });
    await Promise.all(
      ids.map(async (id, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * 30));
        await cancel(id);
      }),
    );
    for (const id of ids) await rig.harness.event(id);
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const id of ids) {
      const outcomes = new Set(
        rig.harness.events.filter((event) => event.subject === id).map((event) => event.data.outcome),
      );
      expect(outcomes.size).toBe(1);
      expect(['canceled', 'succeeded']).toContain([...outcomes][0]);
    }
  });

  it('of an unknown submission says so', async () => {
    expect(await cancel('nobody')).toBe('unknown');
  });
});

describe('cancel, of a vendor that can be told', () => {
  let harness: Harness | undefined;
  afterEach(async () => {
    await harness?.stop();
  });

  async function start(answer: () => Promise<void> = async () => undefined) {
    const told: string[][] = [];
    const adapter = defineVendor({
      name: 'polite',
      summary: 'Stops when told.',
      account: z.strictObject({ apiKey: z.string() }),
      http: { baseUrl: () => 'http://127.0.0.1:1/' },
      lookups: { job: { look: async (jobs) => new Map(jobs.map(({ id }) => [id, { status: 'running' }])) } },
      operations: {
        make: {
          summary: 'Makes two things, of which one is done at once.',
          input: z.strictObject({}),
          resend: 'none',
          poll: { initialDelayMs: 60_000, maxDelayMs: 60_000 },
          async submit() {
            return {
              jobs: [
                { id: 'done', kind: 'job', status: 'succeeded' },
                { id: 'long', kind: 'job' },
              ],
            };
          },
          async cancel(_context, jobs) {
            told.push(jobs.map(({ id }) => id));
            await answer();
          },
        },
      },
    });
    harness = await Harness.start({ adapters: [adapter], env: { POLITE_API_KEY: 'key' } });
    const reader = new SubmissionReader(harness.redis, harness.prefix);
    return { harness, reader, told };
  }

  async function cancelWhilePolling({ harness: house, reader }: Awaited<ReturnType<typeof start>>) {
    const id = await house.submit('polite', 'make', {});
    await until(async () => (await reader.status('polite', id))?.phase === 'polling');
    expect(await reader.cancel('polite', id, Date.now())).toBe('requested');
    return house.event(id, 5_000);
  }

  it('tells it which jobs nobody waits for any more', async () => {
    const rig = await start();
    const event = await cancelWhilePolling(rig);
    expect(event.data.outcome).toBe('canceled');
    expect(event.data.error?.message).toContain('the vendor was told to stop');
    expect(rig.told).toEqual([['long']]);
  });

  it('ends all the same where the vendor can not be told, and says so', async () => {
    const rig = await start(async () => {
      throw new VendorUnavailableError('DELETE /jobs/long answered 503', { taken: 'no' });
    });
    const event = await cancelWhilePolling(rig);
    expect(event.data.outcome).toBe('canceled');
    expect(event.data.error?.message).toContain(
      'could not be told, and may go on working: DELETE /jobs/long answered 503',
    );
    expect(rig.told).toHaveLength(1);
  });

  it('tells nothing of what was never sent', async () => {
    const rig = await start();
    await rig.harness.push('polite', 'make', { input: {} }, { jobId: 'unsent', delay: 60_000 });
    await rig.reader.cancel('polite', 'unsent', Date.now());
    const event = await rig.harness.event('unsent');
    expect(event.data.error?.message).toContain('nothing was sent');
    expect(rig.told).toEqual([]);
  });
});

describe('cancel, in the middle of something long', () => {
  const stops: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  it.each(['upload', 'prepare', 'confirm'] as const)('cuts off a transfer: %s', async (place) => {
    const vendor = await ScriptedVendor.start();
    stops.push(() => vendor.close());
    for (const method of ['POST', 'PUT', 'GET']) vendor.on(`${method} /long`, 'hang');
    vendor.on('POST /short', { json: { id: 'v1' } });
    const reply = z.object({ id: z.string() });
    const jobs = [{ id: 'v1', kind: 'job' }];
    const short = {
      summary: 'Takes hours.',
      input: z.strictObject({}),
      resend: 'none' as const,
      poll: { initialDelayMs: 20, maxDelayMs: 20 },
      async submit() {
        return { jobs };
      },
    };
    const adapter = defineVendor({
      name: 'lengthy',
      summary: 'Takes its time.',
      account: z.strictObject({ apiKey: z.string(), baseUrl: z.string() }),
      http: { baseUrl: (account) => account.baseUrl, headers: () => ({}) },
      lookups: { job: { look: async () => new Map(jobs.map(({ id }) => [id, { status: 'succeeded' as const }])) } },
      operations: {
        upload: {
          ...short,
          inFlightMs: () => 3_600_000,
          async submit({ http, signal }) {
            const body = async () => ({ body: '{}' });
            const { body: made } = await http.request({
              method: 'POST',
              path: 'long',
              body,
              reply,
              signal,
              timeoutMs: 3_600_000,
            });
            return { jobs: [{ id: made.id, kind: 'job' }] };
          },
        },
        prepare: {
          ...short,
          async prepare({ http, signal }) {
            await http.request({ method: 'PUT', path: 'long', json: {}, reply, signal, timeoutMs: 3_600_000 });
            return [];
          },
        },
        confirm: {
          ...short,
          async confirm({ http, signal }) {
            await http.request({ method: 'GET', path: 'long', reply, signal, timeoutMs: 3_600_000 });
            return { kind: 'confirmed' };
          },
        },
      },
    });
    const env = { LENGTHY_API_KEY: 'key', LENGTHY_BASE_URL: vendor.url };
    const harness = await Harness.start({ adapters: [adapter], env });
    stops.push(() => harness.stop());
    const reader = new SubmissionReader(harness.redis, harness.prefix);
    stops.push(() => reader.close());
    const id = await harness.submit('lengthy', place, {});
    await until(() => vendor.calls.length > 0);
    expect(await reader.cancel('lengthy', id, Date.now())).toBe('requested');
    const { data } = await harness.event(id, 4_000);
    expect(data.outcome).toBe('canceled');
    await until(
      () => vendor.waiting === 0,
      1_000,
      () => 'the request is cut off',
    );
  });
});
