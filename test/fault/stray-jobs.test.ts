import { FlowProducer, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKey, OpenSubmissions } from '../../src/queues/open-submissions.ts';
import { StrayJobs } from '../../src/queues/stray-jobs.ts';
import { until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

let redis: Redis;
let prefix: string;
let submit: Queue;
let poll: Queue;
let strays: { submit: StrayJobs; poll: StrayJobs };

beforeEach(() => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  prefix = freshPrefix();
  submit = new Queue('knowhere.submit', { connection: redis, prefix });
  poll = new Queue('knowhere.poll', { connection: redis, prefix });
  strays = {
    submit: new StrayJobs(redis, prefix, 'knowhere.submit'),
    poll: new StrayJobs(redis, prefix, 'knowhere.poll'),
  };
});
afterEach(async () => {
  await Promise.all([submit.close(), poll.close()]);
  const keys = await redis.keys(`${prefix}:*`);
  if (keys.length > 0) await redis.del(keys);
  redis.disconnect();
});

const key = (name: string): string => `${prefix}:knowhere.submit:${name}`;
const pollKey = (name: string): string => `${prefix}:knowhere.poll:${name}`;

/** Looks, and looks again as soon as that counts. */
async function putBackAll(expected: number): Promise<string[]> {
  await strays.submit.walk();
  const restored: string[] = [];
  await until(async () => {
    restored.push(...(await strays.submit.putBack()));
    return restored.length >= expected;
  });
  return restored.sort();
}

describe('a job that stands in no list', () => {
  it('comes back to where it belongs', async () => {
    const flows = new FlowProducer({ connection: redis, prefix });
    await submit.add('parse', {}, { jobId: 'plain' });
    await submit.add('parse', {}, { jobId: 'repeat:daily:1' });
    await submit.add('parse', {}, { jobId: 'first', priority: 5 });
    await submit.add('parse', {}, { jobId: 'later', delay: 60_000 });
    await submit.add('parse', {}, { jobId: 'was-delayed', delay: 60_000 });
    await flows.add({
      name: 'parse',
      queueName: 'knowhere.submit',
      opts: { jobId: 'parent' },
      children: [{ name: 'child', queueName: 'elsewhere', opts: { jobId: 'child' } }],
    });
    await flows.close();
    const due = Number(await redis.zscore(key('delayed'), 'later'));
    // As BullMQ leaves it that promoted the job.
    await redis.hset(key('was-delayed'), 'delay', 0);
    await redis.del(key('wait'), key('prioritized'), key('delayed'), key('waiting-children'), key('marker'));
    // What is no job, or is a worker's.
    await redis.hset(key('taken-without-a-job'), { processedOn: 1, ats: 1 });
    await redis.hset(key('plain:processed'), 'bull:elsewhere:1', '{}');
    await redis.hset(key('held'), { name: 'parse', data: '{}', opts: '{}', timestamp: 1 });
    await redis.set(key('held:lock'), 'token');
    await redis.hset(key('over'), { name: 'parse', data: '{}', opts: '{}', timestamp: 1, finishedOn: 2 });

    const ids = ['first', 'later', 'parent', 'plain', 'repeat:daily:1', 'was-delayed'];
    expect(await putBackAll(ids.length)).toEqual(ids);
    expect((await redis.lrange(key('wait'), '0', '-1')).sort()).toEqual(['plain', 'repeat:daily:1', 'was-delayed']);
    expect(await redis.zrange(key('prioritized'), '0', '-1')).toEqual(['first']);
    expect(await redis.zrange(key('waiting-children'), '0', '-1')).toEqual(['parent']);
    expect(await redis.zrange(key('delayed'), '0', '-1')).toEqual(['later']);
    expect(Math.abs(Number(await redis.zscore(key('delayed'), 'later')) - due)).toBeLessThan(4_096);
    expect(await redis.zscore(key('marker'), '0')).toBe('0');
  });

  it('is not put back when it got its place between the two looks', async () => {
    // As a program without BullMQ does it: the hash first.
    await redis.hset(key('by-hand'), { name: 'parse', data: '{}', timestamp: Date.now() });
    await submit.add('parse', {}, { jobId: 'lost' });
    await redis.lrem(key('wait'), 0, 'lost');
    await strays.submit.walk();
    expect(await strays.submit.putBack()).toEqual([]);
    await redis.lpush(key('wait'), 'by-hand');
    await until(async () => (await strays.submit.putBack()).includes('lost'));
    expect(await redis.lrange(key('wait'), '0', '-1')).toEqual(['lost', 'by-hand']);
  });

  it('is found among lists of any length', async () => {
    const ids = Array.from({ length: 12_000 }, (_, index) => `job-${index}`);
    const pipeline = redis.pipeline();
    for (const id of [...ids, 'lost']) pipeline.hset(key(id), { name: 'parse', data: '{}', timestamp: 1 });
    await pipeline.exec();
    await redis.lpush(key('wait'), ...ids.slice(0, 6_500));
    await redis.lpush(key('active'), ...ids.slice(6_500));
    expect(await putBackAll(1)).toEqual(['lost']);
    expect(await redis.llen(key('wait'))).toBe(6_501);
  });
});

