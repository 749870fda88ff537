import { Queue as Queue6 } from 'bullmq';
import { Queue as Queue3 } from 'bullmq3';
import { Queue as Queue4 } from 'bullmq4';
import { Queue as Queue5 } from 'bullmq5';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { startSandbox, type Sandbox } from '../../sandbox/index.ts';
import { Harness, until } from '../helpers/harness.ts';
import { urlInput } from '../helpers/knowhere.ts';
import { recordingLogger, type LogLine } from '../helpers/redis-fault-rig.ts';
import { redisUrl } from '../helpers/redis.ts';

/**
 * BullMQ 5 and older rename `wait` to `paused` at a pause and back over `wait` at the resume; BullMQ 6 leaves waiting jobs
 * in `wait`. What workers and clients of 6 put there meanwhile is in no list any more.
 */
const versions = {
  3: (queue: string, opts: QueueOptions): Client => new Queue3(queue, opts),
  4: (queue: string, opts: QueueOptions): Client => new Queue4(queue, opts),
  5: (queue: string, opts: QueueOptions): Client => new Queue5(queue, opts),
  6: (queue: string, opts: QueueOptions): Client => new Queue6(queue, opts),
} as const;
type Version = keyof typeof versions;

interface QueueOptions {
  connection: { host: string; port: number; maxRetriesPerRequest: null };
  prefix: string;
}

const all: readonly Version[] = [3, 4, 5, 6];

interface Client {
  pause(): Promise<void>;
  resume(): Promise<void>;
  add(name: string, data: object, opts: { jobId: string; delay?: number; priority?: number }): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const poll = { initialDelayMs: 700, factor: 1, maxDelayMs: 900, deadlineMs: 300_000 };

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox({ vendors: ['knowhere'], speed: 0.001 });
  // One job at a time and slow answers: jobs wait in both queues.
  sandbox.faults.arm({ fault: 'slow-reply', argument: '150', route: 'create', times: 100_000 });
  sandbox.faults.arm({ fault: 'slow-reply', argument: '150', route: 'lookup', times: 100_000 });
});
afterAll(async () => {
  await sandbox.close();
});

class House {
  readonly log: LogLine[] = [];
  readonly ids: string[] = [];
  readonly harness: Harness;
  readonly #clients: Client[] = [];

  private constructor(harness: Harness, log: LogLine[]) {
    this.harness = harness;
    this.log = log;
  }

  static async open(): Promise<House> {
    const log: LogLine[] = [];
    const harness = await Harness.start({
      env: { KNOWHERE_API_KEY: 'sk_test', KNOWHERE_BASE_URL: sandbox.knowhereUrl },
      logger: recordingLogger(log),
      change: (config) => ({ ...config, concurrency: { submit: 1, poll: 1 } }),
    });
    return new House(harness, log);
  }

  client(version: Version, queue: string): Client {
    const { hostname: host, port } = new URL(redisUrl());
    const connection = { host, port: Number(port), maxRetriesPerRequest: null };
    const client = versions[version](queue, { connection, prefix: this.harness.prefix });
    client.on('error', () => undefined);
    this.#clients.push(client);
    return client;
  }

  async push(id: string, client: Client, opts: { delay?: number; priority?: number } = {}): Promise<void> {
    const jobId = `${id}-${this.harness.prefix}`;
    this.ids.push(jobId);
    await client.add('parse', { input: urlInput(`${jobId}.pdf`), poll }, { jobId, ...opts });
  }

  length(queue: string, list: string): Promise<number> {
    return this.harness.redis.llen(`${this.harness.prefix}:${queue}:${list}`);
  }

  putBack(queue: string): number {
    return this.log
      .filter((line) => line.message.includes('put back') && line.fields['queue'] === queue)
      .reduce((sum, line) => sum + Number(line.fields['restored']), 0);
  }

  underWay(): Promise<string[]> {
    return this.harness.redis.hkeys(`${this.harness.prefix}:jobferry:open:knowhere`);
  }

  events(id: string): CompletionEvent[] {
    return this.harness.events.filter((event) => event.subject === id);
  }

  creates(id: string): number {
    return sandbox.ledger.entries({ route: 'create', jobCreated: true, source: `${id}.pdf` }).length;
  }

