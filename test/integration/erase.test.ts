import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eraseSubmission } from '../../src/queues/erase-submission.ts';
import { until } from '../helpers/harness.ts';
import { quickPoll, startKnowhere, urlInput, type KnowhereRig } from '../helpers/knowhere.ts';

describe('erasing a submission', () => {
  let rig: KnowhereRig;
  beforeAll(async () => {
    rig = await startKnowhere();
  });
  afterAll(() => rig.stop());

  const erase = (id: string, force = false): ReturnType<typeof eraseSubmission> =>
    eraseSubmission(rig.harness.redis, rig.harness.prefix, 'knowhere', id, { force });
  const push = (id: string, rest: object = {}): Promise<unknown> => {
    const data = { input: urlInput(`${id}.pdf`), poll: quickPoll, metadata: { iban: `planted-${id}` }, ...rest };
    return rig.harness.push('knowhere', 'parse', data, { jobId: id });
  };
  /** Every key that holds a text, of whatever type. */
  async function keysWith(text: string): Promise<string[]> {
    const { redis, prefix } = rig.harness;
    const found: string[] = [];
    for (const key of await redis.keys(`${prefix}:*`)) {
      if (key.includes(text)) found.push(key);
      else if ((await redis.type(key)) === 'hash' && JSON.stringify(await redis.hgetall(key)).includes(text))
        found.push(key);
    }
    return found;
  }

  it('leaves nothing of it in Redis', async () => {
    await push('e-1');
    const event = await rig.harness.event('e-1');
    await until(async () => (await rig.harness.queue('results').getJob(event.id))?.isCompleted());
    await until(async () => (await rig.harness.queue('knowhere.poll').getJob('e-1'))?.isCompleted());
    expect((await keysWith('planted-e-1')).length).toBeGreaterThan(1);
    expect(await erase('e-1')).toEqual({
      kind: 'erased',
      removed: ['results', 'knowhere.poll'],
      accounts: ['default'],
    });
    expect(await keysWith('planted-e-1')).toEqual([]);
    expect(await erase('e-1')).toEqual({ kind: 'unknown' });
  });

  it('refuses one that is under way', async () => {
    const slow = { ...quickPoll, initialDelayMs: 60_000, maxDelayMs: 60_000, deadlineMs: 90_000 };
    await push('e-2', { poll: slow });
    await until(async () => (await rig.harness.queue('knowhere.poll').getJob('e-2'))?.isDelayed());
    expect(await erase('e-2', true)).toEqual({ kind: 'under-way' });
    expect((await keysWith('planted-e-2')).length).toBeGreaterThan(0);
  });

  it('keeps an event that no consumer has taken, unless it is forced', async () => {
    await push('e-3', { replyTo: 'results-nowhere' });
    await until(async () => (await rig.harness.queue('knowhere.poll').getJob('e-3'))?.isCompleted());
    expect(await erase('e-3')).toEqual({ kind: 'event-unread', queue: 'results-nowhere' });
    expect((await keysWith('planted-e-3')).length).toBe(2);
    expect(await erase('e-3', true)).toMatchObject({ kind: 'erased' });
    expect(await keysWith('planted-e-3')).toEqual([]);
  });
});
