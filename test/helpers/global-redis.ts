import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { startEmbeddedRedis } from '../../src/embedded-redis/index.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    redisUrl: string;
  }
}

/** One Redis for the whole run: tests are kept apart by their key prefix, see `freshPrefix`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['JOBFERRY_TEST_REDIS_URL'];
  if (given !== undefined && given !== '') {
    project.provide('redisUrl', given);
    return async () => {};
  }
  const dir = await mkdtemp(join(tmpdir(), 'jobferry-test-redis-'));
  const redis = await startEmbeddedRedis({
    dir,
    cacheDir: fileURLToPath(new URL('../../.jobferry/redis', import.meta.url)),
    appendOnly: false,
    log: (line) => console.log(line),
  });
  project.provide('redisUrl', redis.url);
  return async () => {
    await redis.stop();
    await rm(dir, { recursive: true, force: true });
  };
}
