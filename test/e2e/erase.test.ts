import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ensureCli, Stage, until } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

it('erase removes what is kept of a settled submission, its files and its event, and nothing of others', async () => {
  const sandbox = await stage.sandbox(50);
  const { env } = sandbox;
  await stage.worker(env);
  const push = (id: string, name: string): Promise<unknown> => {
    const input = { sourceType: 'url', sourceUrl: `https://example.com/${name}`, download: true };
    const data = { input, poll: { initialDelayMs: 100, maxDelayMs: 300 }, metadata: { secret: 'of-erased' } };
    return stage.queue('knowhere.submit').add('parse', data, { jobId: id });
  };
  const erase = (id: string, ...flags: string[]): ReturnType<Stage['run']> =>
    stage.run(['erase', 'knowhere', id, ...flags], { env });
  const folderOf = (id: string): string => path.join(stage.folder, 'artifacts', 'knowhere', 'default', id);

  await push('slow', 'x.pdf?sandbox=stall');
  await push('unread', 'x.pdf');
  await push('other', 'x.pdf');
  const hasEvents = async (): Promise<boolean> => (await stage.queue('results').getWaitingCount()) === 2;
  await until(hasEvents, 20_000, () => 'two events that nobody takes');
  expect(existsSync(folderOf('unread'))).toBe(true);

  expect(await erase('unread', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('--force') });
  expect(await erase('slow', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('is not over yet') });
  expect(await erase('unread')).toMatchObject({ code: 64, stderr: expect.stringContaining('give --yes') });
  const { code, stdout, stderr } = await erase('unread', '--yes', '--force');
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^unread: removed from .*artifacts\/knowhere\/default\/unread/);

  expect(existsSync(folderOf('unread'))).toBe(false);
  expect(existsSync(folderOf('other'))).toBe(true);
  const keys = await stage.redis.keys(`${stage.prefix}:*`);
  expect(keys.filter((key) => key.includes('unread'))).toEqual([]);
  expect((await stage.run(['status', 'knowhere', 'unread'], { env })).code).toBe(1);
  expect((await stage.run(['status', 'knowhere', 'other'], { env })).code).toBe(0);
  expect(await erase('unread', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('knows no') });
}, 60_000);
