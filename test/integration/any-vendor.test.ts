import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod';
import { createProducer, InvalidSubmissionError, vendors, type InputOf } from '../../src/client.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

describe('a producer', () => {
  const prefix = freshPrefix();
  const options = { redisUrl: redisUrl(), prefix };
  const redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  const queue = new Queue('acme.submit', { connection: redis, prefix });
  const untyped = createProducer(options);
  const acme = { operations: { render: { input: z.strictObject({ script: z.string() }) } } };
  const typed = createProducer({ ...options, vendors: { ...vendors, acme } });

  afterAll(async () => {
    await Promise.all([untyped.close(), typed.close()]);
    await queue.obliterate({ force: true });
    await queue.close();
    redis.disconnect();
  });

  it('without vendors takes any vendor and operation by name, and leaves the input to the workers', async () => {
    const request = { id: 'any-1', input: { whatever: [1] }, metadata: { order: 1 } };
    expect(await untyped.submit('acme', 'render', request)).toEqual({ submissionId: 'any-1', created: true });
    expect(await untyped.submit('acme', 'render', request)).toEqual({ submissionId: 'any-1', created: false });
    const [first, second] = await untyped.submitMany('acme', 'render', [{ input: { n: 1 } }, { input: { n: 2 } }]);
    expect([first?.created, second?.created]).toEqual([true, true]);
    expect((await queue.getJob('any-1'))?.data).toEqual({ input: { whatever: [1] }, metadata: { order: 1 } });
    expect(await untyped.status('acme', 'any-1')).toMatchObject({ operation: 'render', phase: 'received' });
    expect(await untyped.cancel('acme', 'any-1')).toBe('requested');
  });

  it('without vendors still refuses what no worker could take', async () => {
    const refusal = async (vendor: string, operation: string, request: { input: unknown; replyTo?: string }) => {
      const error = await untyped.submit(vendor, operation, request).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(InvalidSubmissionError);
      return (error as InvalidSubmissionError).faults.map(({ path }) => path);
    };
    expect(await refusal('Acme:x', 'render', { input: {} })).toEqual(['vendor']);
    expect(await refusal('results', 're-nder', { input: {} })).toEqual(['vendor', 'operation']);
    expect(await refusal('acme', 'render', { input: 'text' })).toEqual(['input']);
    expect(await refusal('acme', 'render', { input: {}, replyTo: 'acme.poll' })).toEqual(['replyTo']);
  });

  it('takes a vendor of the caller’s own by its input schemas alone, beside those of the product', async () => {
    expect(await typed.submit('acme', 'render', { id: 'own-1', input: { script: 'dawn' } })).toMatchObject({
      created: true,
    });
    // @ts-expect-error -- a number is no script
    await expect(typed.submit('acme', 'render', { input: { script: 1 } })).rejects.toThrow('input.script');
    await expect(
      typed.submit('knowhere', 'parse', { input: { sourceType: 'url', sourceUrl: 'ftp://example.com' } }),
    ).rejects.toThrow('input.sourceUrl');
    expectTypeOf<InputOf<typeof acme, 'render'>>().toEqualTypeOf<{ script: string }>();
  });
});
