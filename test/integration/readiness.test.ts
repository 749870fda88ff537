import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startWorkers, ConfigError, type RunningWorkers } from '../../src/index.ts';
import { startBoard } from '../../src/board/index.ts';
import { OwnRedis } from '../helpers/own-redis.ts';
import { until } from '../helpers/harness.ts';

let redis: OwnRedis;
let workers: RunningWorkers | undefined;
beforeAll(async () => {
  redis = await OwnRedis.start();
}, 120_000);
afterEach(async () => {
  await redis.admin.config('SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction');
  await workers?.close();
  workers = undefined;
});
afterAll(() => redis.stop());

async function start(url = redis.url): Promise<RunningWorkers> {
  workers = await startWorkers({ redisUrl: url, env: { KNOWHERE_API_KEY: 'sk_test' } });
  expect((await workers.ready()).details.reasons).toEqual([]);
  return workers;
}

async function reason(running: RunningWorkers, pattern: RegExp): Promise<void> {
  await until(
    async () => {
      const { ready, details } = await running.ready();
      return !ready && pattern.test(details.reasons.join('\n'));
    },
    8_000,
    async () => JSON.stringify(await running.ready()),
  );
}

const isReady = (running: RunningWorkers) => until(async () => (await running.ready()).ready, 8_000);

describe('readiness of workers', () => {
  it('says that Redis is full, and is ready when there is room again', async () => {
    const running = await start();
    await redis.admin.config('SET', 'maxmemory', '1mb');
    await reason(running, /^Redis refuses writes: OOM /);
    await redis.admin.config('SET', 'maxmemory', '0');
    await isReady(running);
  });

  it('says that Redis takes no writes because it is a replica', async () => {
    const running = await start();
    await redis.admin.replicaof('127.0.0.1', 1);
    await reason(running, /^Redis (refuses writes: READONLY|did not take a write in time)/);
    await redis.admin.replicaof('NO', 'ONE');
    await isReady(running);
  });

  it('says that its user may not write, or may run no scripts', async () => {
    for (const taken of ['-@write', '-@scripting']) {
      await redis.admin.call('ACL', 'SETUSER', 'jf', 'reset', 'on', '>pw', '~*', '&*', '+@all');
      const running = await start(redis.url.replace('redis://', 'redis://jf:pw@'));
      await redis.admin.call('ACL', 'SETUSER', 'jf', taken);
      await reason(running, /^Redis refuses writes: .*(NOPERM|user executing the script can't run)/);
      await redis.admin.call('ACL', 'SETUSER', 'jf', '+@all');
      await isReady(running);
      await running.close();
      workers = undefined;
    }
  });

  it('says that keys may be evicted since the policy was changed, and so does the board', async () => {
    const running = await start();
    const board = await startBoard({ connection: redis.admin, prefix: 'bull', vendors: ['knowhere'], port: 0 });
    try {
      expect((await fetch(`${board.url}readyz`)).status).toBe(200);
      await redis.admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
      await reason(running, /maxmemory-policy is allkeys-lru/);
      await until(async () => (await fetch(`${board.url}readyz`)).status === 503, 8_000);
      const told = (await (await fetch(`${board.url}readyz`)).json()) as { status: string; reason: string };
      expect(told.status).toBe('redis is of no use');
      expect(told.reason).toContain('set maxmemory-policy noeviction');
      await redis.admin.config('SET', 'maxmemory-policy', 'noeviction');
      await isReady(running);
    } finally {
      await board.close();
    }
  });
});

describe('a Redis that may evict keys', () => {
  it('is refused at start, by name of the policy and with the mend', async () => {
    await redis.admin.config('SET', 'maxmemory-policy', 'volatile-ttl');
    const refused = startWorkers({ redisUrl: redis.url, env: { KNOWHERE_API_KEY: 'sk_test' } });
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(
      /REDIS_URL.*maxmemory-policy is volatile-ttl.*set maxmemory-policy noeviction/,
    );
  });
});
