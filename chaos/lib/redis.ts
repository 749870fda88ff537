import { readdirSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { startEmbeddedRedis, type EmbeddedRedis } from '../../src/embedded-redis/index.ts';
import { projectDir } from '../../scripts/transpile.ts';

/**
 * - `always`: what Redis has confirmed is on disk; a kill loses nothing.
 * - `everysec`: a kill loses what was confirmed and not yet written. Mostly that is nothing, since Redis writes before it
 *   answers; while the disk is busy it puts the write off, by two seconds at most.
 * - `loss`: as after a power cut with `everysec`: the last second of the append-only file is gone.
 */
export type RedisMode = 'everysec' | 'always' | 'loss';

/** How much a kill takes away in mode `loss`, ms. */
export const lostMs = 1_000;
/** How long Redis puts a write off with `everysec`, ms. */
const putOffMs = 2_000;
const sampleMs = 50;

/** A Redis with an append-only file that can be killed and started again on the same port. */
export class MortalRedis {
  readonly #dir: string;
  readonly #mode: RedisMode;
  #server: EmbeddedRedis | undefined;
  #sizes: { at: number; file: string; size: number }[] = [];
  #sampler: NodeJS.Timeout | undefined;

  constructor(dir: string, mode: RedisMode) {
    this.#dir = dir;
    this.#mode = mode;
  }

  get port(): number {
    if (this.#server === undefined) throw new Error('Redis was never started');
    return this.#server.port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const port = this.#server?.port;
    const server = await startEmbeddedRedis({
      dir: this.#dir,
      cacheDir: path.join(projectDir, '.jobferry', 'redis'),
      ...(port === undefined ? {} : { port }),
      extraArgs: [
        ...['--appendfsync', this.#mode === 'always' ? 'always' : 'everysec'],
        // In mode `loss` one file from start to end, so that its tail can be told.
        ...(this.#mode === 'loss' ? ['--auto-aof-rewrite-percentage', '0'] : []),
      ],
    });
    if (port !== undefined && server.port !== port)
      throw new Error(`Redis came back on port ${server.port}, not ${port}`);
    this.#server = server;
    if (this.#mode === 'loss') this.#sampler = setInterval(() => this.#sample(), sampleMs);
  }

  /** SIGKILL. @returns when, and from when on writes may be lost (the same where none are). */
  async kill(): Promise<{ at: number; lostFrom: number }> {
    if (this.#server === undefined) throw new Error('Redis is not running');
    clearInterval(this.#sampler);
    const at = Date.now();
    process.kill(this.#server.pid, 'SIGKILL');
    // Reaps the process and gives the folder free.
    await this.#server.stop();
    if (this.#mode === 'always') return { at, lostFrom: at };
    if (this.#mode === 'everysec') return { at, lostFrom: at - putOffMs };
    const kept = this.#sizes.findLast((sample) => sample.at <= at - lostMs) ?? this.#sizes[0];
    this.#sizes = [];
    if (kept === undefined) return { at, lostFrom: at };
    truncateSync(kept.file, kept.size);
    return { at, lostFrom: kept.at };
  }

  async stop(): Promise<void> {
    clearInterval(this.#sampler);
    await this.#server?.stop();
  }

  #sample(): void {
    const folder = path.join(this.#dir, 'appendonlydir');
    const name = readdirSync(folder)
      .filter((file) => file.endsWith('.incr.aof'))
      .sort()
      .at(-1);
    if (name === undefined) return;
    const file = path.join(folder, name);
    this.#sizes.push({ at: Date.now(), file, size: statSync(file).size });
    this.#sizes.splice(0, this.#sizes.length - (4 * lostMs) / sampleMs);
  }
}
