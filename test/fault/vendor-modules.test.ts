import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { VendorRejectedError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import type {
  LookupAnswer,
  LookupJob,
  ResendSafety,
  StepContext,
  VendorAdapter,
  VendorReport,
} from '../../src/ports/vendor-adapter.ts';
import { SubmissionReader } from '../../src/queues/submission-reader.ts';
import { defineVendor } from '../../src/vendors/define-vendor.ts';
import { Harness, until } from '../helpers/harness.ts';
import { keepingLogger } from '../helpers/scripted-sharely.ts';
import { ScriptedVendor } from '../helpers/scripted-vendor.ts';

/**
 * Vendor modules that misbehave, run by real workers against a vendor that counts its requests. Beside each submission
 * that a module strands there are innocent ones of the same vendor, which must all succeed in time.
 */

type Context = StepContext<unknown, { how: string }>;
/** What a module does instead of what it should, for inputs of one kind. All of it is what no type checker sees. */
interface Slip {
  resend?: ResendSafety;
  preflight?: (context: Context) => unknown;
  submit?: (context: Context, make: () => Promise<unknown>) => unknown;
  reconcile?: (context: Context) => unknown;
  prepare?: (context: Context) => unknown;
  confirm?: (context: Context) => unknown;
  cancel?: () => unknown;
  giveUp?: () => unknown;
  /** Of a request in which a vendor job of this kind is. */
  look?: (answers: Map<string, LookupAnswer>, ids: readonly string[]) => unknown;
}

const poll = { initialDelayMs: 60, factor: 1.2, maxDelayMs: 200, deadlineMs: 6_000, submitWithinMs: 6_000 };
const patient = { ...poll, deadlineMs: 60_000, submitWithinMs: 60_000 };
/** A busy machine must not be taken for a step that never ends. */
const stepLimitMs = 2_000;
const never = (): Promise<never> => new Promise(() => undefined);
const idOf = z.object({ id: z.string() });
const ids = z.object({ ids: z.array(z.string()) });

interface Rig extends AsyncDisposable {
  harness: Harness;
  vendor: ScriptedVendor;
  logger: ReturnType<typeof keepingLogger>;
  submit(how: string, rest?: object): Promise<string>;
  /** Three submissions of a module that behaves. */
  innocents(): Promise<string[]>;
  creates(how: string): number;
  settled(submissionId: string, timeoutMs?: number): Promise<CompletionEvent['data']>;
  expectInnocent(submissionIds: readonly string[], timeoutMs?: number): Promise<void>;
}

async function start(
  slips: Record<string, Slip>,
  change: { concurrency?: number; adapter?: VendorAdapter } = {},
): Promise<Rig> {
  const vendor = await ScriptedVendor.start();
  const made = new Map<string, string>();
  vendor
    .on('POST /things', ({ json }) => {
      const { how, ref } = json as { how: string; ref: string };
      const id = `${how}-${made.size + 1}`;
      made.set(ref, id);
      return { json: { id } };
    })
    .on('GET /things', ({ query }) => {
      const id = made.get(query.get('ref') ?? '');
      return { json: { ids: id === undefined ? [] : [id] } };
    })
    .on('POST /states', ({ json }) => ({ json }));
  const logger = keepingLogger();
  const harness = await Harness.start({
    adapters: [change.adapter ?? vendorOf(slips)],
    env: { ODD_API_KEY: 'key', ODD_BASE_URL: vendor.url },
    logger,
    change: (config) => ({
      ...config,
      stepLimitMs,
      concurrency: { ...config.concurrency, submit: change.concurrency ?? config.concurrency.submit },
      reconcile: { ...config.reconcile, absenceMs: 300, minAbsentLooks: 2, gapsMs: [100], inFlightMs: 300 },
    }),
  });
  const submit = (how: string, rest: object = {}): Promise<string> => {
    const operation = slips[how]?.resend === undefined ? 'make' : `make.${slips[how].resend}`;
    return harness.submit('odd', operation, { how }, { poll, ...rest });
  };
  const creates = (how: string): number =>
    vendor.callsTo('POST /things').filter((call) => (call.json as { how: string }).how === how).length;
  return {
    harness,
    vendor,
    logger,
    submit,
    creates,
    innocents: () => Promise.all([1, 2, 3].map(() => submit('well', { poll: patient }))),
    settled: async (submissionId, timeoutMs = 30_000) => (await harness.event(submissionId, timeoutMs)).data,
    async expectInnocent(submissionIds, timeoutMs = 20_000) {
      for (const id of submissionIds) {
        const { data } = await harness.event(id, timeoutMs);
        expect(data).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ status: 'succeeded' }] });
      }
      expect(creates('well')).toBe(submissionIds.length);
    },
    async [Symbol.asyncDispose]() {
      await harness.stop();
      await vendor.close();
    },
  };
}

