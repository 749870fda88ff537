import { Arena, concurrency, type Contestant } from '../lib/arena.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { measureRound, type Round } from '../lib/round.ts';
import { median, round, spread, type Spread } from '../lib/stats.ts';
import { barChart, type Bar } from '../lib/svg.ts';
import { meanings, protections, type Protection } from '../lib/without.ts';

/** The protections together may cost so much of the throughput that there is without them. */
const goal = 0.2;

interface Variant {
  name: string;
  title: string;
  without: readonly Protection[];
}

/** Nothing but the vendor's adapter, its requests, and BullMQ's own moves with the record along. */
const bare: Variant = { name: 'all-and-log', title: 'all protections and the log', without: protections };
/** The log of steps is for people to read; it protects nothing. */
const logging: Variant = {
  name: 'all',
  title: 'all protections',
  without: protections.filter((one) => one !== 'log'),
};
/** The engine against itself: what is measured here is the noise. */
const control: Variant = { name: 'control', title: 'nothing (the noise)', without: [] };

const single: readonly Variant[] = [
  { name: 'intent', title: 'the intent', without: ['intent'] },
  { name: 'acceptance', title: 'the saved acceptance', without: ['acceptance'] },
  { name: 'fence', title: 'the fence of saves', without: ['fence'] },
  { name: 'send-lock', title: 'the lock before a submit', without: ['send-lock'] },
  { name: 'hand-over', title: 'the guarded hand-over', without: ['hand-over'] },
  { name: 'outcome', title: 'the saved outcome', without: ['outcome'] },
  // One command carries both, so only together do they leave one out.
  { name: 'log-and-cancel', title: 'the log and the cancel', without: ['log', 'cancel'] },
  { name: 'list', title: 'the list of those under way', without: ['list'] },
  { name: 'gate', title: 'the account gate', without: ['gate'] },
  { name: 'upkeep', title: 'upkeep, short locks', without: ['upkeep'] },
];

interface Part {
  submissions: number;
  /** Each with processes of its own: two of the same code differ by what their compiler made of it. */
  blocks: number;
  /** Per block, after one that warms up caches and compilers and is thrown away. */
  rounds: number;
}

interface Settings {
  together: Part;
  single: Part;
  looks: number;
  payloadBytes: number;
}

type Measured = Round & { commands: number };
/** Of one round: with all protections, and without some. */
type Pair = readonly [full: Measured, less: Measured];

interface Cost {
  /** Of the lifecycles per second that there are without it. */
  throughput: Spread;
  /** Of the CPU time, worker's and Redis's, that a lifecycle takes with it. */
  cpu: Spread;
  workerCpu: Spread;
  redisCpu: Spread;
  /** Commands to Redis per lifecycle that it takes. */
  commands: number;
  /** What was measured, with all protections and without this. */
  medians: { full: Measured; less: Measured };
}

/** What the protections cost: the engine with them against the same engine without, and without each. */
export const protectionsCost: Benchmark = {
  name: 'protections',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const settings: Settings = {
      together: quick ? { submissions: 200, blocks: 1, rounds: 1 } : { submissions: 400, blocks: 4, rounds: 4 },
      single: quick ? { submissions: 100, blocks: 1, rounds: 1 } : { submissions: 300, blocks: 2, rounds: 2 },
      looks: 3,
      payloadBytes: 600,
    };
    const costs = new Map<Variant, Cost>();
    for (const variant of [bare, logging, control, ...single]) {
      const part = single.includes(variant) ? settings.single : settings.together;
      const pairs = await measurePairs(compiled, variant, { ...settings, ...part });
      const cost = costOf(pairs);
      say(
        `${variant.title}: ${range(cost.cpu)} of the CPU time, ${range(cost.throughput)} of the lifecycles per second`,
      );
      costs.set(variant, cost);
    }
    return report(await serverVersion(compiled), settings, costs);
  },
};

/**
 * Both engines run at the same time, each with a Redis, a vendor and a worker process of its own: whatever else the
 * machine does falls on both alike, which no turns that they take could bring about.
 */
async function measurePairs(
  compiled: RunOptions['compiled'],
  variant: Variant,
  settings: Part & { looks: number; payloadBytes: number },
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let block = 0; block < settings.blocks; block += 1) {
    const [full, less] = await Promise.all([
      Side.open(compiled, { name: 'full', without: [] }),
      Side.open(compiled, variant),
    ]);
    try {
      for (let number = 0; number <= settings.rounds; number += 1) {
        const pair = await Promise.all([full.measure(`r${number}`, settings), less.measure(`r${number}`, settings)]);
        if (number > 0) pairs.push(pair);
      }
    } finally {
      await Promise.all([full.close(), less.close()]);
    }
  }
  return pairs;
}

/** One engine with all that it needs. */
class Side {
  readonly #arena: Arena;
  readonly #contestant: Contestant;

  private constructor(arena: Arena, contestant: Contestant) {
    this.#arena = arena;
    this.#contestant = contestant;
  }

  static async open(compiled: RunOptions['compiled'], special: Pick<Variant, 'name' | 'without'>): Promise<Side> {
    const arena = await Arena.open({ compiled, workerEnv: { BENCH_COUNT_COMMANDS: '1' } });
    const contestant = await arena.contestant('jobferry', special);
    await contestant.start();
    return new Side(arena, contestant);
  }

