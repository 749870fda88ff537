import { FlowProducer, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKey } from '../../src/queues/keys.ts';
import { OpenSubmissions } from '../../src/queues/open-submissions.ts';
import { StrayJobs } from '../../src/queues/stray-jobs.ts';
import { StrayWalk } from '../../src/queues/stray-walk.ts';
import { until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

let redis: Redis;
let prefix: string;
let submit: Queue;
let poll: Queue;
let strays: { submit: StrayJobs; poll: StrayJobs };
let walk: StrayWalk;

beforeEach(() => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  prefix = freshPrefix();
  submit = new Queue('knowhere.submit', { connection: redis, prefix });
  poll = new Queue('knowhere.poll', { connection: redis, prefix });
  walk = new StrayWalk(redis, prefix);
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

/** Walks once, for the queues that are looked after. */
async function walkOnce(by = walk): Promise<Record<string, string[]>> {
  const restored: Record<string, string[]> = {};
  await by.run({
    onRestored: ({ queue, jobIds }) => (restored[queue] = [...(restored[queue] ?? []), ...jobIds].sort()),
  });
  return restored;
}

async function putBackAll(): Promise<string[]> {
  await walk.tend('knowhere.submit');
  return (await walkOnce())['knowhere.submit'] ?? [];
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
    expect(await putBackAll()).toEqual(ids);
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
    await strays.submit.suspect(await strays.submit.findUnplaced(['by-hand', 'lost']));
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
    expect(await putBackAll()).toEqual(['lost']);
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

describe('a walk over all keys', () => {
  it('is made by one worker of all, and rests', async () => {
    const other = new StrayWalk(redis, prefix);
    const turn = `${prefix}:jobferry:walk`;
    expect(await walk.take('none')).toBe(true);
    expect(await other.take('sure')).toBe(false);
    await walkOnce();
    expect(await other.take('none')).toBe(false);
    expect(await other.take('sure')).toBe(false);
    await redis.pexpire(turn, 26_000);
    expect(await other.take('none')).toBe(false);
    expect(await other.take('perhaps')).toBe(false);
    await redis.pexpire(turn, 17_000);
    expect(await other.take('perhaps')).toBe(true);
    await walkOnce(other);
    await redis.pexpire(turn, 26_000);
    expect(await walk.take('sure')).toBe(true);
  });

  it('keeps its turn for as long as it takes, and one whose worker died delays the next by seconds', async () => {
    const other = new StrayWalk(redis, prefix);
    await walk.tend('knowhere.submit');
    await submit.add('parse', {}, { jobId: 'lost' });
    await redis.del(key('wait'));
    expect(await walk.take('sure')).toBe(true);
    const turn = `${prefix}:jobferry:walk`;
    await redis.pexpire(turn, 3_000);
    // The second look at what was found comes two seconds after the first, and the turn would be over soon after.
    const running = walkOnce();
    await until(async () => (await redis.pttl(turn)) > 4_000);
    expect(await other.take('sure')).toBe(false);
    expect(await running).toEqual({ 'knowhere.submit': ['lost'] });
    await redis.del(turn);
    expect(await walk.take('sure')).toBe(true);
    expect(await other.take('sure')).toBe(false);
    await until(() => other.take('sure'), 12_000);
    // The first comes back, and takes nothing from the second.
    await walkOnce();
    expect(await redis.get(turn)).toMatch(/^under way/);
  }, 40_000);

  it('is for the queues of all workers, and no others', async () => {
    for (const name of ['knowhere.submit', 'fini.poll', 'ours', 'theirs']) {
      const queue = new Queue(name, { connection: redis, prefix });
      await queue.add('parse', {}, { jobId: 'lost' });
      await redis.del(`${prefix}:${name}:wait`);
      await queue.close();
    }
    await new StrayWalk(redis, prefix).tend('fini.poll');
    for (const name of ['knowhere.submit', 'ours']) await new StrayWalk(redis, prefix).tend(name);
    expect(await walkOnce()).toEqual({ 'knowhere.submit': ['lost'], 'fini.poll': ['lost'], ours: ['lost'] });
    expect(await redis.exists(`${prefix}:theirs:wait`)).toBe(0);
  });

  it('finds all, though it holds some at a time', async () => {
    const listed = Array.from({ length: 3_000 }, (_, index) => `job-${index}`);
    const lost = Array.from({ length: 120 }, (_, index) => `lost-${index}`).sort();
    const pipeline = redis.pipeline();
    for (const id of [...listed, ...lost]) pipeline.hset(key(id), { name: 'parse', data: '{}', timestamp: 1 });
    await pipeline.exec();
    await redis.lpush(key('wait'), ...listed);
    await walk.tend('knowhere.submit');
    let [atATime, calls] = [0, 0];
    const restored: string[] = [];
    await new StrayWalk(redis, prefix, { candidates: 500, suspects: 1 }).run({
      onRestored: ({ jobIds }) => {
        calls += 1;
        atATime = Math.max(atATime, jobIds.length);
        restored.push(...jobIds);
      },
    });
    expect(restored.sort()).toEqual(lost);
    expect(calls).toBeGreaterThan(1);
    expect(atATime).toBeLessThan(lost.length);
    expect(await redis.llen(key('wait'))).toBe(3_120);
  }, 60_000);
});

describe('a pause', () => {
  it('is a reason for a walk until one is through', async () => {
    await walk.tend('knowhere.submit');
    await submit.add('parse', {}, { jobId: 'a' });
    expect(await strays.submit.doubtOfPause()).toBe('perhaps');
    await walkOnce();
    expect(await strays.submit.doubtOfPause()).toBe('none');
    await submit.pause();
    await submit.add('parse', {}, { jobId: 'b' });
    await submit.resume();
    await submit.add('parse', {}, { jobId: 'c' });
    expect(await strays.submit.doubtOfPause()).toBe('sure');
    await walk.run({ isStopped: () => true });
    expect(await strays.submit.doubtOfPause()).toBe('sure');
    await walkOnce();
    expect(await strays.submit.doubtOfPause()).toBe('none');
  });

  it('may have been among events that are gone', async () => {
    await walk.tend('knowhere.submit');
    await submit.add('parse', {}, { jobId: 'a' });
    await walkOnce();
    await submit.pause();
    await submit.resume();
    for (const jobId of ['b', 'c']) await submit.add('parse', {}, { jobId });
    await redis.xtrim(key('events'), 'MAXLEN', 1);
    expect(await strays.submit.doubtOfPause()).toBe('perhaps');
    await redis.xtrim(key('events'), 'MAXLEN', 0);
    expect(await strays.submit.doubtOfPause()).toBe('perhaps');
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
