import { percentile } from '../../bench/lib/stats.ts';
import type { Recovery } from './fire.ts';

export interface Figures {
  jobs: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

export interface RecoveryFigures {
  /** Jobs of both stages, with Redis reachable all the while: what the goal of 10 s is about. */
  redisReachable: Figures;
  /** Of these, the poll jobs. */
  polls: Figures;
  /** Redis was killed, cut off or late meanwhile, or a queue was paused. */
  redisTroubled: Figures;
  /** Of the jobs with Redis reachable: until the dead process's lock was gone, and until the job was back in line. */
  unlocked: Figures;
  freed: Figures;
  /** The slowest with Redis reachable and with Redis in trouble, and what else burned. */
  slowest: string[];
  slowestTroubled: string[];
}

const shown = 10;
const slowMs = 8_000;

export function recoveryFigures(samples: readonly Recovery[]): RecoveryFigures {
  const troubled = samples.filter(isRedisTroubled);
  const clean = samples.filter((sample) => !isRedisTroubled(sample));
  return {
    redisReachable: figures(clean.map(({ ms }) => ms)),
    polls: figures(clean.filter(({ queue }) => queue.endsWith('.poll')).map(({ ms }) => ms)),
    redisTroubled: figures(troubled.map(({ ms }) => ms)),
    unlocked: figures(clean.map(({ unlockedMs }) => unlockedMs)),
    freed: figures(clean.map(({ freedMs }) => freedMs)),
    slowest: slowestOf(clean),
    slowestTroubled: slowestOf(troubled),
  };
}

/** One for each time and stage: the jobs of one process come back together. */
function slowestOf(samples: readonly Recovery[]): string[] {
  const groups = new Map<string, Recovery>();
  for (const sample of samples.filter(({ ms }) => ms > slowMs)) {
    const key = `${sample.since} ${sample.queue}`;
    if (sample.ms > (groups.get(key)?.ms ?? 0)) groups.set(key, sample);
  }
  return [...groups.values()]
    .toSorted((one, other) => other.ms - one.ms)
    .slice(0, shown)
    .map(tell);
}

function isRedisTroubled({ during }: Recovery): boolean {
  return during.some((kind) => kind.startsWith('redis-') || kind === 'pause');
}

function figures(times: readonly number[]): Figures {
  return {
    jobs: times.length,
    p50Ms: Math.round(percentile(times, 0.5)),
    p99Ms: Math.round(percentile(times, 0.99)),
    maxMs: Math.round(times.reduce((most, ms) => Math.max(most, ms), 0)),
  };
}

function tell({ queue, jobId, unlockedMs, freedMs, ms, able, during }: Recovery): string {
  const others = during.length === 0 ? 'nothing else' : during.join(', ');
  return `${ms} ms ${queue} ${jobId}: unlocked at ${unlockedMs}, in line at ${freedMs}; ${able} workers; ${others}`;
}
