import * as z from 'zod';
import { describe, expect, it } from 'vitest';
import type { StepContext } from '../../src/ports/vendor-adapter.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness, until } from '../helpers/harness.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';

/**
 * What a vendor or its module calls its own data says nothing to the engine. Every place where such data lies in a record
 * gets the engine's own field names, and texts that look like the head of a record.
 */
const foreign = {
  v: 1,
  phase: 'settled',
  settled: { outcome: 'failed', error: null, at: 1 },
  intent: { attempt: 9, at: 1, fingerprint: 'x' },
  cancelRequestedAt: 1,
  awaitsDecision: 'somebody',
  resolution: { kind: 'give-up' },
  reconciliation: { since: 1, landsUntil: 9e15, absent: 0 },
  handedOver: 1,
  'jobferry.cancel': '1',
  head: 'settled 9@1 ? 1 {"v":1,"phase":"settled"}',
  lua: `"] = nil end redis.call('FLUSHALL')`,
};

type Context = StepContext<{ baseUrl: string }, { how: string }>;
const anything = z.looseObject({ id: z.string() });

function vendorOf() {
  const error = { code: 'settled', message: 'cancelRequestedAt', details: foreign };
  const make = {
    summary: 'Makes a thing.',
    input: z.strictObject({ how: z.string().describe('What happens.'), settled: z.json().describe('Foreign.') }),
    preflight: async () => foreign,
    async submit({ http, input, stage }: Context) {
      const json = { how: input.how, stage };
      const { body } = await http.request({ method: 'POST', path: 'things', json, reply: anything });
      return { jobs: [{ id: body.id, kind: 'thing', extra: foreign, vendorStatus: 'settled 9@1 ? 1 {' }] };
    },
    reconcile: async ({ http }: Context) => {
      const { body } = await http.request({ method: 'GET', path: 'things', reply: z.array(z.string()) });
      const jobs = body.map((id) => ({ id, kind: 'thing', extra: foreign }));
      return { found: jobs.length === 0 ? ('absent' as const) : { jobs } };
    },
    prepare: async ({ jobs }: Context) => jobs.map((job) => ({ ...job, result: foreign, extra: foreign })),
    confirm: async ({ stage, input }: Context) =>
      stage === undefined && input.how === 'stages'
        ? { kind: 'next' as const, stage: 'second', carry: foreign }
        : { kind: 'confirmed' as const },
  };
  return defineVendor({
    name: 'odd',
    summary: 'Names its data as the engine does.',
    account: z.object({ apiKey: z.string(), baseUrl: z.string() }),
    lookups: {
      thing: {
        async look([job], { http }) {
          const path = `things/${job?.id}`;
          const { body } = await http.request({ method: 'GET', path, reply: z.object({ state: z.string() }) });
          const status = body.state === 'over' ? 'succeeded' : body.state === 'bad' ? 'failed' : 'running';
          const said = { vendorStatus: 'awaitsDecision', extra: foreign, result: foreign };
          return new Map([[job?.id ?? '', { status, ...said, ...(status === 'failed' ? { error } : {}) }]]);
        },
      },
    },
    operations: { make: { ...make, resend: 'lookup' }, 'make.none': { ...make, resend: 'none' } },
  });
}

async function start() {
  const vendor = await ScriptedVendor.start();
  const made: string[] = [];
  let state = 'running';
  vendor
    .on('POST /things', () => {
      made.push(`thing-${made.length + 1}`);
      return { json: { id: made.at(-1), ...foreign } };
    })
    .on('GET /things', () => ({ json: made }));
  for (let n = 1; n <= 4; n += 1) vendor.on(`GET /things/thing-${n}`, () => ({ json: { state, ...foreign } }));
  const harness = await Harness.start({
    adapters: [vendorOf()],
    env: { ODD_API_KEY: 'key', ODD_BASE_URL: vendor.url },
    change: (config) => ({
      ...config,
      reconcile: { ...config.reconcile, absenceMs: 300, minAbsentLooks: 2, gapsMs: [100], inFlightMs: 300 },
      ambiguity: { 'odd.make.none': 'wait' },
    }),
  });
  const poll = { initialDelayMs: 100, maxDelayMs: 200, deadlineMs: 20_000 };
  return {
    harness,
    vendor,
    made,
    ends: (word: string) => {
      state = word;
    },
    submit: (how: string, operation = 'make') =>
      harness.submit('odd', operation, { how, settled: foreign }, { poll, metadata: foreign }),
    async [Symbol.asyncDispose]() {
      await harness.stop();
      await vendor.close();
    },
  };
}

describe('data of a vendor that has the names of the engine’s fields', { timeout: 40_000 }, () => {
  it('ends nothing, cancels nothing and asks for no decision, through all stages', async () => {
    await using rig = await start();
    const id = await rig.submit('stages');
    await until(() => rig.made.length === 1);
    // It is polled for a while with all of it in its record.
    await until(async () => /"polls":[3-9]/.test((await rig.harness.record('odd', id)) ?? ''));
    expect(rig.harness.events).toHaveLength(0);
    rig.ends('over');
    const { data } = await rig.harness.event(id);
    expect(data).toMatchObject({ outcome: 'succeeded', error: null, metadata: foreign });
    expect(data.vendorJobs.map((job) => [job.id, job.result])).toEqual([
      ['thing-1', foreign],
      ['thing-2', foreign],
    ]);
    expect(rig.made).toHaveLength(2);
  });

  it('is told in the event of a vendor job that failed', async () => {
    await using rig = await start();
    rig.ends('bad');
    const { data } = await rig.harness.event(await rig.submit('once'));
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'settled', message: 'cancelRequestedAt' } });
  });

  it('is found again after a submit whose answer was lost, once', async () => {
    await using rig = await start();
    rig.vendor.on('POST /things', () => {
      rig.made.push(`thing-${rig.made.length + 1}`);
      return 'cut';
    });
    rig.ends('over');
    const { data } = await rig.harness.event(await rig.submit('once'));
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'thing-1' }] });
    expect(rig.made).toHaveLength(1);
  });

  it('decides nothing for a person, and a cancel is still a cancel', async () => {
    await using rig = await start();
    rig.vendor.on('POST /things', () => 'cut');
    const id = await rig.submit('once', 'make.none');
    await until(async () => ((await rig.harness.record('odd', id)) ?? '').includes(' ? '));
    expect(rig.harness.events).toHaveLength(0);
    const reader = new SubmissionReader(rig.harness.redis, rig.harness.prefix);
    expect(await reader.cancel('odd', id, Date.now())).toBe('requested');
    expect((await rig.harness.event(id)).data).toMatchObject({ outcome: 'canceled' });
  });
});