function vendorOf(slips: Record<string, Slip>): VendorAdapter {
  const make = (resend: ResendSafety) => ({
    summary: 'Makes a thing.',
    input: z.strictObject({ how: z.string().describe('What the module does.') }),
    resend,
    preflight: (context: Context) => slips[context.input.how]?.preflight?.(context) as never,
    submit(context: Context) {
      const { how } = context.input;
      const request = async (): Promise<unknown> => {
        const json = { how, ref: context.submissionId };
        const { body } = await context.http.request({ method: 'POST', path: 'things', json, reply: idOf });
        return { jobs: [{ id: body.id, kind: 'thing' }] };
      };
      const slip = slips[how]?.submit;
      return (slip === undefined ? request() : slip(context, request)) as never;
    },
    async reconcile(context: Context) {
      const slip = slips[context.input.how]?.reconcile;
      const query = { ref: context.submissionId };
      const { body } = await context.http.request({ method: 'GET', path: 'things', query, reply: ids });
      if (slip !== undefined) return slip(context) as never;
      const jobs = body.ids.map((id) => ({ id, kind: 'thing' }));
      return { found: jobs.length === 0 ? ('absent' as const) : { jobs } };
    },
    prepare: (context: Context) => (slips[context.input.how]?.prepare?.(context) ?? []) as never,
    confirm(context: Context) {
      const slip = slips[context.input.how]?.confirm;
      return (slip === undefined ? { kind: 'confirmed' } : slip(context)) as never;
    },
    cancel: (context: Context) => slips[context.input.how]?.cancel?.() as never,
    giveUp: (context: Context) => (slips[context.input.how]?.giveUp?.() ?? { jobs: [] }) as never,
  });
  return defineVendor({
    name: 'odd',
    summary: 'Misbehaves.',
    account: z.strictObject({ apiKey: z.string(), baseUrl: z.string() }),
    lookups: {
      thing: {
        maxBatch: 50,
        async look(jobs, { http }) {
          const json = { ids: jobs.map((job) => job.id) };
          const { body } = await http.request({ method: 'POST', path: 'states', json, reply: ids });
          const answers = new Map<string, LookupAnswer>(body.ids.map((id) => [id, { status: 'succeeded' }]));
          for (const [how, { look }] of Object.entries(slips)) {
            if (look !== undefined && body.ids.some((id) => id.startsWith(`${how}-`)))
              return look(answers, body.ids) as never;
          }
          return answers;
        },
      },
    },
    operations: { make: make('lookup'), 'make.none': make('none'), 'make.safe': make('safe') },
  });
}

/** What a few submissions ask for in all, at most: whatever goes wrong, nothing storms the vendor. */
const manyCalls = 150;
const circle: Record<string, unknown> = {};
circle['self'] = circle;

