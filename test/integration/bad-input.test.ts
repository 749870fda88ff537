import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onCompletion } from '../../src/consumers/on-completion.ts';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';
import { redisUrl } from '../helpers/redis.ts';

interface Faults {
  faults: { path: string; message: string }[];
}

/** Whatever a stranger pushes: one `rejected` event that names every fault, nothing sent, the worker unharmed. */
describe('bad input', () => {
  let rig: KnowhereRig;
  let count = 0;

  beforeAll(async () => {
    rig = await startKnowhere();
    const { folder } = rig.harness;
    await writeFile(path.join(folder, 'empty.pdf'), '');
    await mkdir(path.join(folder, 'folder.pdf'));
    await writeFile(path.join(folder, 'secret.pdf'), 'x');
    await chmod(path.join(folder, 'secret.pdf'), 0);
    await symlink('/etc/hostname', path.join(folder, 'link.pdf'));
    await symlink('/etc', path.join(folder, 'etc'));
    await writeFile(path.join(folder, 'noextension'), 'x');
  });
  afterAll(() => rig.stop());

  async function refused(operation: string, data: unknown): Promise<{ path: string; message: string }[]> {
    const jobId = `bad-${(count += 1)}`;
    await rig.harness.push('knowhere', operation, data, { jobId });
    const event = await rig.harness.event(jobId);
    expect(event.type).toBe('jobferry.submission.rejected');
    expect(event.data).toMatchObject({
      outcome: 'rejected',
      error: { code: 'invalid_submission' },
      polls: 0,
      vendorJobs: [],
    });
    return (event.data.error?.details as unknown as Faults).faults;
  }
  const paths = (faults: { path: string }[]): string[] => faults.map((fault) => fault.path);

  it.each([
    ['an unknown operation', 'prase', { input: urlInput() }, ['name']],
    ['an inherited name as operation', 'constructor', { input: urlInput() }, ['name']],
    ['no input', 'parse', {}, ['input']],
    ['unknown keys', 'parse', { input: { ...urlInput(), colour: 1 }, retries: 3 }, ['input.colour', 'retries']],
    ['wrong types', 'parse', { input: { ...urlInput(), dataId: 5 }, account: 7 }, ['account', 'input.dataId']],
    ['a source without its URL', 'parse', { input: { sourceType: 'url' } }, ['input.sourceUrl']],
    [
      'a URL that is none',
      'parse',
      { input: { sourceType: 'url', sourceUrl: 'javascript:alert(1)' } },
      ['input.sourceUrl'],
    ],
    ['a source type of its own', 'parse', { input: { sourceType: 'ftp' } }, ['input.sourceType']],
    ['a label that is too long', 'parse', { input: { ...urlInput(), dataId: 'x'.repeat(129) } }, ['input.dataId']],
    ['oversized metadata', 'parse', { input: urlInput(), metadata: { text: 'x'.repeat(17_000) } }, ['metadata']],
    ['metadata that is no object', 'parse', { input: urlInput(), metadata: 'x' }, ['metadata']],
    ['a bad replyTo', 'parse', { input: urlInput(), replyTo: 'a b' }, ['replyTo']],
    ['a replyTo with a colon', 'parse', { input: urlInput(), replyTo: 'a:b' }, ['replyTo']],
    ['a replyTo that is one of ours', 'parse', { input: urlInput(), replyTo: 'knowhere.poll' }, ['replyTo']],
    ['a replyTo of another application', 'parse', { input: urlInput(), replyTo: 'payments.charge' }, ['replyTo']],
    [
      'a poll that contradicts itself',
      'parse',
      { input: urlInput(), poll: { initialDelayMs: 5_000, maxDelayMs: 1_000 } },
      ['poll.initialDelayMs'],
    ],
    [
      'a poll of nonsense',
      'parse',
      { input: urlInput(), poll: { factor: 0.5, deadlineMs: -1, every: 3 } },
      ['poll.deadlineMs', 'poll.every', 'poll.factor'],
    ],
    ['an account that is not configured', 'parse', { input: urlInput(), account: 'other' }, ['account']],
    [
      'several faults at once',
      'parse',
      { input: { sourceType: 'url', sourceUrl: 'x', y: 1 }, account: 'other', z: 1 },
      ['account', 'input.sourceUrl', 'input.y', 'z'],
    ],
    ['a missing file', 'parse', { input: { sourceType: 'file', file: 'nowhere.pdf' } }, ['input.file']],
    ['an empty file', 'parse', { input: { sourceType: 'file', file: 'empty.pdf' } }, ['input.file']],
    ['a folder', 'parse', { input: { sourceType: 'file', file: 'folder.pdf' } }, ['input.file']],
    [
      'a file by an absolute path',
      'parse',
      { input: { sourceType: 'file', file: '/etc/hostname', fileName: 'a.txt' } },
      ['input.file'],
    ],
    ['a file outside the folder', 'parse', { input: { sourceType: 'file', file: '../x.pdf' } }, ['input.file']],
    [
      'a file outside, by a detour',
      'parse',
      { input: { sourceType: 'file', file: 'folder.pdf/../../x.pdf' } },
      ['input.file'],
    ],
    ['a link that leads out', 'parse', { input: { sourceType: 'file', file: 'link.pdf' } }, ['input.file']],
    [
      'a folder link that leads out',
      'parse',
      { input: { sourceType: 'file', file: 'etc/hostname', fileName: 'a.txt' } },
      ['input.file'],
    ],
    [
      'a file name without extension',
      'parse',
      { input: { sourceType: 'file', file: 'noextension' } },
      ['input.fileName'],
    ],
    ['nothing to watch', 'watch', { input: { jobIds: [] } }, ['input.jobIds']],
    ['a job watched twice', 'watch', { input: { jobIds: ['a', 'a'] } }, ['input.jobIds']],
    ['a job id with a path in it', 'watch', { input: { jobIds: ['../admin'] } }, ['input.jobIds[0]']],
  ])('%s', async (_name, operation, data, expected) => {
    expect(paths(await refused(operation, data)).sort()).toEqual(expected);
    expect(rig.creates()).toEqual([]);
  });

  it.each([
    ['null', null],
    ['a number', 5],
    ['a text', 'text'],
    ['a list', [1, 2]],
  ])('job data that is no object: %s', async (_name, data) => {
    const [fault] = await refused('parse', data);
    expect(fault).toMatchObject({ path: '', message: expect.stringContaining('expected an object') });
  });

  it('job data of 5 MB', async () => {
    const [fault] = await refused('parse', { input: { ...urlInput(), dataId: 'x'.repeat(5_000_000) } });
    expect(fault?.message).toMatch(/bytes of JSON/);
  });

  it.each([
    [5_000_000, 'results-large', { order: 17 }],
    // Not even read for where its answer goes.
    [9_000_000, 'results', null],
  ])('job data of %i bytes is answered on %s', async (size, queue, metadata) => {
    const input = { ...urlInput(), dataId: 'x'.repeat(size) };
    const data = { input, replyTo: 'results-large', metadata: { order: 17 } };
    const jobId = `large-${size}`;
    await rig.harness.push('knowhere', 'parse', data, { jobId });
    const told = await until(async () => {
      const jobs = await rig.harness.queue(queue).getJobs();
      return jobs.find((job) => (job.data as CompletionEvent).subject === jobId);
    });
    expect((told.data as CompletionEvent).data).toMatchObject({ outcome: 'rejected', metadata });
  });

  it('job data nested a hundred thousand deep', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    await rig.harness.push('knowhere', 'parse', {}, { jobId: 'deep', delay: 300 });
    await rig.harness.redis.hset(`${rig.harness.prefix}:knowhere.submit:deep`, 'data', `{"input":${deep}}`);
    const event = await rig.harness.event('deep');
    expect(event.data.outcome).toBe('rejected');
  });

  it('hostile keys', async () => {
    const data: unknown = JSON.parse(
      '{"input":{"sourceType":"url","sourceUrl":"https://example.com/a.pdf","__proto__":{"x":1}}}',
    );
    expect(paths(await refused('parse', data))).toEqual(['input.__proto__']);
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it('metadata with keys of any name is echoed as it is, and taken by a consumer as it is', async () => {
    const metadata = JSON.parse(
      '{"constructor":"x","a":{"prototype":{"constructor":1}},"__proto__":{"x":1}}',
    ) as JsonObject;
    const taken: CompletionEvent[] = [];
    const consumer = await onCompletion((event) => void taken.push(event), {
      redisUrl: redisUrl(),
      prefix: rig.harness.prefix,
      queue: 'results-odd',
    });
    const data = { input: urlInput(), poll: quickPoll, replyTo: 'results-odd', metadata };
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'odd-keys' });
    const [event] = await until(() => (taken.length > 0 ? taken : undefined));
    await consumer.close();
    expect(event?.data.outcome).toBe('succeeded');
    expect(JSON.stringify(event?.data.metadata)).toBe(JSON.stringify(metadata));
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it('job data that is no JSON at all', async () => {
    await rig.harness.push('knowhere', 'parse', {}, { jobId: 'broken', delay: 300 });
    await rig.harness.redis.hset(`${rig.harness.prefix}:knowhere.submit:broken`, 'data', '{"input":');
    const event = await rig.harness.event('broken', 20_000);
    expect(event.data.outcome).toBe('rejected');
  });

  it('replies where it can when only the rest is bad, and echoes good metadata', async () => {
    await rig.harness.consume('elsewhere.results');
    await rig.harness.push(
      'knowhere',
      'parse',
      { input: {}, replyTo: 'elsewhere.results', metadata: { order: 1 } },
      { jobId: 'reply' },
    );
    const event = await rig.harness.event('reply');
    expect(event.data).toMatchObject({ outcome: 'rejected', metadata: { order: 1 } });
    expect(await rig.harness.queue('elsewhere.results').getJob(event.id)).toBeDefined();
  });

  it('answers on results where the queue is not allowed, and puts nothing there', async () => {
    const data = { input: urlInput(), replyTo: 'payments.charge', metadata: { amount: 1 } };
    await rig.harness.push('knowhere', 'parse', data, { jobId: 'elsewhere' });
    const event = await rig.harness.event('elsewhere');
    expect(event.data).toMatchObject({ outcome: 'rejected', metadata: { amount: 1 } });
    expect(await rig.harness.redis.keys(`${rig.harness.prefix}:payments.charge:*`)).toEqual([]);
  });

  it('leaves the worker unharmed', async () => {
    const id = await rig.harness.submit('knowhere', 'parse', urlInput(), { poll: quickPoll });
    expect((await rig.harness.event(id)).data.outcome).toBe('succeeded');
    expect(await rig.harness.queue('knowhere.submit').getFailedCount()).toBe(0);
  });

  it('needs JOBFERRY_FILES_DIR for files', async () => {
    const other = await startKnowhere({ env: { JOBFERRY_FILES_DIR: '' } });
    try {
      const id = await other.harness.submit('knowhere', 'parse', { sourceType: 'file', file: 'a.pdf' });
      const event = await other.harness.event(id);
      expect(event.data.error?.message).toContain('JOBFERRY_FILES_DIR is not set');
    } finally {
      await other.stop();
    }
  });
});

describe('job ids that damage a queue', () => {
  it.each([
    'wait',
    'active',
    'completed',
    'stalled',
    'meta',
    'paused',
    'prioritized',
    'marker',
    'failed',
    'delayed',
    'events',
  ])(
    'a foreign job with the id %s is refused, and the queue goes on',
    async (jobId) => {
      const rig = await startKnowhere();
      try {
        await rig.harness.push('knowhere', 'parse', { input: urlInput() }, { jobId }).catch(() => undefined);
        // Some of these make the add itself fail half-way; what counts is that the queue works afterwards.
        const id = 'after-the-damage';
        await until(
          () =>
            rig.harness
              .push('knowhere', 'parse', { input: urlInput(), poll: quickPoll }, { jobId: id })
              .catch(() => undefined),
          15_000,
        );
        expect((await rig.harness.event(id, 20_000)).data.outcome).toBe('succeeded');
        expect(rig.created()).toHaveLength(1);
        const about = rig.harness.events.filter((event) => event.subject === jobId);
        expect(about.every((event) => event.data.outcome === 'rejected')).toBe(true);
        expect(new Set(about.map((event) => event.id)).size).toBeLessThanOrEqual(1);
      } finally {
        await rig.stop();
      }
    },
    40_000,
  );
});
