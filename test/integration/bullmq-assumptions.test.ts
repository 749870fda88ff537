import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, QueueKeys, Worker, type Job, type RedisQueueBackend } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  delayedScorePerMs,
  dueAtOf,
  jobFields,
  jobSuffixes,
  pausedSetting,
  prioritizedScorePerPriority,
  queueKeys,
  reservedIds,
  streamEvents,
  wakeWorker,
} from '../../src/queues/bullmq-internals/layout.ts';
import { isLockLost } from '../../src/queues/bullmq-internals/locks.ts';
import { delayHeldJob, readFetch } from '../../src/queues/bullmq-internals/scripts.ts';
import { until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

/**
 * What src/queues/bullmq-internals assumes, asked of the installed BullMQ and a real Redis, one assumption a case. Each
 * message says what of ours breaks where it no longer holds. Times and locks by elapsed time: test/unit/bullmq-internals.test.ts.
 */

const name = 'q';
const token = 'token-1';
let redis: Redis;
let prefix: string;
let queue: Queue;
let worker: Worker;

beforeAll(() => {
  redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
});
afterAll(async () => {
  await redis.quit();
});
beforeEach(() => {
  prefix = freshPrefix();
  queue = new Queue(name, { connection: redis, prefix });
  // Without a processor it takes a job when it is asked to, and renews no lock.
  worker = new Worker(name, undefined, { connection: redis, prefix, autorun: false, lockDuration: 10_000 });
});
afterEach(async () => {
  await worker.close();
  await queue.close();
});

const at = (key: keyof typeof queueKeys): string => `${prefix}:${name}:${queueKeys[key]}`;
const jobKey = (id: string): string => `${prefix}:${name}:${id}`;
const typeOf = (key: keyof typeof queueKeys): Promise<string> => redis.type(at(key));
const backendOf = (of: Worker): RedisQueueBackend => of.getBackend();

async function take(): Promise<Job> {
  const job = (await worker.getNextJob(token)) as Job | undefined;
  if (job === undefined) throw new Error('the queue gave no job');
  return job;
}

async function failure(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('the installed BullMQ', () => {
  it('is of the minor version that the assumptions were checked against', () => {
    const file = path.join(path.dirname(createRequire(import.meta.url).resolve('bullmq')), '..', '..', 'package.json');
    const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      dependencies: Record<string, string>;
    };
    expect(
      dependencies['bullmq'],
      'package.json lets users install a minor of BullMQ that no test here has seen: pin it as ~major.minor.patch',
    ).toBe(`~${version.replace(/\.\d+$/, '')}.0`);
  });

  it('keeps the keys of a queue that we know, and no others', () => {
    expect(
      new Set(Object.keys(new QueueKeys(prefix).getKeys(name))),
      'a job id equal to a key that we do not know damages the queue; one that we know and is gone is refused for nothing',
    ).toEqual(reservedIds);
    expect(queue.toKey('x'), 'our scripts build keys as <prefix>:<queue>:<name>').toBe(`${prefix}:${name}:x`);
  });
});

describe('a job', () => {
  it('waits in a list, taken from its tail, and stays there while the queue is paused', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await queue.add('n', {}, { jobId: 'b' });
    expect(await redis.lrange(at('wait'), 0, -1), 'jobs that we put back would overtake others').toEqual(['b', 'a']);
    await queue.pause();
    expect(
      [await redis.llen(at('wait')), await redis.exists(at('paused'))],
      'stray jobs are put into the wrong list of a paused queue',
    ).toEqual([2, 0]);
    expect(
      await redis.hexists(at('meta'), pausedSetting),
      'upkeep takes a paused queue for a running one, and wakes its workers',
    ).toBe(1);
    await queue.resume();
    expect(await redis.hexists(at('meta'), pausedSetting), 'upkeep takes a running queue for a paused one').toBe(0);
  });

  it('that is held is in the list of active jobs, with a lock that is the token and runs out', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await take();
    expect(await redis.lrange(at('active'), 0, -1), 'held jobs would be put into line a second time').toEqual(['a']);
    expect(
      await redis.get(jobKey('a') + jobSuffixes.lock),
      'no save of a record passes its fence: submissions stand still, or two workers write one record',
    ).toBe(token);
    const ttl = await redis.pttl(jobKey('a') + jobSuffixes.lock);
    expect(ttl > 0 && ttl <= 10_000, 'jobs of a dead worker come back too late, or never').toBe(true);
  });

  it('that is delayed is scored by its due time in ms, with room for a sequence', async () => {
    const before = Date.now();
    await queue.add('n', {}, { jobId: 'a', delay: 60_000 });
    await queue.addBulk(['b', 'c', 'd'].map((jobId) => ({ name: 'n', data: {}, opts: { jobId, delay: 60_000 } })));
    const due = dueAtOf(await redis.zscore(at('delayed'), 'a')) ?? 0;
    expect(
      due >= before + 60_000 && due <= Date.now() + 60_000,
      'wrong due times in status and on the board; repair after a clock step moves jobs to wrong times',
    ).toBe(true);
    const scores = (await Promise.all(['b', 'c', 'd'].map((id) => redis.zscore(at('delayed'), id)))).map(Number);
    const dueTimes = scores.map((score) => Math.floor(score / delayedScorePerMs));
    expect(
      (dueTimes[2] ?? 0) - (dueTimes[0] ?? 0) <= 1_000 && new Set(scores).size === 3,
      'jobs of one ms share a score, or are spread: portions of a repair would leave some out',
    ).toBe(true);
  });

  it('that is prioritized is scored by priority and counter', async () => {
    await queue.add('n', {}, { jobId: 'a', priority: 3 });
    const [score, counter] = [
      Number(await redis.zscore(at('prioritized'), 'a')),
      Number(await redis.get(at('priorityCounter'))),
    ];
    expect(score, 'prioritized jobs that we put back get a wrong place').toBe(
      3 * prioritizedScorePerPriority + (counter % prioritizedScorePerPriority),
    );
  });

  it('that ended is in a sorted set, and says so in its hash', async () => {
    await queue.add('n', {}, { jobId: 'good' });
    const good = await take();
    expect(await redis.hexists(jobKey('good'), jobFields.finishedOn), 'a job at work counts as over').toBe(0);
    await good.moveToCompleted('value', token, false);
    await queue.add('n', {}, { jobId: 'bad' });
    await (await take()).moveToFailed(new Error('for a test'), token, false);
    expect(
      [await redis.zscore(at('completed'), 'good'), await redis.zscore(at('failed'), 'bad')],
      'jobs that are over are put into line again',
    ).not.toContain(null);
    for (const id of ['good', 'bad'])
      expect(
        await redis.hexists(jobKey(id), jobFields.finishedOn),
        'a submission that is over takes a cancel, cannot be erased, and its lost job is not noticed',
      ).toBe(1);
    expect(
      await redis.hmget(jobKey('bad'), jobFields.failedReason, jobFields.stacktrace),
      'the board shows no reason of a failure',
    ).not.toContain(null);
    expect(await redis.hget(jobKey('good'), jobFields.returnvalue), 'the board shows no value').toBe('"value"');
  });

  it('has the fields that we read, under these names', async () => {
    await queue.add('n', { x: 1 }, { jobId: 'a', delay: 1, priority: 2, deduplication: { id: 'once' } });
    await (await queue.getJob('a'))?.promote();
    const job = await take();
    await job.updateProgress({ y: 2 });
    const hash = await redis.hgetall(jobKey('a'));
    expect(
      [hash[jobFields.name], hash[jobFields.data], hash[jobFields.progress]],
      'submissions are read as malformed and refused',
    ).toEqual(['n', '{"x":1}', '{"y":2}']);
    expect(Number(hash[jobFields.timestamp]), 'deadlines count from a wrong time').toBe(job.timestamp);
    expect(hash[jobFields.delay], 'a job that is put back would be delayed once more').toBe('0');
    expect(hash[jobFields.priority], 'a job that is put back loses its priority').toBe('2');
    expect(Number(hash[jobFields.processedOn]), 'a job that is put back is due at a wrong time').toBeGreaterThan(0);
    expect(hash[jobFields.deduplicationId], 'a deduplication ends at the hand-over, and a second job is let in').toBe(
      'once',
    );
    expect(
      hash[jobFields.attemptsStarted],
      'after a delay, a note on a submission is written although another worker has it by now',
    ).toBe('1');
    const known: ReadonlySet<string> = new Set(Object.values(jobFields));
    expect(
      Object.keys(hash).filter((field) => !known.has(field)),
      'the board leaves out what BullMQ stores in addition; a job stored over `meta` would leave it there',
    ).toEqual([]);
  });

  it('is read by BullMQ itself from fields of these names', async () => {
    const counts = { [jobFields.attemptsStarted]: '3', [jobFields.attemptsMade]: '2', [jobFields.stalledCounter]: '1' };
    const texts = {
      [jobFields.processedBy]: 'w',
      [jobFields.repeatJobKey]: 'r',
      [jobFields.deduplicationId]: 'd',
      [jobFields.deferredFailure]: 'f',
      [jobFields.parentKey]: 'bull:q:p',
      [jobFields.parent]: '{"id":"p"}',
    };
    const required = { name: 'n', data: '{}', opts: '{}', timestamp: '1' };
    await redis.hset(jobKey('a'), { ...required, ...counts, ...texts });
    await redis.hset(jobKey('b'), { ...required, [jobFields.oldAttemptsMade]: '4' });
    const job = await queue.getJob('a');
    const old = await queue.getJob('b');
    const which = 'the board shows a wrong picture of a job';
    expect([job?.attemptsStarted, job?.attemptsMade, job?.stalledCounter, old?.attemptsMade], which).toEqual([
      3, 2, 1, 4,
    ]);
    expect(
      [job?.processedBy, job?.repeatJobKey, job?.deduplicationId, job?.deferredFailure, job?.parentKey, job?.parent],
      which,
    ).toEqual(['w', 'r', 'd', 'f', 'bull:q:p', { id: 'p' }]);
  });

  it('says in its options which id its caller chose, and nothing where it chose none', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    const numbered = await queue.add('n', {});
    const idIn = async (id: string): Promise<unknown> =>
      (JSON.parse((await redis.hget(jobKey(id), jobFields.opts)) ?? '') as { jobId?: unknown }).jobId;
    expect(await idIn('a'), 'submissions are told under another id than their caller gave').toBe('a');
    expect(numbered.id, 'submissions without an id get ids of another form').toMatch(/^\d+$/);
    expect(await idIn(numbered.id ?? ''), 'a number from BullMQ counts as chosen').toBeUndefined();
  });

  it('is not added again while its hash exists, and a parent is linked to it all the same', async () => {
    await queue.add('n', { x: 1 }, { jobId: 'child' });
    await queue.add('n', {}, { jobId: 'parent' });
    await queue.add('n', { x: 2 }, { jobId: 'child', parent: { id: 'parent', queue: queue.qualifiedName } });
    expect(await redis.llen(at('wait')), 'one submission runs twice').toBe(2);
    expect(await redis.hget(jobKey('child'), jobFields.data), 'a second push changes what the first asked for').toBe(
      '{"x":1}',
    );
    expect(
      await redis.smembers(jobKey('parent') + jobSuffixes.dependencies),
      'a flow that waits for a submission never goes on',
    ).toEqual([jobKey('child')]);
    expect(
      await redis.hget(jobKey('child'), jobFields.parentKey),
      'a flow that waits for a submission never goes on',
    ).toBe(jobKey('parent'));
  });

  it('that waits for children gets their values under their keys', async () => {
    await queue.add('n', {}, { jobId: 'parent' });
    const parent = await take();
    await queue.add('n', {}, { jobId: 'child', parent: { id: 'parent', queue: queue.qualifiedName } });
    expect(await parent.moveToWaitingChildren(token), 'a held submit job ends before its submission').toBe(true);
    expect(
      await redis.zscore(at('waitingChildren'), 'parent'),
      'a job that waits for children is put into line as if it were lost',
    ).not.toBeNull();
    await (await take()).moveToCompleted('value', token, false);
    expect(await redis.lrange(at('wait'), 0, -1), 'a held submit job never ends').toEqual(['parent']);
    expect(await parent.getChildrenValues(), 'a held submit job ends without the event’s data').toEqual({
      [jobKey('child')]: 'value',
    });
  });

  it('keeps its log in a list beside it, oldest line first', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await (await queue.getJob('a'))?.log('BullMQ’s');
    await redis.rpush(jobKey('a') + jobSuffixes.logs, 'ours');
    expect((await queue.getJobLogs('a')).logs, 'the log of a submission is shown on no board').toEqual([
      'BullMQ’s',
      'ours',
    ]);
    await (await queue.getJob('a'))?.remove();
    expect(await redis.exists(jobKey('a') + jobSuffixes.logs), 'logs of removed jobs stay in Redis for ever').toBe(0);
  });
});