describe('a look-up of a vendor module', { timeout: 60_000, concurrent: true }, () => {
  it.each<[string, (answers: Map<string, LookupAnswer>) => unknown]>([
    ['returns undefined', () => undefined],
    ['returns an object', (answers) => Object.fromEntries(answers)],
    ['returns a number', () => 7],
    [
      'throws',
      () => {
        throw new TypeError('cannot read properties of undefined');
      },
    ],
    [
      'throws nothing at all',
      () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- modules do
        throw undefined;
      },
    ],
  ])('that %s for one vendor job harms that one alone', async (_what, look) => {
    await using rig = await start({ odd: { look } });
    const odd = await rig.submit('odd');
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({ outcome: 'expired', vendorJobs: [{ outcome: null }] });
    await rig.expectInnocent(innocents);
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it.each<[string, unknown]>([
    ['is null', null],
    ['is a promise', Promise.resolve({ status: 'succeeded' })],
    ['has a status that is not ours', { status: 'done' }],
    ['has a number as its status word', { status: 'running', vendorStatus: 7 }],
    ['holds a BigInt', { status: 'succeeded', result: { bytes: 7n } }],
    ['holds a circle', { status: 'running', extra: circle }],
    ['holds a function', { status: 'running', extra: { later: () => 7 } }],
    ['is too large', { status: 'succeeded', result: 'x'.repeat(2 ** 20 + 1) }],
    ['has a time that is none', { status: 'succeeded', completedAt: Number.NaN }],
    ['has a time that no event can tell', { status: 'succeeded', completedAt: 1e18 }],
    ['asks to wait for nothing that is a number', { status: 'running', pollAfterMs: Number.NaN }],
  ])('whose report %s fails for that vendor job alone', async (_what, report) => {
    await using rig = await start({
      odd: {
        look: (answers, asked) => {
          for (const id of asked) if (id.startsWith('odd-')) answers.set(id, report as VendorReport);
          return answers;
        },
      },
    });
    const odd = await rig.submit('odd', { poll: { ...poll, deadlineMs: 3_000, submitWithinMs: 3_000 } });
    const innocents = await rig.innocents();
    const data = await rig.settled(odd);
    expect(data).toMatchObject({ outcome: 'expired', error: { details: { lastError: { code: 'vendor_contract' } } } });
    expect(JSON.stringify(data.error)).toContain('odd thing: look');
    await rig.expectInnocent(innocents);
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it('that never ends is given up, and the innocent of the same request get through', async () => {
    await using rig = await start({ odd: { look: never } });
    const odd = await rig.submit('odd', { poll: { ...poll, initialDelayMs: 999, maxDelayMs: 1_000 } });
    const together = { ...patient, initialDelayMs: 999, maxDelayMs: 1_000 };
    const innocents = await Promise.all([1, 2, 3].map(() => rig.submit('well', { poll: together })));
    await rig.expectInnocent(innocents);
    expect(await rig.settled(odd)).toMatchObject({
      outcome: 'expired',
      error: { details: { lastError: { code: 'step_timeout' } } },
    });
    expect(rig.logger.lines).toContainEqual({
      level: 'error',
      fields: expect.objectContaining({
        vendor: 'odd',
        operation: 'thing',
        step: 'look',
        limitMs: stepLimitMs,
      }) as never,
      message: 'a step of the vendor module never ended and is given up',
    });
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it('that reads for each who asks may fail for one of them', async () => {
    await using rig = await start({
      odd: {
        look: (answers, asked) => {
          const broken = (job: LookupJob): VendorReport => {
            throw new Error(`no notes for ${job.id}`);
          };
          for (const id of asked) if (id.startsWith('odd-')) answers.set(id, broken);
          return answers;
        },
      },
    });
    const odd = await rig.submit('odd', { poll: { ...poll, deadlineMs: 3_000, submitWithinMs: 3_000 } });
    const innocents = await rig.innocents();
    expect((await rig.settled(odd)).outcome).toBe('expired');
    await rig.expectInnocent(innocents);
  });
});

describe('a submit of a vendor module', { timeout: 60_000, concurrent: true }, () => {
  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['no list', { jobs: 7 }],
    ['an id that is a number', { jobs: [{ id: 7, kind: 'thing' }] }],
    ['an empty id', { jobs: [{ id: '', kind: 'thing' }] }],
    ['notes with a BigInt', { jobs: [{ id: 'a', kind: 'thing', extra: { at: 7n } }] }],
    ['a job without a kind', { jobs: [{ id: 'a' }] }],
  ])('that returns %s is looked up and adopted, not sent again', async (_what, reply) => {
    await using rig = await start({ odd: { submit: async (_context, make) => (await make(), reply) } });
    const odd = await rig.submit('odd', { poll: patient });
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ status: 'succeeded' }] });
    expect(rig.creates('odd')).toBe(1);
    await rig.expectInnocent(innocents);
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it('that returns nothing where nothing can be looked up is unconfirmed', async () => {
    await using rig = await start({ odd: { resend: 'none', submit: async (_context, make) => void (await make()) } });
    const odd = await rig.submit('odd');
    const data = await rig.settled(odd);
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(JSON.stringify(data.error)).toContain('odd make.none: submit returned undefined; expected an object');
    expect(rig.creates('odd')).toBe(1);
  });

  it('that never ends leaves its fate unknown, and its slot', async () => {
    await using rig = await start({ odd: { resend: 'none', submit: never } }, { concurrency: 1 });
    const odd = await rig.submit('odd', { poll: patient });
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({ outcome: 'unconfirmed' });
    await rig.expectInnocent(innocents);
    expect(rig.creates('odd')).toBe(0);
  });

  it('that goes on after it was given up sends nothing more', async () => {
    let tries = 0;
    const late: Promise<unknown>[] = [];
    await using rig = await start({
      odd: {
        submit(_context, make) {
          tries += 1;
          if (tries > 1) return make();
          const attempt = new Promise((resolve) => setTimeout(resolve, stepLimitMs * 1.5)).then(make);
          late.push(attempt.catch((error: unknown) => error));
          return attempt;
        },
      },
    });
    const odd = await rig.submit('odd', { poll: patient });
    expect((await rig.settled(odd)).outcome).toBe('succeeded');
    expect(await late[0]).toMatchObject({ message: 'the step was given up: it sends nothing more' });
    expect(tries).toBe(2);
    expect(rig.creates('odd')).toBe(1);
  });

  it('keeps its clock standing while one of our requests is under way', async () => {
    await using rig = await start({});
    rig.vendor.on('POST /things', { json: { id: 'well-1' }, delayMs: stepLimitMs * 1.6 });
    const odd = await rig.submit('well', { poll: patient });
    expect((await rig.settled(odd)).outcome).toBe('succeeded');
    expect(rig.creates('well')).toBe(1);
  });

  it('is ended by an error whose details cannot be written', async () => {
    await using rig = await start({
      odd: {
        submit: () => {
          throw new VendorRejectedError('no', { details: { bytes: 7n } as never });
        },
      },
    });
    const odd = await rig.submit('odd');
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({
      outcome: 'rejected',
      error: { code: 'vendor_rejected', details: 'left out: they are not valid JSON' },
    });
    await rig.expectInnocent(innocents);
  });

  it('that is refused settles where its giveUp is broken', async () => {
    await using rig = await start({
      odd: {
        submit: () => {
          throw new VendorRejectedError('no');
        },
        giveUp: () => 7,
      },
    });
    expect(await rig.settled(await rig.submit('odd'))).toMatchObject({ outcome: 'rejected' });
  });

  it('of a thousand requests still works', async () => {
    await using rig = await start({
      odd: {
        submit: (context) => ({ jobs: [{ id: `part-${context.part}`, kind: 'thing' }], more: context.part < 999 }),
      },
    });
    const { outcome, vendorJobs } = await rig.settled(await rig.submit('odd', { poll: patient }), 50_000);
    expect(outcome).toBe('succeeded');
    expect(vendorJobs).toHaveLength(1_000);
  });
});

describe('a preflight of a vendor module', { timeout: 60_000, concurrent: true }, () => {
  it('that never ends is tried again, then rejected; twenty of them stop nobody for longer than the limit', async () => {
    await using rig = await start({ odd: { preflight: never } }, { concurrency: 20 });
    const odd = await Promise.all(Array.from({ length: 20 }, () => rig.submit('odd', { poll: patient })));
    const startedAt = Date.now();
    const innocents = await rig.innocents();
    await rig.expectInnocent(innocents);
    expect(Date.now() - startedAt).toBeLessThan(stepLimitMs + 10_000);
    for (const id of odd) {
      const data = await rig.settled(id, 50_000);
      expect(data).toMatchObject({ outcome: 'rejected', error: { code: 'step_timeout' } });
      expect(data.error?.message).toContain('3 times; nothing was sent');
    }
    expect(rig.creates('odd')).toBe(0);
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it.each<[string, unknown]>([
    ['a BigInt', 7n],
    ['a function', () => 7],
    ['a circle', circle],
    ['a date', new Date(0)],
    ['a megabyte', 'x'.repeat(2 ** 20 + 1)],
  ])('that returns %s sends nothing, and ends at its deadline', async (_what, snapshot) => {
    await using rig = await start({ odd: { preflight: () => snapshot } });
    const odd = await rig.submit('odd', { poll: { ...poll, deadlineMs: 3_000, submitWithinMs: 3_000 } });
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({
      outcome: 'expired',
      error: { details: { lastError: { code: 'vendor_contract' } } },
    });
    expect(rig.creates('odd')).toBe(0);
    await rig.expectInnocent(innocents);
  });

  it('that changes what it is given changes nothing of the submission', async () => {
    await using rig = await start({
      odd: {
        preflight({ jobs, input }) {
          (jobs as unknown[]).push({ id: 'foreign', kind: 'thing', status: 'running' });
          input.how = 'well';
          return null;
        },
        confirm({ jobs }) {
          for (const job of jobs) Object.assign(job, { outcome: 'failed', result: 7n });
          return { kind: 'confirmed' };
        },
      },
    });
    const odd = await rig.submit('odd');
    expect(await rig.settled(odd)).toMatchObject({ outcome: 'succeeded', vendorJobs: [{ outcome: 'succeeded' }] });
    expect(rig.creates('odd')).toBe(1);
  });
});

describe('a reconcile of a vendor module', { timeout: 60_000, concurrent: true }, () => {
  const lost = async (_context: Context, make: () => Promise<unknown>): Promise<void> => void (await make());

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an unknown word', { found: 'perhaps' }],
    ['no reason', { found: 'unusable' }],
    ['nonsense that was found', { found: { jobs: [{ id: 7 }] } }],
  ])('that returns %s is asked again with care, and ends as unconfirmed', async (_what, reply) => {
    await using rig = await start({ odd: { submit: lost, reconcile: () => reply } });
    const odd = await rig.submit('odd');
    const innocents = await rig.innocents();
    expect(await rig.settled(odd)).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(rig.creates('odd')).toBe(1);
    await rig.expectInnocent(innocents);
    expect(rig.vendor.callsTo('GET /things').length).toBeLessThan(20);
  });

  it('that never ends is unconfirmed after three tries', async () => {
    await using rig = await start({ odd: { submit: lost, reconcile: never } });
    const odd = await rig.submit('odd', { poll: patient });
    const innocents = await rig.innocents();
    const data = await rig.settled(odd, 40_000);
    expect(data).toMatchObject({ outcome: 'unconfirmed', error: { code: 'submit_ambiguous' } });
    expect(data.error?.message).toContain('3 times');
    expect(rig.creates('odd')).toBe(1);
    await rig.expectInnocent(innocents);
    expect(rig.vendor.callsTo('GET /things')).toHaveLength(3);
  });
});

describe('a step after acceptance of a vendor module', { timeout: 60_000, concurrent: true }, () => {
  // What was not prepared is looked up at its deadline all the same.
  const atWork: NonNullable<Slip['look']> = (answers, asked) => {
    for (const id of asked) if (id.startsWith('odd-')) answers.set(id, { status: 'running' });
    return answers;
  };

  it.each<[string, Slip]>([
    ['confirm that returns undefined', { confirm: () => undefined }],
    ['confirm that returns an unknown word', { confirm: () => ({ kind: 'perhaps' }) }],
    [
      'confirm whose jobs hold a BigInt',
      { confirm: ({ jobs }) => ({ kind: 'confirmed', jobs: [{ ...jobs[0], result: 7n }] }) },
    ],
    ['confirm that never ends', { confirm: never }],
    ['prepare that returns an object', { prepare: () => ({}), look: atWork }],
    ['prepare that never ends', { prepare: never, look: atWork }],
  ])('%s ends at its deadline, as expired', async (_what, slip) => {
    await using rig = await start({ odd: slip });
    const odd = await rig.submit('odd', { poll: { ...poll, deadlineMs: 3_000, submitWithinMs: 3_000 } });
    const innocents = await rig.innocents();
    const data = await rig.settled(odd, 20_000);
    expect(data).toMatchObject({ outcome: 'expired' });
    expect(JSON.stringify(data.error)).toMatch(/vendor_contract|step_timeout/);
    expect(rig.creates('odd')).toBe(1);
    await rig.expectInnocent(innocents);
    expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
  });

  it('confirm that always asks for another stage fails after twenty', async () => {
    await using rig = await start({ odd: { confirm: () => ({ kind: 'next', stage: 'again' }) } });
    const odd = await rig.submit('odd', { poll: patient });
    const innocents = await rig.innocents();
    const data = await rig.settled(odd, 50_000);
    expect(data).toMatchObject({ outcome: 'failed', error: { code: 'internal_error' } });
    expect(data.error?.message).toContain('it goes in circles');
    expect(rig.creates('odd')).toBeLessThanOrEqual(21);
    await rig.expectInnocent(innocents);
  });

  it('cancel that never ends is given up, and the event says so', async () => {
    await using rig = await start({ odd: { cancel: never, look: () => new Map() } });
    const odd = await rig.submit('odd', { poll: patient });
    await until(async () => (await rig.harness.record('odd', odd))?.includes('"polling"') === true);
    const reader = new SubmissionReader(rig.harness.redis, rig.harness.prefix);
    expect(await reader.cancel('odd', odd, Date.now())).toBe('requested');
    const data = await rig.settled(odd);
    expect(data.outcome).toBe('canceled');
    expect(data.error?.message).toContain('could not be told');
  });
});

it('a fault past the deadline ends the submission, by what is known of it', { timeout: 60_000 }, async () => {
  const adapter = vendorOf({ odd: { submit: async (_context, request) => void (await request()) } });
  const resend = (): never => {
    throw new TypeError('resend cannot be told');
  };
  const operations = { ...adapter.operations, make: { ...adapter.operations['make'], resend } };
  await using rig = await start({}, { adapter: { ...adapter, operations } as VendorAdapter });
  const odd = await rig.submit('odd');
  const innocents = await rig.innocents();
  expect(await rig.settled(odd)).toMatchObject({
    outcome: 'unconfirmed',
    error: { code: 'submit_ambiguous', details: { lastError: { message: 'resend cannot be told' } } },
  });
  await rig.expectInnocent(innocents);
  expect(rig.vendor.calls.length).toBeLessThan(manyCalls);
});

it('an input schema that cannot be run refuses what it was given', async () => {
  const asynchronous = z.strictObject({
    how: z
      .string()
      .describe('x')
      .refine(async () => true),
  });
  const adapter = vendorOf({});
  const operations = { ...adapter.operations, make: { ...adapter.operations['make'], input: asynchronous } };
  await using rig = await start({}, { adapter: { ...adapter, operations } as VendorAdapter });
  const data = await rig.settled(await rig.submit('well'));
  expect(data).toMatchObject({ outcome: 'rejected', error: { code: 'invalid_submission' } });
  expect(data.error?.message).toContain('could not be checked');
});
