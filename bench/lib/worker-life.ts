import { Redis } from 'ioredis';
import type { Protection } from './without.ts';

export interface WorkerStart {
  redisUrl: string;
  prefix: string;
  vendorUrl: string;
  submitConcurrency: number;
  pollConcurrency: number;
  /** What a jobferry worker is to do without. */
  without: readonly Protection[];
}

/**
 * Counts the commands that this process sends, by name, scripts by the name that they were defined under. A command is
 * a round trip, save where several of a pipeline share one.
 */
export function countCommands(): { take(): Record<string, number> } {
  let counts: Record<string, number> = {};
  const names = new Map<string, string>();
  const prototype = Redis.prototype as unknown as Record<
    'sendCommand' | 'defineCommand',
    (this: Redis, ...given: never[]) => unknown
  >;
  const { sendCommand, defineCommand } = prototype;
  prototype.defineCommand = function (this: Redis, ...given: never[]) {
    const result = defineCommand.apply(this, given);
    const scripts = (this as unknown as { scriptsSet: Record<string, { sha: string }> }).scriptsSet;
    for (const [name, { sha }] of Object.entries(scripts)) names.set(sha, name);
    return result;
  };
  prototype.sendCommand = function (this: Redis, ...given: never[]) {
    const command = given[0] as unknown as { name: string; args: unknown[] };
    const first = command.args[0];
    const script = command.name.startsWith('eval') && typeof first === 'string' ? names.get(first) : undefined;
    const name = script === undefined ? command.name : `${command.name}:${script.split(':', 1)[0]}`;
    counts[name] = (counts[name] ?? 0) + 1;
    return sendCommand.apply(this, given);
  };
  return {
    take() {
      const taken = counts;
      counts = {};
      return taken;
    },
  };
}

/** Heap and resident size after garbage was collected; needs `--expose-gc`. */
export function memoryAfterCollection(): { rss: number; heapUsed: number; external: number } {
  for (let pass = 0; pass < 3; pass += 1) (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heapUsed, external };
}

export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