describe('giving a held job back', () => {
  it('spends no attempt, writes fields and frees the lock, in one script', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await take();
    await delayHeldJob(backendOf(worker), 'a', token, {
      now: Date.now(),
      delayMs: 60_000,
      fields: { 'jobferry.record': 'r' },
    });
    const hash = await redis.hgetall(jobKey('a'));
    expect(hash['jobferry.record'], 'what a poll learned is lost').toBe('r');
    expect(hash[jobFields.attemptsMade] ?? '0', 'submissions that poll long run out of attempts').toBe('0');
    expect(hash[jobFields.delay], 'the board shows no wait').toBe('60000');
    expect(await redis.exists(jobKey('a') + jobSuffixes.lock), 'jobs that wait cannot be removed').toBe(0);
    expect(await redis.llen(at('active')), 'jobs that wait are taken for stalled').toBe(0);
    expect(await redis.zscore(at('delayed'), 'a'), 'no poll comes').not.toBeNull();
    await (await queue.getJob('a'))?.promote();
    await take();
    const again = await redis.hget(jobKey('a'), jobFields.attemptsStarted);
    expect(again, 'turns of one job cannot be told apart').toBe('2');
  });

  it('changes nothing for a worker that lost the job, and says so in an error that we know', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    const job = await take();
    const backend = backendOf(worker);
    const delay = { now: Date.now(), delayMs: 60_000, fields: { 'jobferry.record': 'stale' } };
    const lost: Record<string, unknown> = {
      'another worker holds it': await failure(delayHeldJob(backend, 'a', 'token-2', delay)),
      'another worker holds it, at the end': await failure(job.moveToCompleted('v', 'token-2', false)),
    };
    await redis.del(jobKey('a') + jobSuffixes.lock);
    lost['its lock ran out'] = await failure(delayHeldJob(backend, 'a', token, delay));
    expect(await redis.hexists(jobKey('a'), 'jobferry.record'), 'a worker that was frozen overwrites newer state').toBe(
      0,
    );
    expect(await redis.lrange(at('active'), 0, -1), 'a worker that was frozen delays what another one has').toEqual([
      'a',
    ]);
    await redis.set(jobKey('a') + jobSuffixes.lock, token);
    await redis.lrem(at('active'), 0, 'a');
    lost['it is not active'] = await failure(job.moveToCompleted('v', token, false));
    await redis.del(jobKey('a'));
    lost['it was removed'] = await failure(delayHeldJob(backend, 'a', token, delay));
    for (const [what, error] of Object.entries(lost))
      expect(isLockLost(error), `${what}: counts as a fault of ours (${String(error)})`).toBe(true);
  });

  it('keeps others from removing a job while it is held', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await take();
    const error = await failure((await queue.getJob('a'))?.remove() ?? Promise.resolve());
    expect(error, 'a submission can be removed while its vendor is called').toBeInstanceOf(Error);
  });
});

