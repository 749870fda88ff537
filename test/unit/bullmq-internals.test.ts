import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Job, RedisQueueBackend } from 'bullmq';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { backendOnClock } from '../../src/queues/bullmq-internals/clock.ts';
import { SteadyLockManager } from '../../src/queues/bullmq-internals/locks.ts';
import { timePositions } from '../../src/queues/bullmq-internals/scripts.ts';

const installed = createRequire(import.meta.url).resolve('bullmq');
const { unpack } = createRequire(installed)('msgpackr') as { unpack: (packed: Buffer) => unknown[] };
const engineTime = 1_900_000_000_000;
const ownTime = 1_800_000_000_000;
const clock = { now: () => engineTime, random: () => 0 };

/** What a call of the installed BullMQ sends to Redis. */
async function sent(call: (backend: RedisQueueBackend) => unknown): Promise<{ command: string; args: unknown[] }[]> {
  const commands: { command: string; args: unknown[] }[] = [];
  const client = {
    status: 'ready',
    runCommand: async (command: string, args: unknown[]) => {
      commands.push({ command: command.split(':', 1)[0] ?? '', args });
      return 0;
    },
  };
  const connection = new Proxy(
    { status: 'ready', options: {}, on: () => connection, once: () => connection, isCluster: false },
    { get: (target, key) => (key in target ? Reflect.get(target, key) : () => undefined) },
  ) as never;
  const options = { connection, prefix: 'p', skipVersionCheck: true, skipWaitingForReady: true };
  const backend = backendOnClock(clock)('q', options);
  // Only the client is a stand-in: every argument list is built by BullMQ.
  Object.defineProperty(Reflect.get(backend, 'queue'), 'client', { get: async () => client });
  vi.spyOn(Date, 'now').mockReturnValue(ownTime);
  await call(backend);
  return commands;
}

const job = { id: '1', opts: {}, attemptsMade: 0 } as Job;
const calls: Record<string, (backend: RedisQueueBackend) => unknown> = {
  moveToActive: (backend) => backend.moveToActive('token', 'name'),
  moveToFinished: (backend) => backend.moveToCompleted(job as never, 'value', true, 'token', false),
  moveToDelayed: (backend) => backend.moveToDelayed('1', ownTime, 500, 'token', { skipAttempt: true }),
  moveStalledJobsToWait: (backend) => backend.moveStalledJobsToWait(),
  retryJob: (backend) => backend.retryJob('1', false, 'token'),
  moveToWaitingChildren: (backend) => backend.moveToWaitingChildren('1', 'token', {}),
  changeDelay: (backend) => backend.changeDelay('1', 500),
};

afterEach(() => vi.restoreAllMocks());

describe('BullMQ as it is installed', () => {
  it.each(Object.keys(timePositions))(
    'takes the time of %s from the engine, where it is thought to be',
    async (name) => {
      const [first] = await sent(calls[name] ?? (() => undefined));
      expect(first?.command).toBe(name);
      expect(first?.args[timePositions[name] ?? -1]).toBe(engineTime);
      expect(first?.args.map(String)).not.toContain(String(ownTime));
    },
  );

  it('reads a time there in its scripts', () => {
    const folder = path.join(path.dirname(installed), 'commands');
    for (const [name, position] of Object.entries(timePositions)) {
      const file = readdirSync(folder).find((one) => one.startsWith(`${name}-`) && one.endsWith('.lua')) ?? '';
      const keys = Number(/-(\d+)\.lua$/.exec(file)?.[1]);
      const text = readFileSync(path.join(folder, file), 'utf8');
      const argument = `ARGV\\[${position - keys + 1}\\]`;
      expect(text, name).toMatch(
        new RegExp(`${argument}\\s+(?:delayed\\s+)?timestamp|timestamp\\s*=\\s*(?:tonumber\\()?${argument}`),
      );
    }
  });

  it('stamps added jobs with the time of the engine', async () => {
    const data = { id: '', name: 'n', data: '{}', opts: { delay: 10 }, timestamp: ownTime } as never;
    const commands = await sent((backend) => backend.addJob(data, 'id-1'));
    expect(commands[0]?.command).toBe('addDelayedJob');
    const packed = commands[0]?.args.find((one) => Buffer.isBuffer(one)) as Buffer;
    expect(unpack(packed)[3]).toBe(engineTime);
  });

  it('has no other script that a worker sends its own time to', () => {
    const source = readFileSync(path.join(path.dirname(installed), 'classes', 'redis-queue-backend.js'), 'utf8');
    // The seven above, of which moveToFinished has two; and two of job schedulers and one of flows, which nothing here uses.
    expect(source.match(/Date\.now\(\)/g)).toHaveLength(10);
  });

  it('gives workers the time of the next delayed job by their own clock', async () => {
    let next: unknown;
    await sent(async (backend) => {
      vi.spyOn(backend, 'execCommand').mockResolvedValue([0, 0, 0, engineTime + 700]);
      next = await backend.moveToActive('token');
    });
    expect((next as unknown[])[3]).toBe(ownTime + 700);
  });
});

describe('locks', () => {
  it('are renewed by elapsed time, whatever the clock says, and not before they need it', async () => {
    vi.useFakeTimers();
    vi.setSystemTime(ownTime);
    const renewed: number[] = [];
    const worker = {
      name: 'w',
      trace: async (_kind: unknown, _operation: unknown, _name: unknown, task: () => Promise<unknown>) => task(),
      emit: () => true,
      extendJobLocks: async (ids: string[]) => {
        renewed.push(ids.length);
        return [];
      },
    };
    const locks = new SteadyLockManager(worker as never, { lockRenewTime: 2_500, lockDuration: 5_000, workerId: 'w' });
    locks.start();
    locks.trackJob('1', 'token', engineTime);
    await vi.advanceTimersByTimeAsync(1_000);
    locks.trackJob('2', 'token', engineTime);
    await vi.advanceTimersByTimeAsync(300);
    expect(renewed).toEqual([1]);
    vi.setSystemTime(ownTime - 3_600_000);
    await vi.advanceTimersByTimeAsync(2_600);
    expect(renewed).toEqual([1, 2, 2]);
    await locks.close();
    vi.useRealTimers();
  });
});
