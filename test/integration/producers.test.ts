import { createServer } from 'node:net';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createProducer,
  IdTakenError,
  InvalidSubmissionError,
  onCompletion,
  RedisUnavailableError,
  catalogue,
  type CompletionEvent,
  type Submitted,
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
    expect(submitted).toEqual({ submissionId: 'p-1', created: true });
    const job = await queue.getJob('p-1');
    expect(job).toMatchObject({
      name: 'parse',
      data: { input: urlInput(), poll: { maxDelayMs: 5_000 }, metadata: { order: 1 } },
    });
  });

  it('tell that an id was submitted before: the order of keys and defaults that are written out say nothing', async () => {
    // The first came from another client, without defaults.
    const sourceUrl = 'https://example.com/a.pdf';
    const first = { input: { sourceUrl, parsingParams: { model: 'base', ocrEnabled: true }, sourceType: 'url' } };
    await queue.add('parse', { ...first, metadata: { order: 1, at: 2 } }, { jobId: 'known' });
    const again = {
      id: 'known',
      input: {
        sourceType: 'url' as const,
        sourceUrl,
        download: false,
        parsingParams: { ocrEnabled: true, model: 'base' as const },
      },
      account: 'default',
      replyTo: 'results',
    };
    const submit = (more: object): Promise<Submitted> => producer.submit('knowhere', 'parse', { ...again, ...more });
    expect(await submit({ metadata: { at: 2, order: 1 } })).toEqual({ submissionId: 'known', created: false });
    expect(await submit({ metadata: { order: 2 }, poll: { maxDelayMs: 5_000 } })).toEqual({
      submissionId: 'known',
      created: false,
      ignored: ['metadata', 'poll'],
    });
    expect((await queue.getJob('known'))?.data).toMatchObject({ metadata: { order: 1 } });
  });

  it('refuse an id that was submitted before for something else, and enqueue nothing', async () => {
    await producer.submit('knowhere', 'parse', { id: 'taken', input: urlInput() });
    const taken = async (operation: 'parse' | 'watch', request: object): Promise<unknown> => {
      const error = await producer
        .submit('knowhere', operation, { id: 'taken', input: urlInput(), ...request })
        .catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(IdTakenError);
      expect(error).toMatchObject({ code: 'id_taken', message: expect.stringContaining('taken was submitted before') });
      return (error as IdTakenError).taken;
    };
    const differs = (...paths: string[]): object[] => [{ submissionId: 'taken', differs: paths }];
    expect(await taken('parse', { input: urlInput('b.pdf') })).toEqual(differs('input.sourceUrl'));
    expect(await taken('parse', { account: 'eu', replyTo: 'mine' })).toEqual(differs('account', 'replyTo'));
    expect(await taken('watch', { input: { jobIds: ['job_1'] } })).toEqual(
      differs('operation', 'input.sourceType', 'input.sourceUrl', 'input.jobIds', 'input.download'),
    );
    const many = [{ input: urlInput() }, { id: 'new', input: urlInput() }, { id: 'taken', input: urlInput('c.pdf') }];
    const before = await queue.getWaitingCount();
    await expect(producer.submitMany('knowhere', 'parse', many)).rejects.toMatchObject({
      taken: differs('input.sourceUrl'),
    });
    const twice = [many[1]!, { id: 'new', input: urlInput('d.pdf') }];
    await expect(producer.submitMany('knowhere', 'parse', twice)).rejects.toMatchObject({
      taken: [{ submissionId: 'new', differs: ['input.sourceUrl'] }],
    });
    expect(await queue.getWaitingCount()).toBe(before);
    expect(await producer.submitMany('knowhere', 'parse', [many[1]!, many[1]!])).toEqual([
      { submissionId: 'new', created: true },
      { submissionId: 'new', created: false },
    ]);
  });

  it('tell one of many callers at the same moment that it created, and those with other input that they did not', async () => {
    const other = createProducer({ vendors: catalogue, redisUrl: redisUrl(), prefix });
    for (let round = 0; round < 5; round += 1) {
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? producer : other).submit('knowhere', 'parse', {
            id: `raced-${round}`,
            input: urlInput(index % 4 < 2 ? 'a.pdf' : 'b.pdf'),
          }),
        ),
      );
      const kept = (await queue.getJob(`raced-${round}`))?.data as { input: object };
      const outcomes = results.map((result, index) => {
        const isKept = urlInput(index % 4 < 2 ? 'a.pdf' : 'b.pdf').sourceUrl === urlInput().sourceUrl;
        if (result.status === 'fulfilled') return { isKept, created: result.value.created };
        expect(result.reason).toBeInstanceOf(IdTakenError);
        return { isKept, refused: true };
      });
      const isFirst = JSON.stringify(kept.input) === JSON.stringify(urlInput());
      expect(outcomes.filter((one) => one.created === true)).toHaveLength(1);
      expect(outcomes.filter((one) => 'refused' in one)).toHaveLength(10);
      expect(outcomes.filter((one) => 'refused' in one).every((one) => one.isKept !== isFirst)).toBe(true);
    }
    await other.close();
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
      await expect(producer.submit('knowhere', 'parse', request)).resolves.toMatchObject({ submissionId: 'elsewhere' });
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
    expect(submitted.every((one) => one.created)).toBe(true);
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

    // Settled as they are, their ids stand for what they were submitted with.
    const { prefix } = rig.harness;
    const producer = createProducer({ vendors: catalogue, redisUrl: redisUrl(), prefix });
    const again = { id: 'good', input: urlInput(), replyTo };
    expect(await producer.submit('knowhere', 'parse', again)).toEqual({
      submissionId: 'good',
      created: false,
      ignored: ['poll'],
    });
    await expect(producer.submit('knowhere', 'parse', { ...again, input: urlInput('b.pdf') })).rejects.toThrow(
      'good was submitted before with another input.sourceUrl: give what is new an id of its own',
    );
    await expect(producer.submit('knowhere', 'parse', { ...again, id: 'bad' })).rejects.toBeInstanceOf(IdTakenError);
    await producer.close();
  });
});