describe('a worker', () => {
  it('is handed the whole hash of a job, in the reply of two scripts', async () => {
    await queue.add('n', { x: 1 }, { jobId: 'a' });
    await queue.add('n', { x: 2 }, { jobId: 'b' });
    const backend = backendOf(worker);
    const execute = backend.execCommand.bind(backend);
    const fetched: string[] = [];
    backend.execCommand = async (client, script, args) => {
      const reply: unknown = await execute(client, script, args);
      const found = readFetch(script, reply);
      if (found !== undefined) fetched.push(`${script} ${found.jobId} ${found.hash[jobFields.data]}`);
      return reply;
    };
    await (await take()).moveToCompleted('v', token, true);
    expect(fetched, 'no worker finds the record of the job it was given: every submission looks new').toEqual([
      'moveToActive a {"x":1}',
      'moveToFinished b {"x":2}',
    ]);
  });

  it('that waits is woken by a marker', async () => {
    const ran: string[] = [];
    const waiting = new Worker(name, async (job) => void ran.push(job.id ?? ''), {
      connection: redis.duplicate(),
      prefix,
      drainDelay: 300,
    });
    try {
      await waiting.waitUntilReady();
      await sleep(300);
      // As a job that stands in line after a failover: no marker tells of it.
      await redis.hset(jobKey('a'), { name: 'n', data: '{}', opts: '{}', timestamp: Date.now() });
      await redis.lpush(at('wait'), 'a');
      await redis.eval(wakeWorker('KEYS[1]'), 1, at('marker'));
      await until(() => ran.length === 1, 5_000).catch(() => undefined);
      expect(ran, 'a queue that fell asleep is woken by nothing').toEqual(['a']);
    } finally {
      await waiting.close();
    }
  });

  it('passes the signal to a processor of three parameters, and heeds what it writes into a job’s options', async () => {
    const signals: unknown[] = [];
    const running = new Worker(
      name,
      async (job, _token, signal) => {
        signals.push(signal);
        job.opts.removeOnComplete = true;
      },
      { connection: redis.duplicate(), prefix },
    );
    try {
      await queue.add('n', {}, { jobId: 'a' });
      await until(() => signals.length === 1, 5_000);
      expect(signals[0], 'turns whose lock is lost go on').toBeInstanceOf(AbortSignal);
      const isGone = await until(async () => (await redis.exists(jobKey('a'))) === 0, 5_000).catch(() => false);
      expect(isGone, 'submit jobs stay in Redis after the hand-over').toBe(true);
    } finally {
      await running.close();
    }
  });

  it('marks the check for stalled jobs with a key that runs out, and gives back what has no lock', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await take();
    await redis.del(jobKey('a') + jobSuffixes.lock);
    const checking = new Worker(name, async () => undefined, {
      connection: redis.duplicate(),
      prefix,
      autorun: false,
      stalledInterval: 5_000,
      maxStalledCount: 1_000,
    });
    try {
      await backendOf(checking).moveStalledJobsToWait();
      expect(
        await redis.pttl(at('stalledCheck')),
        'after a clock step no worker looks for stalled jobs',
      ).toBeGreaterThan(0);
      await redis.del(at('stalledCheck'));
      // The first check notes what is active, the second gives back what nobody renewed.
      await backendOf(checking).moveStalledJobsToWait();
      expect(await redis.llen(at('wait')), 'jobs of a killed worker stay where they are').toBe(1);
      expect(await redis.hget(jobKey('a'), jobFields.stalledCounter), 'the board shows no stalls').toBe('1');
    } finally {
      await checking.close();
    }
  });
});

