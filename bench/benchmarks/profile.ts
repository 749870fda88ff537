import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Arena, concurrency } from '../lib/arena.ts';
import { inclusiveTimes, selfTimes, type CpuProfile, type ProfileEntry } from '../lib/cpu-profile.ts';
import { payload } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round } from '../lib/stats.ts';
import { barChart } from '../lib/svg.ts';

const steps = ['fetch', 'ky', 'readRequest', 'rereadRequest', 'safeParse', 'parse', 'stringify', 'evalsha', 'runLoop'];

/** Where a worker's time goes: a CPU profile of the lifecycles benchmark, by area and by function. */
export const profile: Benchmark = {
  name: 'profile',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const settings = { submissions: quick ? 300 : 6_000, warmUp: quick ? 0 : 2_000, payloadBytes: 600, concurrency };
    const folder = mkdtempSync(path.join(tmpdir(), 'jobferry-bench-profile-'));
    const workerArgs = ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=500'];
    const arena = await Arena.open({ compiled, workerArgs });
    let redis: string;
    try {
      redis = await arena.serverVersion();
      const contestant = await arena.contestant('jobferry');
      await contestant.start();
      await contestant.setLooks(3);
      const total = settings.warmUp + settings.submissions;
      await contestant.submit('p', total, (index) => payload(index, settings.payloadBytes));
      await contestant.eventsReach(total);
    } finally {
      await arena.close();
    }
    const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'));
    if (file === undefined) throw new Error('the worker left no profile');
    const recorded = JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as CpuProfile;
    rmSync(folder, { recursive: true, force: true });
    const { byArea, byFunction } = selfTimes(recorded);
    const inclusive = inclusiveTimes(recorded, steps);
    const shown = (entries: readonly ProfileEntry[], count: number): { name: string; percent: number }[] =>
      entries.slice(0, count).map(({ name, share }) => ({ name, percent: round(share * 100, 1) }));
    for (const { name, percent } of shown(byFunction, 30)) say(`${percent.toFixed(1).padStart(5)} %  ${name}`);
    for (const { name, percent } of shown(inclusive, 30)) say(`${percent.toFixed(1).padStart(5)} %  in ${name}`);
    const areas = shown(byArea, 14);
    return {
      headline: areas.slice(0, 8).map(({ name, percent }) => `${percent} % ${name}`),
      ok: true,
      redis,
      settings,
      numbers: { byArea: areas, byFunction: shown(byFunction, 40), inclusive: shown(inclusive, 20) },
      svg: barChart({
        title: 'Where a worker’s time goes',
        subtitle: 'Share of its busy time by whose code is running, lifecycles benchmark.',
        groups: [
          {
            bars: areas.map(({ name, percent }) => ({
              label: name,
              value: percent,
              text: `${percent} %`,
              color: name.startsWith('jobferry') ? ('a' as const) : ('b' as const),
            })),
          },
        ],
      }),
    };
  },
};
