import { describe, expect, it, vi } from 'vitest';
import { conformanceCases, type ConformanceOptions } from '../../src/conformance/index.ts';
import { VendorUnavailableError } from '../../src/core/errors.ts';
import type { Lookup, Operation, VendorAdapter } from '../../src/ports/vendor-adapter.ts';
import * as z from 'zod';
import { redisUrl } from '../helpers/redis.ts';

vi.mock('jobferry', () => import('../../src/index.ts'));
vi.mock('jobferry/conformance', () => import('../../src/conformance/index.ts'));

const { acme } = await import('../../examples/own-vendor/acme.ts');
const { acmeCases } = await import('../../examples/own-vendor/acme-double.ts');
type Options = ConformanceOptions<Awaited<ReturnType<typeof acmeCases.double>>>;

const render: Operation = acme.operations.render;
const lookup: Lookup = acme.lookups['render']!;

function withRender(change: Partial<Operation>): VendorAdapter {
  return { ...acme, operations: { ...acme.operations, render: { ...render, ...change } } };
}

function withLook(look: Lookup['look']): VendorAdapter {
  return { ...acme, lookups: { render: { ...lookup, look } } };
}

async function runCase(name: string, adapter: VendorAdapter, change: Partial<Options> = {}): Promise<void> {
  const found = conformanceCases({ adapter, redisUrl, ...acmeCases, ...change }).find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no case ${name}`);
  await found.run();
}

/** A suite that every adapter passes shows nothing: each of these has one slip, and one case that finds it. */
describe('the conformance suite finds an adapter that', { concurrent: true, timeout: 60_000 }, () => {
  it('sends again what its reconcile failed to find', async () => {
    const adapter = withRender({ reconcile: async () => ({ found: 'absent' }) });
    await expect(runCase('resend lookup: a socket that was cut after the vendor took it', adapter)).rejects.toThrow(
      'POST /v1/renders was sent 2 times, expected once',
    );
  });

  it('calls a resend safe that makes a second film', async () => {
    const adapter = withRender({ resend: 'safe' });
    await expect(runCase('resend safe: a 500 after the vendor took it', adapter)).rejects.toThrow(
      'the vendor made it 2 times, wanted once',
    );
  });

  it('repeats a submit by itself', async () => {
    const adapter = withRender({
      async submit(context) {
        return render.submit(context).catch(() => render.submit(context));
      },
    });
    await expect(runCase('resend lookup: an unreadable 2xx', adapter)).rejects.toThrow('sent 2 times');
  });

  it('gives up on a submit of unknown fate', async () => {
    const adapter = withRender({ reconcile: async () => ({ found: 'unknowable', reason: 'too lazy to look' }) });
    await expect(runCase('resend lookup: a socket that was cut after the vendor took it', adapter)).rejects.toThrow(
      /ended as unconfirmed.*expected succeeded/,
    );
  });

  it('takes inputs with any field', async () => {
    const adapter = withRender({ input: z.object({ script: z.string() }) });
    await expect(
      runCase('refuses an input with a field that it does not know, and sends nothing', adapter),
    ).rejects.toThrow('ended as succeeded');
  });

  it('takes an empty status reply for the end', async () => {
    const adapter = withLook(async (jobs, context) => {
      const found = await lookup.look(jobs, context);
      return new Map(jobs.map((job) => [job.id, found.get(job.id) ?? { status: 'succeeded' }]));
    });
    const options = { ...acmeCases.lookups };
    await expect(
      runCase('a vendor job that stays unknown is lost after its grace', adapter, { lookups: options }),
    ).rejects.toThrow(/ended as succeeded.*expected lost/);
  });

  it('takes an unknown word for a failure', async () => {
    const adapter = withLook(async (jobs, context) => {
      const known = new Set(['queued', 'rendering', 'done']);
      const found = await lookup.look(jobs, context);
      return new Map(
        [...found].map(([id, one]) => {
          const word = typeof one === 'function' ? undefined : one.vendorStatus;
          return [id, known.has(word ?? '') ? one : { status: 'failed' }];
        }),
      );
    });
    await expect(runCase('an unknown status word is not terminal', adapter)).rejects.toThrow('ended as failed');
  });

  // On a busy machine the three look-ups may miss each other, and alone nobody can be mixed up with.
  it('reads rows by their position', { retry: 5 }, async () => {
    const adapter = withLook(async (jobs, context) => {
      const rows = [...(await lookup.look(jobs, context)).values()];
      return new Map(jobs.map((job, at) => [job.id, rows[at] ?? { status: 'running' }]));
    });
    await expect(runCase('rows in another order belong to whom they name', adapter)).rejects.toThrow(/ended as/);
  });

  it('reports a look-up that failed as a failed job', async () => {
    const adapter = withLook(async (jobs, context) => {
      try {
        return await lookup.look(jobs, context);
      } catch (error) {
        if (!(error instanceof VendorUnavailableError)) throw error;
        return new Map(jobs.map((job) => [job.id, { status: 'failed' }]));
      }
    });
    await expect(runCase('a 500, twice, ends nothing', adapter)).rejects.toThrow('ended as failed');
  });

  it('takes a null in place of a word for the end', async () => {
    const adapter = withLook(async (jobs, context) => {
      try {
        return await lookup.look(jobs, context);
      } catch {
        return new Map(jobs.map((job) => [job.id, { status: 'failed' }]));
      }
    });
    const name = 'a null in place of the status word, twice, is not terminal';
    await expect(runCase(name, adapter)).rejects.toThrow('ended as failed');
  });

  it('keeps to itself why a job failed', async () => {
    const adapter = withLook(async (jobs, context) => {
      const found = await lookup.look(jobs, context);
      const error = { code: 'vendor_job_failed', message: 'it failed', retryable: false };
      return new Map([...found].map(([id, one]) => [id, { ...one, error } as typeof one]));
    });
    await expect(runCase('an error that is a plain text is told', adapter)).rejects.toThrow('nothing in the event');
  });

  it('has an operation that nobody tests', async () => {
    const operations = { render: acmeCases.operations['render']! };
    await expect(runCase('every operation and every look-up has its cases', acme, { operations })).rejects.toThrow();
  });

  it('names a request that it does not make', async () => {
    const lookups = { render: { ...acmeCases.lookups['render']!, route: 'GET /v1/other' as const } };
    await expect(runCase('a 500, twice, ends nothing', acme, { lookups })).rejects.toThrow('never struck');
  });

  it('leaves a case out without a reason', async () => {
    const operations = {
      ...acmeCases.operations,
      render: { ...(acmeCases.operations['render'] as object), notApplicable: { 'cut-after': ' ' } },
    } as unknown as Options['operations'];
    const name = 'does not apply, because  : a socket that was cut after the vendor took it';
    await expect(runCase(name, acme, { operations })).rejects.toThrow('say why');
  });
});
