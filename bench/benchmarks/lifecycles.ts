import { Arena, concurrency, titles, type Kind } from '../lib/arena.ts';
import { payload } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round, summarise, type Summary } from '../lib/stats.ts';
import { barChart, type Color } from '../lib/svg.ts';

const kinds: readonly Kind[] = ['jobferry', 'bullmq', 'bullmq-fetch'];
/** The comparison that counts stands next to ours. */
const pictured: readonly Kind[] = ['jobferry', 'bullmq-fetch', 'bullmq'];
const colors: Readonly<Record<Kind, Color>> = { jobferry: 'a', bullmq: 'b', 'bullmq-fetch': 'c' };
const looks = 3;

interface Round {
  perSecond: number;
  workerCpuMs: number;
  redisCpuMs: number;
}

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
          await contestant.setLooks(looks);
          const before = await contestant.eventCount();
          const [workerCpu, redisCpu] = [await contestant.worker.ask<number>('cpu'), await arena.serverCpu()];
          const startedAt = performance.now();
          await contestant.submit(`r${number}`, settings.submissions, (index) => payload(index, settings.payloadBytes));
          await contestant.eventsReach(before + settings.submissions);
          const seconds = (performance.now() - startedAt) / 1_000;
          const { creates, lookUps } = await arena.vendor.ask<{ creates: number; lookUps: number }>('counts');
          if (
            contestant.kind !== 'bullmq' &&
            (creates !== settings.submissions || lookUps !== settings.submissions * looks)
          ) {
            throw new Error(`${contestant.kind} made ${creates} creates and ${lookUps} look-ups`);
          }
          if (number === 0) continue;
          const perLifecycle = 1_000 / settings.submissions;
          rounds.get(contestant.kind)?.push({
            perSecond: settings.submissions / seconds,
            workerCpuMs: ((await contestant.worker.ask<number>('cpu')) - workerCpu) * perLifecycle,
            redisCpuMs: ((await arena.serverCpu()) - redisCpu) * perLifecycle,
          });
          say(`round ${number} ${contestant.kind}: ${Math.round(settings.submissions / seconds)} lifecycles/s`);
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
