import { setTimeout as sleep } from 'node:timers/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { projectDir } from '../../scripts/transpile.ts';
import { startEmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { openKey } from '../../src/queues/keys.ts';
import { OpenSubmissions } from '../../src/queues/open-submissions.ts';
import { StrayJobs } from '../../src/queues/stray-jobs.ts';
import { StrayWalk } from '../../src/queues/stray-walk.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round } from '../lib/stats.ts';
import { barChart } from '../lib/svg.ts';

const prefix = 'bull';
const vendor = 'knowhere';
const base = `${prefix}:${vendor}.poll:`;

interface Cost {
  what: string;
  wallMs: number;
  redisCpuMs: number;
  longestCommandMs: number;
}

/** What it costs Redis to look after all submissions under way: in good order, all waiting, and all in no list. */
export const upkeep: Benchmark = {
  name: 'upkeep',
  async run({ quick, say }: RunOptions): Promise<Report> {
    const settings = { underWay: quick ? 2_000 : 100_000, payloadBytes: 600, sweepMs: 10_000, perSweep: 50_000 };
    const dir = mkdtempSync(path.join(tmpdir(), 'jobferry-bench-upkeep-'));
    const server = await startEmbeddedRedis({
      dir,
      cacheDir: path.join(projectDir, '.jobferry', 'redis'),
      appendOnly: false,
    });
    const redis = new Redis(server.url, { maxRetriesPerRequest: null });
    try {
      await redis.config('SET', 'slowlog-log-slower-than', '500', 'slowlog-max-len', '20000');
      const ids = Array.from({ length: settings.underWay }, (_, index) => `invoice-${index}`);
      await fill(redis, ids, settings.payloadBytes);
      const strays = new StrayJobs(redis, prefix, `${vendor}.poll`);
      const costs: Cost[] = [];
      const measure = async (what: string, doing: () => Promise<unknown>): Promise<void> => {
        const cost = await costOf(redis, what, doing);
        say(JSON.stringify(cost));
        costs.push(cost);
      };

      await measure('pass, all delayed', () => pass(redis, strays));
      const allKeys = new StrayWalk(redis, prefix);
      await allKeys.tend(`${vendor}.poll`);
      await measure('walk over all keys', () => allKeys.run());
      await redis.del(`${base}delayed`);
      for (let at = 0; at < ids.length; at += 5_000) await redis.lpush(`${base}wait`, ...ids.slice(at, at + 5_000));
      await measure('pass, all waiting', () => pass(redis, strays));
      await redis.del(`${base}wait`);
      await measure('pass, all in no list', () => pass(redis, strays));
      await sleep(2_500);
      let restored = 0;
      await measure('all put back', async () => (restored = (await strays.putBack()).length));
      const share = (cost: Cost): number =>
        round((100 * cost.redisCpuMs * Math.min(1, settings.perSweep / settings.underWay)) / settings.sweepMs, 1);
      const [usual, walk, waiting, lost, back] = costs as [Cost, Cost, Cost, Cost, Cost];
      const longest = Math.max(...costs.map((cost) => cost.longestCommandMs));
      return {
        headline: [
          `a pass over ${settings.underWay} submissions under way: ${usual.redisCpuMs} ms of Redis' CPU, ${usual.wallMs} ms in all; ${share(usual)} % of its time as it is made in sweeps`,
          `with all of them waiting in line: ${waiting.redisCpuMs} ms (${share(waiting)} %); a walk over all keys: ${walk.redisCpuMs} ms in ${walk.wallMs} ms`,
          `all of them in no list: found in ${lost.wallMs} ms and put back in ${back.wallMs} ms; the longest command reads a line of ${settings.underWay} and takes ${longest} ms`,
        ],
        ok: restored === ids.length && (await redis.llen(`${base}wait`)) === ids.length,
        redis: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown',
        settings,
        numbers: { costs },
        svg: barChart({
          title: 'Looking after submissions under way',
          subtitle: `Redis’ CPU time, ms, for ${settings.underWay} submissions`,
          groups: [
            {
              bars: costs.map(({ what, redisCpuMs }) => ({
                label: what,
                value: redisCpuMs,
                text: `${redisCpuMs} ms`,
                color: 'a',
              })),
            },
          ],
        }),
      };
    } finally {
      redis.disconnect();
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function pass(redis: Redis, strays: StrayJobs): Promise<void> {
  const open = new OpenSubmissions(redis, prefix);
  const unplaced: string[] = [];
  let cursor = '0';
  do {
    const part = await open.findStranded(vendor, cursor);
    unplaced.push(...part.unplaced.poll);
    cursor = part.cursor;
  } while (cursor !== '0');
  await strays.suspect(unplaced);
}

async function costOf(redis: Redis, what: string, doing: () => Promise<unknown>): Promise<Cost> {
  const cpu = async (): Promise<number> => {
    const info = await redis.info('cpu');
    const read = (name: string): number => Number(new RegExp(`${name}:([0-9.]+)`).exec(info)?.[1]) * 1_000;
    return read('used_cpu_user_main_thread') + read('used_cpu_sys_main_thread');
  };
  await redis.slowlog('RESET');
  const [cpuBefore, startedAt] = [await cpu(), performance.now()];
  await doing();
  const wallMs = round(performance.now() - startedAt, 0);
  const redisCpuMs = round((await cpu()) - cpuBefore, 0);
  const slow = (await redis.slowlog('GET', 20_000)) as [number, number, number][];
  return { what, wallMs, redisCpuMs, longestCommandMs: round(Math.max(0.5, ...slow.map((one) => one[2] / 1_000)), 1) };
}

/** Poll jobs as the engine leaves them, and the notes on their submissions. */
async function fill(redis: Redis, ids: readonly string[], payloadBytes: number): Promise<void> {
  const data = JSON.stringify({ input: { sourceUrl: 'x'.repeat(payloadBytes) } });
  const now = Date.now();
  for (let at = 0; at < ids.length; at += 1_000) {
    const pipeline = redis.pipeline();
    for (const [index, id] of ids.slice(at, at + 1_000).entries()) {
      const job = { name: 'parse', data, opts: '{"attempts":0}', timestamp: now, delay: 0, priority: 0, ats: 3 };
      const note = { op: 'parse', at: now, sent: now, jobs: [`job_${index.toString(16).padStart(12, '0')}`] };
      pipeline.hset(`${base}${id}`, { ...job, processedOn: now, progress: 'y'.repeat(280) });
      pipeline.rpush(`${base}${id}:logs`, 'poll 1 at +2 s: running');
      pipeline.zadd(`${base}delayed`, (now + 3_600_000) * 4_096 + at + index, id);
      pipeline.hset(openKey(prefix, vendor), id, JSON.stringify(note));
    }
    await pipeline.exec();
  }
}
