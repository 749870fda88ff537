import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';
import { submit } from '../../src/index.ts';
import type { InputOf, OperationName } from '../../src/producers/producer.ts';
import type { Catalogue } from '../../src/vendors/catalogue.ts';
import { defineVendor, statusWords } from '../../src/vendors/define-vendor.ts';

const account = z.strictObject({
  apiKey: z.string(),
  baseUrl: z.url().default('https://a.example'),
  seats: z.number(),
});

function minimal(rest: object = {}) {
  const given = { name: 'one-two', summary: 'Nothing.', account, lookups: {}, operations: {}, ...rest };
  return defineVendor(given);
}

describe('defineVendor', () => {
  const vendor = defineVendor({
    name: 'acme',
    summary: 'Invented.',
    account,
    lookups: {
      job: {
        async look(jobs, { account: known }) {
          expectTypeOf(known).toEqualTypeOf<{ apiKey: string; baseUrl: string; seats: number }>();
          return new Map(jobs.map((job) => [job.id, { status: 'running' as const }]));
        },
      },
    },
    operations: {
      count: {
        summary: 'Counts.',
        input: z.strictObject({ upTo: z.number(), step: z.number().default(1) }),
        resend: ({ step }, { seats }) => (step > seats ? 'safe' : 'none'),
        async submit({ input, account: known }) {
          expectTypeOf(input).toEqualTypeOf<{ upTo: number; step: number }>();
          expectTypeOf(known.seats).toBeNumber();
          return { jobs: [] };
        },
        async reconcile({ input, snapshot }, intent) {
          expectTypeOf(input.step).toBeNumber();
          expectTypeOf(intent.at).toBeNumber();
          return { found: snapshot === undefined ? 'absent' : { jobs: [] } };
        },
        async confirm({ input }) {
          expectTypeOf(input.upTo).toBeNumber();
          return { kind: 'confirmed' };
        },
      },
      say: {
        summary: 'Says.',
        input: z.strictObject({ text: z.string() }),
        resend: 'safe',
        async submit({ input }) {
          expectTypeOf(input).toEqualTypeOf<{ text: string }>();
          return { jobs: [] };
        },
      },
    },
  });

  it('types every step by the schemas of the same call, and callers by what they may leave out', () => {
    expectTypeOf<InputOf<typeof vendor, 'count'>>().toEqualTypeOf<{ upTo: number; step?: number | undefined }>();
    expectTypeOf<InputOf<typeof vendor, 'say'>>().toEqualTypeOf<{ text: string }>();
    expect(Object.keys(vendor.operations)).toEqual(['count', 'say']);
  });

  it('knows its operations by name: a slip does not compile', () => {
    expectTypeOf<OperationName<typeof vendor>>().toEqualTypeOf<'count' | 'say'>();
    expectTypeOf<OperationName<Catalogue['knowhere']>>().toEqualTypeOf<'parse' | 'watch'>();
    expectTypeOf<OperationName<Catalogue['sharely']>>()
      .extract<'knowledge.upload'>()
      .toEqualTypeOf<'knowledge.upload'>();
    const slips = (): Promise<unknown>[] => [
      // @ts-expect-error -- the operation is called parse
      submit('knowhere', 'prase', { input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' } }),
      // @ts-expect-error -- the operation is called documents.ingest
      submit('fini', 'documents.ingets', { input: {} }),
      // @ts-expect-error -- the input of another operation
      submit('knowhere', 'watch', { input: { sourceType: 'url', sourceUrl: 'https://example.com/a.pdf' } }),
    ];
    expect(slips).toBeTypeOf('function');
  });

  it('fills in what the account tells: variables, secrets, credentials, address, key, batch of one', () => {
    expect(vendor).toMatchObject({
      environment: { apiKey: 'ACME_API_KEY', baseUrl: 'ACME_BASE_URL' },
      secrets: ['apiKey'],
      credentials: ['apiKey'],
      lookups: { job: { maxBatch: 1 } },
    });
    const known = { apiKey: 'k', baseUrl: 'https://b.example', seats: 1 };
    expect(vendor.http.baseUrl(known)).toBe('https://b.example');
    expect(vendor.http.headers(known, undefined)).toEqual({ authorization: 'Bearer k' });
    expect(minimal().environment).toEqual({ apiKey: 'ONE_TWO_API_KEY', baseUrl: 'ONE_TWO_BASE_URL' });
  });

  it.each([
    [{ name: 'Acme' }, 'the name must match'],
    [{ name: 'results' }, 'taken'],
    [{ account: z.strictObject({ user: z.string(), baseUrl: z.url() }) }, 'secrets: []'],
    [{ secrets: [] }, 'credentials'],
    [{ account: z.strictObject({ apiKey: z.string() }) }, 'http.baseUrl'],
    [{ account: z.strictObject({ token: z.string(), baseUrl: z.url() }) }, 'http.headers'],
    [{ lookups: { job: { maxBatch: 0, look: async () => new Map() } } }, 'maxBatch'],
    [
      { operations: { go: { summary: '', input: z.unknown(), resend: 'lookup', submit: async () => ({ jobs: [] }) } } },
      'reconcile',
    ],
  ])('says what is missing: %#', (rest, message) => {
    expect(() => minimal(rest)).toThrow(message);
  });
});

describe('statusWords', () => {
  it('refuses a word that stands for nothing', () => {
    expect(() => statusWords({ done: 'succeded' as never })).toThrow('"done" stands for "succeded"; it can be pending');
  });

  it('reads a word in another case, where it is not listed as written', () => {
    const toStatus = statusWords({ done: 'succeeded', Failed: 'failed', FAILED: 'canceled' });
    expect(['DONE', 'Done', 'Failed', 'FAILED'].map(toStatus)).toEqual([
      'succeeded',
      'succeeded',
      'failed',
      'canceled',
    ]);
  });

  it('takes a word that is not listed for running, whatever its name', () => {
    const toStatus = statusWords({ done: 'succeeded' });
    expect(['done', 'new', 'constructor', ''].map(toStatus)).toEqual(['succeeded', 'running', 'running', 'running']);
  });
});
