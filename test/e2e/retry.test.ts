import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureCli, Stage, until } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(async () => {
  stage = new Stage();
  await stage.consume();
});
afterEach(() => stage.close());

const poll = { initialDelayMs: 200, maxDelayMs: 500 };

async function push(id: string, name: string): Promise<void> {
  const input = { sourceType: 'url', sourceUrl: `https://example.com/${name}` };
  await stage.queue('knowhere.submit').add('parse', { input, poll }, { jobId: id });
}

/** What `jobferry retry` said, without the newline. */
async function retry(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await stage.run(['retry', 'knowhere', ...args]);
  return { code, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
}

describe('the command retry', () => {
  it('runs what failed once more, refuses what succeeded, and gives way to --force', async () => {
    const { env } = await stage.sandbox(50);
    const worker = await stage.worker(env);
    await push('bad', 'x.pdf?sandbox=fail--INTERNAL_ERROR');
    await push('good', 'x.pdf');
    expect((await stage.event('bad')).data.outcome).toBe('failed');
    expect((await stage.event('good')).data.outcome).toBe('succeeded');

    const first = await Promise.all([retry('bad'), retry('bad')]);
    await stage.event('bad#2');
    // Both asked at the same moment: each is given the one run, as started, at work or over.
    for (const { stdout, stderr } of first) expect(`${stdout}${stderr}`).toMatch(/bad#2/);
    expect(first.map(({ code }) => code)).toContain(0);
    expect(await retry('bad')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'jobferry: bad was retried as bad#2; retry that one, or give --force',
    });
    expect(await retry('bad', '--force')).toEqual({ code: 0, stdout: 'bad#3', stderr: '' });
    await stage.event('bad#3');

    expect(await retry('good')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'jobferry: good succeeded; --force starts it anew, and the vendor may charge for it again',
    });
    expect(await retry('nothing')).toMatchObject({
      code: 1,
      stderr: 'jobferry: knowhere knows no submission "nothing"',
    });

    worker.kill('SIGTERM');
    expect((await worker.ended()).code).toBe(0);
    expect(await retry('good', '--force')).toEqual({ code: 0, stdout: 'good#2', stderr: '' });
    for (const args of [['good'], ['good', '--force'], ['good#2']]) {
      expect(await retry(...args)).toEqual({
        code: 1,
        stdout: '',
        stderr: 'jobferry: good#2 is not over yet; `jobferry cancel knowhere good#2` ends it',
      });
    }
    await stage.worker(env);
    expect((await stage.event('good#2')).data).toMatchObject({ outcome: 'succeeded', retryOf: 'good' });
    const submit = stage.queue('knowhere.submit');
    await until(async () => (await submit.getJobCountByTypes('wait', 'active')) === 0);
    const told = stage.events.map(({ subject }) => subject).sort();
    expect(told).toEqual(['bad', 'bad#2', 'bad#3', 'good', 'good#2']);
  }, 90_000);
});
