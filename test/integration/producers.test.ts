import { createServer } from 'node:net';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createProducer,
  InvalidSubmissionError,
  onCompletion,
  RedisUnavailableError,
  catalogue,
  type CompletionEvent,
} from '../../src/index.ts';
import { until } from '../helpers/harness.ts';
import { closedPort, quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

describe('producers', () => {
  const prefix = freshPrefix();
  const producer = createProducer({ vendors: catalogue, redisUrl: redisUrl(), prefix });
  const redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  const queue = new Queue('knowhere.submit', { connection: redis, prefix });

  afterAll(async () => {
    await producer.close();
    await queue.obliterate({ force: true });
    await queue.close();
    redis.disconnect();
  });

  it('enqueue a job that any BullMQ client can read', async () => {
    const submitted = await producer.submit('knowhere', 'parse', {
      id: 'p-1',
      input: urlInput(),
      poll: { maxDelayMs: 5_000 },
      metadata: { order: 1 },
    });
    expect(submitted).toEqual({ submissionId: 'p-1' });
    const job = await queue.getJob('p-1');
    expect(job).toMatchObject({
      name: 'parse',
      data: { input: urlInput(), poll: { maxDelayMs: 5_000 }, metadata: { order: 1 } },
    });
  });

  it('make a unique id where none is given', async () => {
    const one = await producer.submit('knowhere', 'parse', { input: urlInput() });
    const two = await producer.submit('knowhere', 'parse', { input: urlInput() });
    expect(one.submissionId).not.toBe(two.submissionId);
  });

  it('check before anything is sent, and name every fault', async () => {
    const bad = {
      id: 'wait',
      input: { sourceType: 'url', sourceUrl: 'nope', x: 1 },
      account: 'a b',
      replyTo: 'knowhere.poll',
    } as never;
    const error = await producer.submit('knowhere', 'parse', bad).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(InvalidSubmissionError);
    expect((error as InvalidSubmissionError).faults.map((fault) => fault.path).sort()).toEqual([
      'account',
      'id',
      'input.sourceUrl',
      'input.x',
      'replyTo',
    ]);
    expect(await redis.type(`${prefix}:knowhere.submit:wait`)).not.toBe('hash');
  });

  it('know the allowed queues where they are told, and leave them to the workers where not', async () => {
    const request = { id: 'elsewhere', input: urlInput(), replyTo: 'payments.charge' };
    const told = createProducer({
      vendors: catalogue,
      redisUrl: redisUrl(),
      prefix,
      replyTo: { allow: ['results-*'] },
    });
    try {
      await expect(told.submit('knowhere', 'parse', request)).rejects.toMatchObject({ faults: [{ path: 'replyTo' }] });
      await expect(producer.submit('knowhere', 'parse', request)).resolves.toEqual({ submissionId: 'elsewhere' });
    } finally {
      await told.close();
    }
  });

  it.each(['12', 'a:b:c', '0:a:b', 'knowhere-12', ''])('refuse the id %j', async (id) => {
    await expect(producer.submit('knowhere', 'parse', { id, input: urlInput() })).rejects.toBeInstanceOf(
      InvalidSubmissionError,
    );
  });

  it('refuse vendors and operations that nobody knows', async () => {
    await expect(producer.submit('nobody' as never, 'parse' as never, { input: urlInput() as never })).rejects.toThrow(
      /unknown/,
    );
    await expect(producer.submit('knowhere', 'toString' as never, { input: urlInput() as never })).rejects.toThrow(
      /no operation/,
    );
  });

  it('enqueue 10,000 in one call, in order of the list', async () => {
    const requests = Array.from({ length: 10_000 }, (_, index) => ({
      id: `bulk-${index}`,
      input: urlInput(`${index}.pdf`),
    }));
    const submitted = await producer.submitMany('knowhere', 'parse', requests);
    expect(submitted).toHaveLength(10_000);
    expect(await queue.getWaitingCount()).toBeGreaterThanOrEqual(10_000);
    expect((await queue.getJob('bulk-9999'))?.data).toEqual({ input: urlInput('9999.pdf') });
  });

  it('enqueue nothing of a bulk with one fault in it', async () => {
    const before = await queue.getWaitingCount();
    const requests = [{ input: urlInput() }, { input: { sourceType: 'url', sourceUrl: 'x' } as never }];
    await expect(producer.submitMany('knowhere', 'parse', requests)).rejects.toThrow('[1].input.sourceUrl');
    expect(await queue.getWaitingCount()).toBe(before);
  });

  it.each(['refused', 'silent'])('fail within two seconds when Redis is away: %s', async (kind) => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const port = kind === 'refused' ? await closedPort() : (server.address() as { port: number }).port;
    const away = createProducer({ vendors: catalogue, redisUrl: `redis://127.0.0.1:${port}` });
    const startedAt = Date.now();
    await expect(away.submit('knowhere', 'parse', { input: urlInput() })).rejects.toBeInstanceOf(RedisUnavailableError);
    expect(Date.now() - startedAt).toBeLessThan(2_300);
    await away.close();
    server.close();
  });
});

describe('consumers', () => {
  let rig: KnowhereRig;
  beforeAll(async () => {
    rig = await startKnowhere();
  });
  afterAll(() => rig.stop());

  it('get events by outcome, and again when their handler throws', async () => {
    const good: CompletionEvent[] = [];
    const rest: string[] = [];
    let throws = 1;
    const consumer = await onCompletion(
      {
        succeeded(event) {
          if (throws-- > 0) throw new Error('not ready');
          good.push(event);
        },
        otherwise(event) {
          rest.push(event.data.outcome);
        },
      },
      { redisUrl: redisUrl(), prefix: rig.harness.prefix, queue: 'my-results' },
    );
    const replyTo = 'my-results';
    await rig.harness.push('knowhere', 'parse', { input: urlInput(), poll: quickPoll, replyTo }, { jobId: 'good' });
    await rig.harness.push('knowhere', 'parse', { input: {}, replyTo }, { jobId: 'bad' });
    await until(() => good.length === 1 && rest.length === 1);
    expect(good[0]?.subject).toBe('good');
    expect(rest).toEqual(['rejected']);
    await consumer.close();
  });
});
