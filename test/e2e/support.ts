import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import { until } from '../helpers/harness.ts';
import { freshPrefix, redisUrl } from '../helpers/redis.ts';

export const projectDir = fileURLToPath(new URL('../..', import.meta.url));
export const cliFile = path.join(projectDir, 'dist', 'cli', 'main.js');

/**
 * The command as it is published: built, run by plain node. `npm test` has built it already; run by hand, the first
 * test file builds and the others wait.
 */
export async function ensureCli(): Promise<void> {
  const lock = path.join(projectDir, '.jobferry', 'test-build.lock');
  mkdirSync(path.dirname(lock), { recursive: true });
  await until(
    () => takeLock(lock),
    120_000,
    () => `the build lock ${lock}`,
  );
  try {
    const build = start(process.execPath, [path.join(projectDir, 'scripts', 'build.mjs')], {}, projectDir);
    const { code } = await build.ended(120_000);
    if (code !== 0 || !existsSync(cliFile)) throw new Error(`the build failed: ${build.stderr}`);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function takeLock(lock: string): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    const takenAt = statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (takenAt > 0 && Date.now() - takenAt > 120_000) rmSync(lock, { recursive: true, force: true });
    return false;
  }
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  ms: number;
}

/** A process of this test, with what it has printed so far. */
export class Started {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly #end: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #startedAt = performance.now();

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#end = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.#end.catch(() => undefined);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits for a text on stdout and returns what it matched. */
  async says(pattern: RegExp, timeoutMs = 20_000): Promise<RegExpExecArray> {
    return until(
      () => {
        const match = pattern.exec(this.stdout);
        if (match === null && this.child.exitCode !== null)
          throw new Error(`ended before saying ${String(pattern)}: ${this.#said()}`);
        return match ?? undefined;
      },
      timeoutMs,
      () => `${String(pattern)} on stdout; it said ${this.#said()}`,
    );
  }

  async ended(timeoutMs = 20_000): Promise<Ended> {
    const timeout = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: timeout.signal }).then(() => {
      throw new Error(`still runs after ${timeoutMs} ms; it said ${this.#said()}`);
    });
    late.catch(() => undefined);
    const end = await Promise.race([this.#end, late]).finally(() => timeout.abort());
    return { ...end, stdout: this.stdout, stderr: this.stderr, ms: performance.now() - this.#startedAt };
  }

  /** Whatever state it is in. */
  async destroy(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.#end.catch(() => undefined);
  }

  #said(): string {
    return JSON.stringify({ stdout: this.stdout.slice(-2_000), stderr: this.stderr.slice(-2_000) });
  }
}

function start(command: string, args: readonly string[], env: Record<string, string>, cwd: string): Started {
  // Only what was given: settings of the person who runs the tests must not decide them.
  const inherited = Object.fromEntries(['PATH', 'HOME', 'TMPDIR', 'LANG'].map((name) => [name, process.env[name]]));
  return new Started(spawn(command, args, { cwd, env: { ...inherited, ...env }, stdio: ['pipe', 'pipe', 'pipe'] }));
}

/** Processes and Redis keys of one test; `close` ends and removes all of them. */
export class Stage {
  readonly prefix = freshPrefix();
  readonly redis = new Redis(redisUrl(), { maxRetriesPerRequest: null });
  /** Every delivery, in order. */
  readonly events: CompletionEvent[] = [];
  /** For artifacts and whatever else a test writes. */
  readonly folder = mkdtempSync(path.join(tmpdir(), 'jobferry-e2e-'));
  readonly #started: Started[] = [];
  readonly #closers: (() => Promise<unknown>)[] = [];

  /** What every process of this test is given. */
  get env(): Record<string, string> {
    return { REDIS_URL: redisUrl(), JOBFERRY_PREFIX: this.prefix, LOG_LEVEL: 'info' };
  }

  /** Starts `jobferry <args>`. */
  cli(args: readonly string[], env: Record<string, string> = this.env, cwd = projectDir): Started {
    return this.node([cliFile, ...args], env, cwd);
  }

  node(args: readonly string[], env: Record<string, string> = this.env, cwd = projectDir): Started {
    const started = start(process.execPath, args, env, cwd);
    this.#started.push(started);
    return started;
  }

  /** Starts lines of a shell. */
  shell(script: string, env: Record<string, string>, cwd: string): Started {
    const started = start('sh', ['-c', script], env, cwd);
    this.#started.push(started);
    return started;
  }

  /** Runs `jobferry <args>` to its end. */
  async run(args: readonly string[], options: { env?: Record<string, string>; input?: string } = {}): Promise<Ended> {
    const started = this.cli(args, options.env);
    started.child.stdin?.end(options.input ?? '');
    return started.ended();
  }

  /** Starts the sandbox as a process and returns what workers need to use it. */
  async sandbox(speed: number): Promise<{ env: Record<string, string>; control: string; process: Started }> {
    const sandbox = this.cli(['sandbox', '--port', '0', '--speed', String(speed)], {});
    const [, baseUrl = ''] = await sandbox.says(/KNOWHERE_BASE_URL +(\S+)/);
    const [, control = ''] = await sandbox.says(/control +(\S+)/);
    const env = {
      ...this.env,
      KNOWHERE_API_KEY: 'sk_test',
      KNOWHERE_BASE_URL: baseUrl,
      JOBFERRY_ALLOW_PRIVATE_URLS: 'true',
      JOBFERRY_FILES_DIR: path.join(projectDir, 'examples', 'documents'),
      JOBFERRY_ARTIFACTS_DIR: path.join(this.folder, 'artifacts'),
    };
    return { env, control, process: sandbox };
  }

  /** Starts `jobferry worker` and waits until it takes jobs. */
  async worker(env: Record<string, string>, args: readonly string[] = []): Promise<Started> {
    const worker = this.cli(['worker', ...args], env);
    await worker.says(/working for/);
    return worker;
  }

  /** A queue as any BullMQ client opens it. */
  queue(name: string): Queue {
    const queue = new Queue(name, { connection: this.redis, prefix: this.prefix });
    queue.on('error', () => undefined);
    this.#closers.push(() => queue.close());
    return queue;
  }

  /** Takes completion events, as any BullMQ client does. */
  async consume(name = 'results'): Promise<void> {
    const worker = new Worker(
      name,
      async (job) => {
        this.events.push(job.data as CompletionEvent);
      },
      { connection: this.redis, prefix: this.prefix, concurrency: 50 },
    );
    worker.on('error', () => undefined);
    this.#closers.push(() => worker.close());
    await worker.waitUntilReady();
  }

  async event(submissionId: string, timeoutMs = 20_000): Promise<CompletionEvent> {
    return until(
      () => this.events.find((event) => event.subject === submissionId),
      timeoutMs,
      () => `an event for ${submissionId}; there are ${this.events.map((event) => event.id).join(', ')}`,
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((started) => started.destroy()));
    await Promise.all(this.#closers.map((close) => close()));
    let cursor = '0';
    do {
      const [next, keys] = await this.redis.scan(cursor, 'MATCH', `${this.prefix}:*`, 'COUNT', 1_000);
      cursor = next;
      if (keys.length > 0) await this.redis.del(keys);
    } while (cursor !== '0');
    this.redis.disconnect();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Talks to the sandbox's control routes. */
export async function control<Reply = unknown>(url: string, route: string, body?: object): Promise<Reply> {
  const answer = await fetch(
    `${url}/${route}`,
    body === undefined
      ? {}
      : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } },
  );
  if (!answer.ok) throw new Error(`${route}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Reply;
}

export { until };
