import { describe, expect, it } from 'vitest';
import { StrayWalk } from '../../src/queues/stray-walk.ts';
import { until } from '../helpers/harness.ts';
import { OwnRedis } from '../helpers/own-redis.ts';
import { RedisFaultRig } from '../helpers/redis-fault-rig.ts';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('scripts that Redis stops half-way', { timeout: 150_000 }, () => {
  it('leave jobs in no list, which go on within a minute, told once each', async () => {
    const redis = await OwnRedis.start();
    const rig = await RedisFaultRig.start({ redisUrl: redis.url });
    try {
      await rig.startWorkers();
      const ids = Array.from({ length: 60 }, (_, index) => `job-${index + 100}`);
      const poll = { initialDelayMs: 300, factor: 1.2, maxDelayMs: 900 };
      // The vendor works on them for a while, so that most are polled when the right is taken.
      rig.sandbox.setSpeed(0.001);
      for (const id of ids.slice(0, 40)) await rig.parse(id, {}, { poll });
      await until(async () => (await rig.connection.hlen('bull:jobferry:open:knowhere')) === 40, 30_000);

      await redis.admin.acl('SETUSER', 'default', '-zadd');
      rig.sandbox.setSpeed(200);
      const refused: string[] = [];
      for (const [index, id] of ids.slice(40).entries()) {
        const opts = index % 2 === 0 ? { delay: 100 } : {};
        await rig.parse(id, {}, { poll, opts }).catch(() => refused.push(id));
      }
      await sleep(6_000);
      await redis.admin.acl('SETUSER', 'default', '+zadd');
      const returnedAt = Date.now();
      expect(refused.length).toBeGreaterThan(0);
      // As a caller does that was told of an error. What the first add left behind makes it a repeat.
      for (const id of refused) await rig.parse(id, {}, { poll });

      const events = await rig.settled(ids, 60_000);
      expect(Date.now() - returnedAt).toBeLessThan(60_000);
      expect(events.map((event) => [event.subject, event.data.outcome]).sort()).toEqual(
        ids.map((id) => [id, 'succeeded']),
      );
      for (const id of ids) expect([id, rig.made(id)]).toEqual([id, [expect.any(String)]]);
      // Some are put back while the right is still missing, which breaks that script too: it may not be in the log.
      const refusal = /NOPERM|can't run this command/;
      expect(rig.log.some((line) => refusal.test(String(line.fields['error'])))).toBe(true);
      // Nothing is left in no list, of settled submissions neither.
      const walk = new StrayWalk(rig.connection, 'bull');
      for (const queue of ['knowhere.submit', 'knowhere.poll']) await walk.tend(queue);
      await until(async () => {
        let restored = 0;
        await walk.run({ onRestored: ({ jobIds }) => (restored += jobIds.length) });
        return restored === 0;
      }, 60_000);
    } finally {
      await rig.stop();
      await redis.stop();
    }
  });
});