describe('a queue', () => {
  it('tells of additions, waits, pauses and resumes in a stream, stamped with the time of Redis', async () => {
    const [seconds] = await redis.time();
    await queue.add('n', {}, { jobId: 'a' });
    await queue.pause();
    await queue.resume();
    const entries = (await redis.xrange(at('events'), '-', '+')).map(([id, fields]) => ({ id, fields }));
    expect(
      Number.parseInt(entries[0]?.id ?? '', 10),
      'jobs of producers with a wrong clock expire at wrong times',
    ).toBeGreaterThanOrEqual(Number(seconds) * 1_000);
    const told = entries.map(({ fields }) => {
      const named = Object.fromEntries(
        Array.from({ length: fields.length / 2 }, (_, index) => [fields[2 * index], fields[2 * index + 1]]),
      ) as Record<string, string>;
      return [named[streamEvents.eventField], named[streamEvents.jobIdField]];
    });
    expect(told, 'jobs of producers with a wrong clock expire at wrong times').toContainEqual([
      streamEvents.added,
      'a',
    ]);
    expect(told, 'the time when a job was added is not known where its addition is trimmed').toContainEqual([
      streamEvents.waiting,
      'a',
    ]);
    const which = 'jobs that a pause by an older client has left in no list are found late';
    expect(told, which).toContainEqual([streamEvents.paused, undefined]);
    expect(told, which).toContainEqual([streamEvents.resumed, undefined]);
    for (const { fields } of entries.slice(-2))
      expect(fields[0], 'our scripts read the event from the first field').toBe(streamEvents.eventField);
  });

  it('has keys of these types', async () => {
    await queue.add('n', {}, { jobId: 'a' });
    await queue.add('n', {}, { jobId: 'b', delay: 60_000 });
    await queue.add('n', {}, { jobId: 'c', priority: 1 });
    const types = {
      wait: 'list',
      delayed: 'zset',
      prioritized: 'zset',
      marker: 'zset',
      meta: 'hash',
      events: 'stream',
    } as const;
    for (const [key, type] of Object.entries(types))
      expect(await typeOf(key as keyof typeof types), `${key}: a job stored over this key is not noticed`).toBe(type);
    await take();
    expect(await typeOf('active'), 'active: a job stored over this key is not noticed').toBe('list');
  });

  it('loses its settings with its keys, and writes them again when it is asked to', async () => {
    await queue.waitUntilReady();
    await redis.del(at('meta'));
    await queue.getBackend().setQueueMeta({ ...queue.metaValues, jobferry: 1 });
    const written = await redis.hgetall(at('meta'));
    expect(written['jobferry'], 'upkeep writes the settings of a queue at every look').toBe('1');
    expect(Object.keys(written), 'a queue that was emptied keeps a stream of BullMQ’s default length').toContain(
      'opts.maxLenEvents',
    );
  });

  it('loses a job that is added in bulk under an id like that of an old marker', async () => {
    await queue.addBulk([{ name: 'n', data: {}, opts: { jobId: '0:a:b' } }]);
    const taken = await worker.getNextJob(token, { block: false });
    expect(taken, '`whyJobIdIsUnsafe` refuses such ids for nothing').toBeUndefined();
  });
});
