import type { Lookup, Operation, VendorAdapter } from '../../src/ports/vendor-adapter.ts';

/**
 * What a vendor module does wrong:
 * - `preflight-hangs`, `submit-hangs`, `confirm-hangs`: the step never ends
 * - `submit-garbles`: the request is made, and nonsense returned
 * - `confirm-waits`: "not yet, ask again at once", for ever
 * - `look-throws`: for a whole request, when this vendor job is in it
 */
export const slips = [
  ...(['preflight-hangs', 'submit-hangs', 'submit-garbles', 'confirm-hangs', 'confirm-waits'] as const),
  'look-throws',
] as const;
export type Slip = (typeof slips)[number];

const never = (): Promise<never> => new Promise(() => undefined);

/** What an input asks for with `slip=<slip>` in one of its texts. */
export function slipOf(input: unknown): Slip | undefined {
  const word = /slip=([a-z-]+)/.exec(JSON.stringify(input))?.[1];
  return slips.find((slip) => slip === word);
}

/** The same module, careless with submissions that ask for it. */
export function carelessly(adapter: VendorAdapter): VendorAdapter {
  return {
    ...adapter,
    operations: mapValues(adapter.operations, carelessOperation),
    lookups: mapValues(adapter.lookups, carelessLookup),
  };
}

function carelessOperation(operation: Operation): Operation {
  return {
    ...operation,
    preflight: (context) =>
      (slipOf(context.input) === 'preflight-hangs' ? never() : operation.preflight?.(context)) as never,
    async submit(context) {
      const slip = slipOf(context.input);
      const reply = await operation.submit(context);
      if (slip === 'submit-hangs') return never();
      if (slip === 'submit-garbles') return { jobs: [{ id: 7 }] } as never;
      if (slip !== 'look-throws') return reply;
      // A look-up knows of its vendor jobs what their notes say, in whichever process it runs.
      return { ...reply, jobs: reply.jobs.map((job) => ({ ...job, extra: { ...job.extra, slip } })) };
    },
    ...(operation.confirm === undefined
      ? {}
      : {
          confirm: async (context) => {
            const slip = slipOf(context.input);
            if (slip === 'confirm-hangs') return never();
            return slip === 'confirm-waits'
              ? { kind: 'not-yet', reason: 'still', afterMs: 0 }
              : (operation.confirm?.(context) ?? { kind: 'confirmed' });
          },
        }),
  };
}

function carelessLookup(lookup: Lookup): Lookup {
  return {
    ...lookup,
    look(jobs, context) {
      if (jobs.some(({ extra }) => extra?.['slip'] === 'look-throws'))
        throw new TypeError('cannot read properties of undefined');
      return lookup.look(jobs, context);
    },
  };
}

function mapValues<T>(record: Readonly<Record<string, T>>, change: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}
