import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { KnowhereRig } from './knowhere.ts';
import { redisUrl } from './redis.ts';

const script = fileURLToPath(new URL('crash-worker.ts', import.meta.url));

/** Starts a worker process for a rig that dies by SIGKILL when it comes to `crashAt`; `never` lets it live. */
export function startDoomed(
  { harness, sandbox }: KnowhereRig,
  crashAt: string,
  nodeOptions: readonly string[] = [],
): ChildProcess {
  return fork(script, {
    execArgv: [...nodeOptions, '--import', 'tsx'],
    env: {
      ...process.env,
      REDIS_URL: redisUrl(),
      JOBFERRY_PREFIX: harness.prefix,
      JOBFERRY_FILES_DIR: harness.folder,
      JOBFERRY_ARTIFACTS_DIR: harness.artifactsDir,
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      KNOWHERE_API_KEY: 'sk_test',
      KNOWHERE_BASE_URL: sandbox.knowhereUrl,
      CRASH_AT: crashAt,
    },
  });
}
