import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { StepTimeoutError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { runWatched, type StepWatch } from '../../src/workers/step-watch.ts';

const limitMs = 200;
const step = { vendor: 'odd', of: 'make', step: 'submit', limitMs };
const given = () => ({ signal: new AbortController().signal, logger: silentLogger });
const never = (): Promise<never> => new Promise(() => undefined);

describe('a step that is watched', { concurrent: true }, () => {
  it('is given up after its limit, and its signal aborts', async () => {
    let signal: AbortSignal | undefined;
    const startedAt = performance.now();
    const running = runWatched(step, given(), (_watch, own) => {
      signal = own;
      return never();
    });
    await expect(running).rejects.toThrow('odd make: submit did not end: given up after 200 ms without activity');
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(limitMs - 5);
    expect(signal?.aborted).toBe(true);
  });

  it('has all the time that its requests take', async () => {
    const value = await runWatched(step, given(), async (watch) => {
      for (let request = 0; request < 3; request += 1) await watch.during(() => sleep(limitMs * 1.5));
      return 'done';
    });
    expect(value).toBe('done');
  });

  it('has no more of it where the module is asked in the middle of a request', async () => {
    const running = runWatched(step, given(), (watch) => watch.during(() => watch.except(never)));
    await expect(running).rejects.toBeInstanceOf(StepTimeoutError);
  });

  it('that asks without an end is given up, and cannot keep the process busy', async () => {
    let requests = 0;
    const running = runWatched(step, given(), async (watch) => {
      for (;;) {
        await watch
          .during(async () => {
            requests += 1;
          })
          .catch(() => undefined);
      }
    });
    await expect(running).rejects.toThrow('given up after 20000 requests');
    await sleep(50);
    expect(requests).toBe(20_000);
  });

  it('shares its signal with any number of others, without a warning', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): number => warnings.push(warning);
    process.on('warning', onWarning);
    const shared = given();
    await Promise.all(Array.from({ length: 20 }, () => runWatched(step, shared, () => sleep(20))));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it('sends nothing once it was given up', async () => {
    let watch: StepWatch | undefined;
    const running = runWatched(step, given(), (own) => {
      watch = own;
      return never();
    });
    await expect(running).rejects.toBeInstanceOf(StepTimeoutError);
    let isSent = false;
    const late = watch?.during(async () => {
      isSent = true;
    });
    await expect(late).rejects.toThrow('it sends nothing more');
    expect(isSent).toBe(false);
  });

  it('aborts with the turn that it belongs to', async () => {
    const turn = new AbortController();
    const running = runWatched(step, { signal: turn.signal, logger: silentLogger }, async (_watch, signal) => {
      turn.abort();
      return signal.aborted;
    });
    expect(await running).toBe(true);
  });
});