describe('a paused list of a queue that is not paused', () => {
  it('goes on in front of what came later', async () => {
    const old = Array.from({ length: 2_500 }, (_, index) => `old-${index}`);
    await redis.rpush(key('paused'), '0:0', ...old);
    await redis.rpush(key('wait'), 'new');
    await redis.hset(key('meta'), 'paused', 1);
    await strays.submit.unpause();
    expect(await redis.llen(key('paused'))).toBe(2_501);
    await redis.hdel(key('meta'), 'paused');
    await strays.submit.unpause();
    expect(await redis.lrange(key('wait'), '0', '-1')).toEqual(['new', ...old]);
    expect(await redis.exists(key('paused'))).toBe(0);
  });
});

describe('a look for strays', () => {
  it('is made by one worker of all, and rests', async () => {
    expect(await strays.submit.takeWalk(false)).toBe(true);
    expect(await strays.submit.takeWalk(true)).toBe(false);
    await strays.submit.endWalk(10);
    expect(await strays.submit.takeWalk(false)).toBe(false);
    expect(await strays.submit.takeWalk(true)).toBe(false);
    // A tenth of its rest is over.
    await redis.pexpire(key('jobferry.walked'), 26_000);
    expect(await strays.submit.takeWalk(false)).toBe(false);
    expect(await strays.submit.takeWalk(true)).toBe(true);
  });

  it('has a reason when the queue was paused or resumed since', async () => {
    await submit.add('parse', {}, { jobId: 'a' });
    expect(await strays.submit.sawPause()).toBe(false);
    await submit.pause();
    await submit.add('parse', {}, { jobId: 'b' });
    await submit.resume();
    await submit.add('parse', {}, { jobId: 'c' });
    expect(await strays.submit.sawPause()).toBe(true);
    expect(await strays.submit.sawPause()).toBe(false);
  });
});

describe('a submit job that waits for its poll job', () => {
  async function beginFlow(): Promise<OpenSubmissions> {
    const worker = new Worker('knowhere.submit', null, { connection: redis, prefix });
    await submit.add('parse', {}, { jobId: 'flow' });
    const job = await worker.getNextJob('token');
    await poll.add('parse', {}, { jobId: 'flow', delay: 60_000, parent: { id: 'flow', queue: submit.qualifiedName } });
    expect(await job.moveToWaitingChildren('token')).toBe(true);
    await redis.hset(openKey(prefix, 'knowhere'), 'flow', JSON.stringify({ op: 'parse', at: 1 }));
    await worker.close();
    return new OpenSubmissions(redis, prefix);
  }
  const nothing = { cursor: '0', stranded: [], unplaced: { submit: [], poll: [] }, childless: [] };

  it('is left alone while the poll job goes on; a poll job in no list is put back', async () => {
    const open = await beginFlow();
    expect(await open.findStranded('knowhere', '0')).toEqual(nothing);
    await redis.zrem(pollKey('delayed'), 'flow');
    expect(await open.findStranded('knowhere', '0')).toEqual({ ...nothing, unplaced: { submit: [], poll: ['flow'] } });
    expect(await strays.submit.release('flow', strays.poll, 'flow')).toBe(false);
  });

  it('is put back into line when the poll job is gone', async () => {
    const open = await beginFlow();
    await redis.zrem(pollKey('delayed'), 'flow');
    await redis.del(pollKey('flow'));
    const childless = [{ jobId: 'flow', pollJobId: 'flow' }];
    expect(await open.findStranded('knowhere', '0')).toEqual({ ...nothing, childless });
    expect(await strays.submit.release('flow', strays.poll, 'flow')).toBe(true);
    expect(await redis.lrange(key('wait'), '0', '-1')).toEqual(['flow']);
    expect(await redis.exists(key('waiting-children'), key('flow:dependencies'))).toBe(0);
  });
});
