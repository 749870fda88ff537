import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ensureCli, projectDir, Stage, until } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

const example = (name: string): string[] => ['--import', 'tsx', path.join(projectDir, 'examples', name)];

it('a job pushed with plain BullMQ and one submitted with types come back as events, each handled once', async () => {
  const { env } = await stage.sandbox(50);
  await stage.worker(env);
  const reader = stage.node(example('read-events.ts'));
  await reader.says(/reading events/);

  const push = await stage.node(example('push-from-another-service.mjs')).ended();
  expect([push.code, push.stderr]).toEqual([0, '']);
  expect(push.stdout).toContain('pushed invoice-2291');
  const typed = await stage.node(example('submit-typed.ts')).ended(60_000);
  expect([typed.code, typed.stderr]).toEqual([0, '']);
  expect(typed.stdout).toMatch(/refused: input\.sourceUrl/);
  expect(typed.stdout.trimEnd().split('\n').at(-1)).toBe('succeeded');

  await reader.says(/invoice-2291 succeeded/, 30_000);
  await reader.says(/contract-\w+ succeeded/);
  // The same event a second time, as after a crash between sending and noting: handled once.
  const results = stage.queue('results');
  const told = (await results.getCompleted()).find(
    ({ data }) => (data as { subject: string }).subject === 'invoice-2291',
  );
  await results.add('jobferry.submission.succeeded', told?.data, { jobId: 'again' });
  await until(async () => (await results.getJob('again'))?.isCompleted());
  expect(reader.stdout.match(/invoice-2291 succeeded/g)).toHaveLength(1);
  reader.kill('SIGTERM');
  const { code, stderr } = await reader.ended();
  expect([code, stderr]).toEqual([0, '']);
  await stage.redis.del(...(await stage.redis.keys(`handled:${stage.prefix}:*`)));
});
