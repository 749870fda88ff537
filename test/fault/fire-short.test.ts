import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('../../chaos/run.ts', import.meta.url));

interface Result {
  ok: boolean;
  violations: { invariant: number; submission: string; what: string }[];
  settledAfterMs: number | null;
  counts: {
    settled: number;
    outcomes: Record<string, number>;
    byLoad: Record<string, number>;
    parents: Record<string, number>;
  };
  deaths: number;
  struck: Record<string, number>;
  recovery: { redisReachable: { jobs: number }; redisTroubled: { jobs: number }; abandoned: number };
}

/**
 * The fire test in its short form: docs/fire-test.md. A process of its own, since it kills and freezes its children.
 * Beside other tests on two cores the controller itself can stand still for longer than a lock lives, which is no fault
 * that it ordered; so a failure counts when it shows twice. `npm run chaos` gives no second chance.
 */
describe('under fire', { retry: 1 }, () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'jobferry-fire-results-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function fire(args: readonly string[]): Promise<{ code: number; output: string; result: Result }> {
    const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
      const given = ['--import', 'tsx', script, '--quick', '--name', 'short', '--out', folder, ...args];
      execFile(process.execPath, given, { timeout: 140_000 }, (error, stdout, stderr) => {
        resolve({
          code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1,
          output: stdout + stderr,
        });
      });
    });
    const text = await readFile(path.join(folder, 'short.json'), 'utf8').catch(() => {
      throw new Error(`the run wrote no result:\n${output}`);
    });
    return { code, output, result: JSON.parse(text) as Result };
  }

  it('nothing is lost and nothing is done twice', async () => {
    const { code, output, result } = await fire(['--seed', '1']);
    expect(result.violations, output).toEqual([]);
    expect(result.counts.settled).toBeGreaterThanOrEqual(300);
    expect(result.deaths).toBeGreaterThanOrEqual(5);
    expect(result.struck['redis-kill']).toBe(1);
    // Older clients, somebody with a script, and a clock.
    expect(result.struck).toMatchObject({ pause: 2, touch: 1, remove: 1 });
    expect(result.struck['clock']).toBeGreaterThan(0);
    expect(result.counts.parents['completed']).toBeGreaterThan(5);
    const { redisReachable, redisTroubled } = result.recovery;
    expect(redisReachable.jobs + redisTroubled.jobs).toBeGreaterThan(0);
    // All three vendors, and the deadlines that were near.
    expect(Object.keys(result.counts.byLoad)).toEqual(
      expect.arrayContaining(['url', 'file', 'held', 'ingest', 'role', 'url, submit hangs', 'generate, look throws']),
    );
    expect(result.counts.outcomes['expired']).toBeGreaterThan(0);
    expect(result.recovery.abandoned).toBe(0);
    expect(code, output).toBe(0);
  }, 150_000);

  it('with the intent switched off, work done twice is seen', async () => {
    const faults = 'die-at=10,kill=2';
    const { code, output, result } = await fire([
      ...['--seed', '7', '--control', 'no-intent', '--faults', faults],
      ...['--submissions', '150', '--seconds', '10'],
    ]);
    expect(result.violations.filter((one) => one.invariant === 2).length, output).toBeGreaterThan(0);
    expect(code, output).toBe(0);
  }, 150_000);
});