  /** Every submission is told once, and was sent once. */
  async told(withinMs: number): Promise<void> {
    const missing = (): string[] => this.ids.filter((id) => this.events(id).length === 0);
    await until(
      () => missing().length === 0,
      withinMs,
      () => `untold: ${missing().join(', ')}`,
    );
    for (const id of this.ids) {
      expect(this.events(id).map((event) => event.data.outcome)).toEqual(['succeeded']);
      expect(this.creates(id)).toBe(1);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.harness.stop();
  }
}

const queues = ['knowhere.submit', 'knowhere.poll'];

/** Jobs wait in both queues when they are paused, and further ones come meanwhile. */
async function pauseUnderLoad(pausing: Version): Promise<House> {
  const house = await House.open();
  const submit = house.client(6, 'knowhere.submit');
  for (let index = 0; index < 10; index += 1) await house.push(`polled-${index}`, submit);
  await until(
    async () => (await house.underWay()).length === 10 && (await house.length('knowhere.poll', 'wait')) >= 2,
    60_000,
  );
  for (let index = 0; index < 4; index += 1) await house.push(`waiting-${index}`, submit);
  await Promise.all(queues.map((queue) => house.client(pausing, queue).pause()));
  for (let index = 0; index < 3; index += 1) await house.push(`meanwhile-6-${index}`, submit);
  await house.push('meanwhile-6-first', submit, { priority: 2 });
  for (const version of [3, 4, 5] as const)
    await house.push(`meanwhile-${version}`, house.client(version, 'knowhere.submit'));
  return house;
}

describe('queues that are paused by one BullMQ version and resumed by another', { timeout: 180_000 }, () => {
  it('lose nothing: each submission is told once, within a minute of the resume', async () => {
    const pairs = all.flatMap((pausing) => all.map((resuming) => ({ pausing, resuming })));
    // Side by side, as each mostly waits.
    const houses = await Promise.all(pairs.map(({ pausing }) => pauseUnderLoad(pausing)));
    try {
      await sleep(4_000);
      await Promise.all(
        houses.flatMap((house, index) => queues.map((queue) => house.client(pairs[index]!.resuming, queue).resume())),
      );
      sandbox.setSpeed(1_000);
      const results = await Promise.allSettled(houses.map((house) => house.told(60_000)));
      const failures = results
        .map((result, index) => ({ ...pairs[index], result }))
        .filter(({ result }) => result.status === 'rejected');
      expect(failures).toEqual([]);
      // Without jobs that were lost for a moment this would prove nothing.
      for (const [index, { pausing, resuming }] of pairs.entries()) {
        for (const queue of pausing < 6 && resuming < 6 ? queues : [])
          expect(houses[index]!.putBack(queue), `${queue} ${pausing} ${resuming}`).toBeGreaterThan(0);
      }
      await until(async () => (await Promise.all(houses.map((house) => house.underWay()))).flat().length === 0);
    } finally {
      await Promise.all(houses.map((house) => house.close()));
    }
  });
});

describe('a paused queue that nobody resumes', { timeout: 120_000 }, () => {
  for (const [version, list] of [
    [6, 'wait'],
    [5, 'paused'],
  ] as const) {
    it.concurrent(`stays paused by ${version}: a job in no list goes back to ${list}, and does not run`, async () => {
      const house = await House.open();
      try {
        const client = house.client(version, 'knowhere.submit');
        await client.pause();
        for (const id of ['kept', 'lost', 'kept-too']) await house.push(id, client);
        const { redis, prefix } = house.harness;
        const key = `${prefix}:knowhere.submit:${list}`;
        const lost = `lost-${prefix}`;
        expect(await redis.lrem(key, 0, lost)).toBe(1);
        await until(async () => (await redis.lpos(key, lost)) !== null, 60_000);
        // Time for a worker to take it, were it woken.
        await sleep(4_000);
        expect(await house.length('knowhere.submit', list)).toBe(3);
        for (const id of house.ids) expect(house.creates(id)).toBe(0);
        sandbox.setSpeed(1_000);
        await client.resume();
        await house.told(60_000);
      } finally {
        await house.close();
      }
    });
  }
});
