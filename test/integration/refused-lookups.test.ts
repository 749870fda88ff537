import { afterEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness } from '../helpers/harness.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';

interface Refusal {
  status: number;
  json: { code: string };
}

const graceMs = 500;
const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** Tells how vendor jobs stand, one at a time or ten; `answer` is asked per id and may refuse. */
async function start(maxBatch: number, answer: (id: string, looks: number) => string | Refusal) {
  const vendor = await ScriptedVendor.start();
  stops.push(() => vendor.close());
  const looks = new Map<string, number>();
  vendor.on('GET /jobs', (call) => {
    const ids = call.query.get('ids')?.split(',') ?? [];
    const rows = [];
    let refusal: Refusal | undefined;
    for (const id of ids) {
      looks.set(id, (looks.get(id) ?? 0) + 1);
      const said = answer(id, looks.get(id) ?? 0);
      if (typeof said === 'string') rows.push({ id, status: said });
      else refusal ??= said;
    }
    return refusal ?? { json: rows };
  });
  const adapter = defineVendor({
    name: 'strict',
    summary: 'Refuses some look-ups.',
    account: z.strictObject({ apiKey: z.string(), baseUrl: z.string() }),
    http: {
      baseUrl: (account) => account.baseUrl,
      headers: () => ({}),
      readError({ body }) {
        const { code } = (body ?? {}) as { code?: string };
        if (code === 'NOT_YOURS')
          return { as: 'rejected', message: 'another key made it', code, isAboutVendorJob: true };
        if (code === 'BAD_ID') return { as: 'rejected', message: 'not an id', code };
        return undefined;
      },
    },
    lookups: {
      job: {
        maxBatch,
        async look(jobs, { http }) {
          const reply = z.array(z.object({ id: z.string(), status: z.enum(['running', 'succeeded']) }));
          const query = { ids: jobs.map(({ id }) => id).join() };
          const { body } = await http.request({ method: 'GET', path: 'jobs', query, reply });
          return new Map(body.map(({ id, status }) => [id, { status }]));
        },
      },
    },
    operations: {
      watch: {
        summary: 'Adopts vendor jobs.',
        input: z.strictObject({ ids: z.array(z.string()) }),
        resend: 'safe',
        adopts: true,
        graceMs,
        async submit({ input }) {
          return { jobs: input.ids.map((id) => ({ id, kind: 'job' })) };
        },
      },
    },
  });
  const harness = await Harness.start({
    adapters: [adapter],
    env: { STRICT_API_KEY: 'key', STRICT_BASE_URL: vendor.url },
  });
  stops.push(() => harness.stop());
  const watch = (ids: string[], deadlineMs = 20_000): Promise<string> =>
    harness.submit(
      'strict',
      'watch',
      { ids },
      { poll: { initialDelayMs: 20, factor: 1, maxDelayMs: 150, deadlineMs } },
    );
  return { harness, looks, watch };
}

const refused = (code: string, status = 400): Refusal => ({ status, json: { code } });
const settledAfterMs = ({ enqueuedAt, settledAt }: { enqueuedAt: string; settledAt: string }): number =>
  Date.parse(settledAt) - Date.parse(enqueuedAt);

describe('a look-up that the vendor refuses for one vendor job', () => {
  it.each([1, 10])(
    'ends that job as failed after its grace, where others are answered (%i a request)',
    async (batch) => {
      const { harness, watch } = await start(batch, (id, looks) => {
        if (id === 'bad') return refused('BAD_ID');
        return looks > 2 ? 'succeeded' : 'running';
      });
      const { data } = await harness.event(await watch(['good', 'bad']));
      expect(data).toMatchObject({
        outcome: 'partial',
        vendorJobs: [
          { id: 'good', outcome: 'succeeded' },
          { id: 'bad', outcome: 'failed', error: { code: 'BAD_ID', message: 'not an id' } },
        ],
      });
      expect(settledAfterMs(data.timings)).toBeGreaterThanOrEqual(graceMs);
    },
  );

  it('sees what is beside it in another submission', async () => {
    const { harness, watch } = await start(1, (id) => (id === 'bad' ? refused('BAD_ID') : 'running'));
    await watch(['good']);
    const { data } = await harness.event(await watch(['bad']));
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'BAD_ID' } });
  });

  it('waits for the deadline where no look-up is answered: the vendor may be at fault, and then tells why', async () => {
    const { harness, looks, watch } = await start(1, () => refused('BAD_ID'));
    const { data } = await harness.event(await watch(['bad', 'worse'], 2_000));
    expect(data.outcome).toBe('expired');
    expect(settledAfterMs(data.timings)).toBeGreaterThanOrEqual(2_000);
    for (const job of data.vendorJobs) expect(job).toMatchObject({ outcome: null, error: { code: 'BAD_ID' } });
    expect(looks.get('bad'), 'backoff is kept past the grace').toBeLessThan(8);
  });

  it('needs no others where the vendor documents the refusal as one of the job', async () => {
    const { harness, watch } = await start(1, () => refused('NOT_YOURS', 403));
    const { data } = await harness.event(await watch(['bad']));
    expect(data).toMatchObject({ outcome: 'failed', vendorJobs: [{ id: 'bad', error: { code: 'NOT_YOURS' } }] });
    expect(settledAfterMs(data.timings)).toBeGreaterThanOrEqual(graceMs);
  });

  it('forgets a refusal that passes within the grace', async () => {
    const { harness, watch } = await start(1, (id, looks) => {
      if (id === 'good') return 'running';
      return looks === 1 ? refused('BAD_ID') : looks > 8 ? 'succeeded' : 'running';
    });
    await watch(['good']);
    const { data } = await harness.event(await watch(['late']));
    expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ id: 'late', error: null }] });
  });
});
