import { Arena, concurrency, titles, type Contestant, type Kind } from '../lib/arena.ts';
import { payload } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round } from '../lib/stats.ts';
import { barChart } from '../lib/svg.ts';

const kinds = ['jobferry', 'bullmq'] as const;
const [few, many] = [3, 13];

type Counts = Record<string, number>;
interface Measured {
  /** Commands that the worker sent, by name. */
  client: Counts;
  /** What the server ran, the commands inside scripts included. */
  server: Counts;
}

interface Cost {
  clientCommands: number;
  serverCommands: number;
  byName: Counts;
}

/** Redis commands per lifecycle and per poll, counted where they are sent and where they are run. */
export const roundTrips: Benchmark = {
  name: 'round-trips',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const settings = { submissions: quick ? 200 : 2_000, alone: quick ? 5 : 30, looks: [few, many], concurrency };
    const arena = await Arena.open({ compiled, workerEnv: { BENCH_COUNT_COMMANDS: '1' } });
    try {
      const numbers: Record<string, { lifecycle: Cost; poll: Cost; alone: Cost }> = {};
      for (const kind of kinds) {
        const contestant = await arena.contestant(kind);
        await contestant.start();
        await measure(arena, contestant, 'warm', 50, few, false);
        const short = await measure(arena, contestant, 'short', settings.submissions, few, false);
        const long = await measure(arena, contestant, 'long', settings.submissions, many, false);
        const alone = await measure(arena, contestant, 'alone', settings.alone, few, true);
        await contestant.stop();
        numbers[kind] = {
          lifecycle: cost(short, settings.submissions),
          // What ten polls more cost, so that submit and settlement cancel out.
          poll: cost(difference(long, short), settings.submissions * (many - few)),
          alone: cost(alone, settings.alone),
        };
        say(`${kind}: ${JSON.stringify(numbers[kind].poll)}`);
      }
      const of = (kind: Kind, what: 'lifecycle' | 'poll' | 'alone', side: keyof Omit<Cost, 'byName'>): number =>
        numbers[kind]?.[what][side] ?? 0;
      const ratio = (what: 'lifecycle' | 'poll' | 'alone'): number =>
        round(of('jobferry', what, 'clientCommands') / of('bullmq', what, 'clientCommands'), 2);
      const group = (title: string, what: 'lifecycle' | 'poll' | 'alone', side: keyof Omit<Cost, 'byName'>) => ({
        title,
        bars: kinds.map((kind) => ({
          label: titles[kind],
          value: of(kind, what, side),
          color: kind === 'jobferry' ? ('a' as const) : ('b' as const),
        })),
      });
      return {
        headline: [
          `${of('jobferry', 'poll', 'clientCommands')} commands to Redis per poll against ${of('bullmq', 'poll', 'clientCommands')} (${ratio('poll')} ×)`,
          `${of('jobferry', 'lifecycle', 'clientCommands')} per lifecycle of ${few} polls against ${of('bullmq', 'lifecycle', 'clientCommands')} (${ratio('lifecycle')} ×); a submission alone in an idle system: ${of('jobferry', 'alone', 'clientCommands')} against ${of('bullmq', 'alone', 'clientCommands')}`,
        ],
        ok: true,
        redis: await arena.serverVersion(),
        settings,
        numbers: { ...numbers, ratios: { poll: ratio('poll'), lifecycle: ratio('lifecycle'), alone: ratio('alone') } },
        svg: barChart({
          title: 'Commands to Redis',
          subtitle: 'Sent by the worker process. Shorter is better.',
          groups: [
            group('per poll, under load', 'poll', 'clientCommands'),
            group(`per lifecycle of ${few} polls, under load`, 'lifecycle', 'clientCommands'),
            group(`per lifecycle of ${few} polls, alone in an idle system`, 'alone', 'clientCommands'),
          ],
          notes: [
            'Each is one round trip; a script counts as one. What scripts run inside is in the JSON beside this picture.',
          ],
        }),
      };
    } finally {
      await arena.close();
    }
  },
};

async function measure(
  arena: Arena,
  contestant: Contestant,
  ids: string,
  count: number,
  looks: number,
  oneByOne: boolean,
): Promise<Measured> {
  await contestant.setLooks(looks);
  const there = await contestant.eventCount();
  await contestant.worker.ask('commands');
  await arena.redis.call('CONFIG', 'RESETSTAT');
  if (oneByOne) {
    for (let index = 0; index < count; index += 1) {
      await contestant.submit(`${ids}${index}`, 1, () => payload(index, 600));
      await contestant.eventsReach(there + index + 1);
    }
  } else {
    await contestant.submit(ids, count, (index) => payload(index, 600));
    await contestant.eventsReach(there + count);
  }
  const client = await contestant.worker.ask<Counts>('commands');
  const server: Counts = {};
  for (const [key, value] of await arena.info('commandstats')) {
    const name = key.replace(/^cmdstat_/, '');
    // This process asks too: how far the others are, and for these numbers.
    if (['info', 'config|resetstat', 'llen'].includes(name)) continue;
    server[name] = Number(/calls=(\d+)/.exec(value)?.[1] ?? 0);
  }
  return { client, server };
}

function cost({ client, server }: Measured, per: number): Cost {
  const sum = (counts: Counts): number => Object.values(counts).reduce((total, count) => total + count, 0);
  const byName = Object.entries(client)
    .map(([name, count]) => [name, round(count / per, 2)] as const)
    .filter(([, count]) => count !== 0)
    .sort(([, a], [, b]) => b - a);
  return {
    clientCommands: round(sum(client) / per, 2),
    serverCommands: round(sum(server) / per, 1),
    byName: Object.fromEntries(byName),
  };
}

function difference(long: Measured, short: Measured): Measured {
  const subtract = (a: Counts, b: Counts): Counts =>
    Object.fromEntries(
      [...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [key, (a[key] ?? 0) - (b[key] ?? 0)]),
    );
  return { client: subtract(long.client, short.client), server: subtract(long.server, short.server) };
}
