import { Arena, concurrency, titles, type Kind } from '../lib/arena.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { measureRound, type Round } from '../lib/round.ts';
import { round, summarise, type Summary } from '../lib/stats.ts';
import { barChart, type Color } from '../lib/svg.ts';

const kinds: readonly Kind[] = ['jobferry', 'bullmq', 'bullmq-fetch'];
/** The comparison that counts stands next to ours. */
const pictured: readonly Kind[] = ['jobferry', 'bullmq-fetch', 'bullmq'];
const colors: Readonly<Record<Kind, Color>> = { jobferry: 'a', bullmq: 'b', 'bullmq-fetch': 'c' };
const looks = 3;

/** Whole submissions per second: taken from the submit queue, submitted, looked up three times, event delivered. */
export const lifecycles: Benchmark = {
  name: 'lifecycles',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const settings = { submissions: quick ? 300 : 3_000, rounds: quick ? 1 : 5, looks, payloadBytes: 600, concurrency };
    const arena = await Arena.open({ compiled });
    try {
      const contestants = await Promise.all(kinds.map((kind) => arena.contestant(kind)));
      for (const contestant of contestants) await contestant.start();
      const rounds = new Map<Kind, Round[]>(kinds.map((kind) => [kind, []]));
      // The first round warms up caches and compilers, and is thrown away.
      for (let number = 0; number <= settings.rounds; number += 1) {
        // Another goes first each time, so that nobody always runs after the same neighbour.
        for (let turn = 0; turn < contestants.length; turn += 1) {
          const contestant = contestants[(turn + number) % contestants.length];
          if (contestant === undefined) continue;
          const one = await measureRound(arena, contestant, `r${number}`, settings);
          if (number === 0) continue;
          rounds.get(contestant.kind)?.push(one);
          say(`round ${number} ${contestant.kind}: ${Math.round(one.perSecond)} lifecycles/s`);
        }
      }
      return await report(arena, rounds, settings);
    } finally {
      await arena.close();
    }
  },
};

async function report(arena: Arena, rounds: Map<Kind, Round[]>, settings: { submissions: number; rounds: number }) {
  const of = (kind: Kind, value: (round: Round) => number, digits: number): Summary =>
    summarise((rounds.get(kind) ?? []).map(value), digits);
  const perSecond = (kind: Kind): Summary => of(kind, (one) => one.perSecond, 0);
  // Round by round, so that what slowed the machine down for a while slowed both.
  const ratio = (other: Kind): Summary =>
    summarise(
      (rounds.get('jobferry') ?? []).map((own, index) => own.perSecond / (rounds.get(other)?.[index]?.perSecond ?? 1)),
      3,
    );
  const [toEmpty, toFetch] = [ratio('bullmq'), ratio('bullmq-fetch')];
  const headline = [
    `${round(toFetch.median * 100, 0)} % of the lifecycles of plain BullMQ with one fetch per poll, ${round(toEmpty.median * 100, 0)} % of those with empty processors`,
    `${perSecond('jobferry').median} lifecycles/s against ${perSecond('bullmq-fetch').median} and ${perSecond('bullmq').median}`,
  ];
  return {
    headline,
    ok: true,
    redis: await arena.serverVersion(),
    settings,
    numbers: {
      lifecyclesPerSecond: Object.fromEntries(kinds.map((kind) => [kind, perSecond(kind)])),
      ratioToFetch: toFetch,
      ratioToEmpty: toEmpty,
      workerCpuMsPerLifecycle: Object.fromEntries(kinds.map((kind) => [kind, of(kind, (one) => one.workerCpuMs, 3)])),
      redisCpuMsPerLifecycle: Object.fromEntries(kinds.map((kind) => [kind, of(kind, (one) => one.redisCpuMs, 3)])),
    },
    svg: barChart({
      title: 'Lifecycles per second',
      subtitle: `Submit, ${looks} polls, completion event; one worker process, a vendor that answers at once. Longer is better.`,
      groups: [
        {
          bars: pictured.map((kind) => {
            const { median, min, max } = perSecond(kind);
            const share =
              kind === 'jobferry'
                ? ''
                : ` (jobferry: ${round((kind === 'bullmq' ? toEmpty : toFetch).median * 100, 0)} %)`;
            return {
              label: titles[kind],
              value: median,
              range: [min, max] as const,
              text: `${median}${share}`,
              color: colors[kind],
            };
          }),
        },
      ],
      notes: [
        `Median of ${settings.rounds} interleaved rounds of ${settings.submissions} submissions each; lines show the slowest and the fastest round.`,
      ],
    }),
  };
}