  async measure(
    ids: string,
    settings: { submissions: number; looks: number; payloadBytes: number },
  ): Promise<Measured> {
    await this.#contestant.worker.ask('commands');
    const one = await measureRound(this.#arena, this.#contestant, ids, settings);
    const counts = await this.#contestant.worker.ask<Record<string, number>>('commands');
    const commands = Object.values(counts).reduce((sum, count) => sum + count, 0);
    return { ...one, commands: commands / settings.submissions };
  }

  close(): Promise<void> {
    return this.#arena.close();
  }
}

async function serverVersion(compiled: RunOptions['compiled']): Promise<string> {
  const arena = await Arena.open({ compiled });
  try {
    return await arena.serverVersion();
  } finally {
    await arena.close();
  }
}

function costOf(pairs: readonly Pair[]): Cost {
  const of = (share: (full: Measured, less: Measured) => number): Spread =>
    spread(
      pairs.map(([full, less]) => share(full, less)),
      3,
    );
  const medianOf = (side: 0 | 1): Measured => ({
    perSecond: round(median(pairs.map((pair) => pair[side].perSecond)), 0),
    workerCpuMs: round(median(pairs.map((pair) => pair[side].workerCpuMs)), 3),
    redisCpuMs: round(median(pairs.map((pair) => pair[side].redisCpuMs)), 3),
    commands: round(median(pairs.map((pair) => pair[side].commands)), 2),
  });
  const medians = { full: medianOf(0), less: medianOf(1) };
  return {
    throughput: of((full, less) => 1 - full.perSecond / less.perSecond),
    cpu: of((full, less) => 1 - cpuMs(less) / cpuMs(full)),
    workerCpu: of((full, less) => 1 - less.workerCpuMs / full.workerCpuMs),
    redisCpu: of((full, less) => 1 - less.redisCpuMs / full.redisCpuMs),
    commands: round(medians.full.commands - medians.less.commands, 1),
    medians,
  };
}

function cpuMs({ workerCpuMs, redisCpuMs }: Round): number {
  return workerCpuMs + redisCpuMs;
}

function report(redis: string, settings: Settings, costs: ReadonlyMap<Variant, Cost>): Report {
  const of = (variant: Variant): Cost => {
    const cost = costs.get(variant);
    if (cost === undefined) throw new Error(`${variant.name} was not measured`);
    return cost;
  };
  const [total, butLog, noise] = [of(bare), of(logging), of(control)];
  // Beyond what its own noise allows: three pairs of four show it.
  const isTooMuch = total.throughput.quartiles[0] > goal;
  const { full, less } = total.medians;
  return {
    headline: [
      `${range(total.throughput)} of the lifecycles per second that there are without any protection and without the log (goal: at most ${percent(goal)}); the engine against itself: ${range(noise.throughput)}`,
      `${range(total.cpu)} of the CPU time; the engine against itself: ${range(noise.cpu)}. Of the worker ${percent(total.workerCpu.median)}, of Redis ${percent(total.redisCpu.median)}`,
      `${range(butLog.throughput)} of the lifecycles and ${range(butLog.cpu)} of the CPU time where both keep the log of steps`,
      `${full.commands} commands to Redis per lifecycle against ${less.commands}`,
    ],
    ok: !isTooMuch,
    redis,
    settings: { ...settings, goal, concurrency, meanings },
    numbers: {
      isGoalMet: total.throughput.median <= goal,
      costs: Object.fromEntries([...costs].map(([{ name, without }, cost]) => [name, { without, ...cost }])),
    },
    svg: picture(settings, [...costs]),
  };
}

function picture({ together }: Settings, costs: readonly (readonly [Variant, Cost])[]): string {
  const isTotal = (variant: Variant): boolean => !single.includes(variant);
  const bar = ({ title, without }: Variant, cost: Spread): Bar => ({
    label: title,
    value: round(cost.median * 100, 1),
    range: [cost.quartiles[0] * 100, cost.quartiles[1] * 100],
    text: percent(cost.median),
    color: without.length === 0 ? 'c' : without.length > 2 ? 'a' : 'b',
  });
  const totals = costs.filter(([variant]) => isTotal(variant));
  return barChart({
    title: 'What the protections cost',
    subtitle: 'Percent of what there is without them. Shorter is better.',
    mark: { value: goal * 100, label: `goal ${percent(goal)}` },
    groups: [
      { title: 'Lifecycles per second', bars: totals.map(([variant, cost]) => bar(variant, cost.throughput)) },
      { title: 'CPU time of worker and Redis', bars: totals.map(([variant, cost]) => bar(variant, cost.cpu)) },
      {
        title: 'CPU time of Redis, one by one',
        bars: costs.filter(([variant]) => !isTotal(variant)).map(([variant, cost]) => bar(variant, cost.redisCpu)),
      },
    ],
    notes: [
      `Medians of ${together.blocks * together.rounds} pairs of rounds of ${together.submissions} submissions, both engines at the same time; lines show the middle half.`,
    ],
  });
}

function range(cost: Spread): string {
  return `${percent(cost.median)} (${percent(cost.quartiles[0])} to ${percent(cost.quartiles[1])})`;
}

function percent(share: number): string {
  return `${round(share * 100, 1)} %`;
}
