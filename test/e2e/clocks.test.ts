import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { closedPort } from '../helpers/knowhere.ts';
import { skewedClock } from '../helpers/skewed-clock.ts';
import { ensureCli, Stage, until } from './support.ts';

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const url = (name: string): object => ({ sourceType: 'url', sourceUrl: `https://example.com/${name}` });

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/** Pushes submissions with a short deadline, and returns how they ended. */
async function outcomes(count: number, timestamp?: number, deadlineMs = 20_000): Promise<string[]> {
  const poll = { initialDelayMs: 300, factor: 1.2, maxDelayMs: 600, deadlineMs, submitWithinMs: deadlineMs };
  const ids = Array.from({ length: count }, (_, index) => `clock-${index}`);
  await stage.queue('knowhere.submit').addBulk(
    ids.map((jobId) => ({
      name: 'parse',
      data: { input: url(`${jobId}.pdf`), poll },
      opts: { jobId, ...(timestamp === undefined ? {} : { timestamp }) },
    })),
  );
  const events = await Promise.all(ids.map((id) => stage.event(id, 40_000)));
  return [...new Set(events.map((event) => event.data.outcome))];
}

describe('workers whose clocks are wrong', () => {
  it('do their work in time while they are 45 s off, one ahead and one behind, with deadlines of 20 s', async () => {
    const { env } = await stage.sandbox(200);
    await stage.consume();
    const ahead = await stage.worker({ ...env, ...skewedClock(45 * second) });
    await stage.worker({ ...env, ...skewedClock(-45 * second) });
    expect(await outcomes(60)).toEqual(['succeeded']);
    await ahead.says(/this machine's clock is 45 s ahead of Redis'; check its time synchronization/);
  }, 90_000);

  it('poll on time when the only worker is 50 s behind', async () => {
    const { env } = await stage.sandbox(200);
    await stage.consume();
    await stage.worker({ ...env, ...skewedClock(-50 * second) });
    const startedAt = performance.now();
    expect(await outcomes(10)).toEqual(['succeeded']);
    expect(performance.now() - startedAt).toBeLessThan(8 * second);
  }, 90_000);

  it.each([11 * minute, -11 * minute])(
    'take no work while they are %i ms off, and say so; the others do it all',
    async (offsetMs) => {
      const { env } = await stage.sandbox(200);
      await stage.consume();
      const port = await closedPort();
      const wrong = await stage.worker({ ...env, ...skewedClock(offsetMs), JOBFERRY_HEALTH_PORT: String(port) }, [
        '--stages',
        'poll',
      ]);
      await stage.worker(env);
      expect(await outcomes(60)).toEqual(['succeeded']);
      const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
      expect(ready.status).toBe(503);
      const told = (await ready.json()) as { reasons: string[]; clockOffsetMs: number };
      expect(told.reasons.join()).toMatch(/clock is 11 min (ahead of|behind) Redis': no work is taken/);
      expect(Math.abs(told.clockOffsetMs - offsetMs)).toBeLessThan(second);
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      expect(metrics).toMatch(new RegExp(`jobferry_clock_offset_seconds ${offsetMs < 0 ? '-' : ''}(659|660)`));
      expect(metrics).toContain('jobferry_worker_running{queue="knowhere.poll"} 0');
      expect(metrics).not.toMatch(/jobferry_lookup_requests_total\{.*\} [1-9]/);
      expect(wrong.stdout.match(/no work is taken/g)).toHaveLength(1);
    },
    90_000,
  );
});

describe('producers whose clocks are wrong', () => {
  it.each([-hour, -30 * 24 * hour, hour])(
    'have their submissions sent, %i ms off, with a deadline of 20 s',
    async (offsetMs) => {
      const { env } = await stage.sandbox(200);
      await stage.worker(env);
      await stage.consume();
      expect(await outcomes(40, Date.now() + offsetMs)).toEqual(['succeeded']);
    },
    90_000,
  );

  it('do not keep a submission from expiring that really waited too long', async () => {
    const { env } = await stage.sandbox(200);
    await stage.consume();
    const poll = { initialDelayMs: 100, submitWithinMs: 2_000 };
    await stage.queue('knowhere.submit').add('parse', { input: url('late.pdf'), poll }, { jobId: 'late-1' });
    const addedAt = performance.now();
    await until(() => performance.now() - addedAt > 3_000, 5_000);
    await stage.worker(env);
    expect((await stage.event('late-1')).data.outcome).toBe('expired');
  }, 60_000);
});
