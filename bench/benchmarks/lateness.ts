import { Redis } from 'ioredis';
import { setTimeout as sleep } from 'node:timers/promises';
import { Arena, concurrency, titles, type Contestant, type Kind } from '../lib/arena.ts';
import { payload, type Poll } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { percentile, round } from '../lib/stats.ts';
import { barChart, type Color } from '../lib/svg.ts';

const kinds: readonly Kind[] = ['jobferry', 'bullmq-fetch'];
const colors: Readonly<Record<Kind, Color>> = { jobferry: 'a', bullmq: 'b', 'bullmq-fetch': 'c' };

interface Scenario {
  name: string;
  title: string;
  waiting: number;
  rounds: number;
  poll: Poll;
}

interface Lateness {
  polls: number;
  pollsPerSecond: number;
  p50: number;
  p99: number;
  max: number;
}

/** From the moment when a poll is due to the moment when the vendor sees it. */
export const lateness: Benchmark = {
  name: 'lateness',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const day = 86_400_000;
    const scenarios: readonly Scenario[] = quick
      ? [{ name: 'few', title: '100 waiting, every 0.3–0.6 s', waiting: 100, rounds: 1, poll: spread(300, 600, day) }]
      : [
          {
            name: 'busy',
            title: '1,000 waiting, every 1–2 s',
            waiting: 1_000,
            rounds: 2,
            poll: spread(1_000, 2_000, day),
          },
          {
            name: 'many',
            title: '5,000 waiting, every 4–8 s',
            waiting: 5_000,
            rounds: 1,
            poll: spread(4_000, 8_000, day),
          },
        ];
    const settings = { scenarios, secondsPerRound: quick ? 3 : 8, concurrency, hz: 100 };
    const arena = await Arena.open({ compiled });
    try {
      const numbers: Record<string, Record<string, Lateness>> = {};
      for (const scenario of scenarios) {
        const samples = new Map<Kind, number[]>(kinds.map((kind) => [kind, []]));
        for (let number = 0; number < scenario.rounds; number += 1) {
          for (const kind of number % 2 === 0 ? kinds : [...kinds].reverse()) {
            const contestant = await arena.contestant(kind);
            const late = await measure(arena, contestant, scenario, settings.secondsPerRound);
            await contestant.end();
            await contestant.wipe();
            samples.get(kind)?.push(...late);
            say(`${scenario.title}, ${kind}: ${JSON.stringify(describe(late, settings.secondsPerRound))}`);
          }
        }
        numbers[scenario.name] = Object.fromEntries(
          kinds.map((kind) => [kind, describe(samples.get(kind) ?? [], settings.secondsPerRound * scenario.rounds)]),
        );
      }
      const of = (scenario: Scenario, kind: Kind): Lateness =>
        numbers[scenario.name]?.[kind] ?? { polls: 0, pollsPerSecond: 0, p50: 0, p99: 0, max: 0 };
      return {
        headline: scenarios.map((scenario) => {
          const [own, plain] = [of(scenario, 'jobferry'), of(scenario, 'bullmq-fetch')];
          return `${scenario.title} (${own.pollsPerSecond} polls/s): p50 ${own.p50} ms, p99 ${own.p99} ms, max ${own.max} ms late; plain BullMQ with fetch p50 ${plain.p50}, p99 ${plain.p99}, max ${plain.max}`;
        }),
        ok: true,
        redis: await arena.serverVersion(),
        settings,
        numbers,
        svg: barChart({
          title: 'How late polls run',
          subtitle: 'From due time to the vendor’s door, ms. Shorter is better.',
          groups: scenarios.flatMap((scenario) =>
            (['p50', 'p99'] as const).map((share) => ({
              title: `${scenario.title}: ${share === 'p50' ? 'median' : '99th percentile'}`,
              bars: kinds.map((kind) => ({
                label: titles[kind],
                value: of(scenario, kind)[share],
                text:
                  share === 'p50'
                    ? `${of(scenario, kind).p50} ms`
                    : `${of(scenario, kind).p99} ms (max ${of(scenario, kind).max})`,
                color: colors[kind],
              })),
            })),
          ),
          notes: ['Redis with hz 100; at its default of 10 each wait is up to 100 ms longer.'],
        }),
      };
    } finally {
      await arena.close();
    }
  },
};

/** Waits between `fromMs` and `toMs`: the first look-up at the lower end, then growing. */
function spread(fromMs: number, toMs: number, deadlineMs: number): Poll {
  return { initialDelayMs: fromMs, factor: 1.35, maxDelayMs: toMs, deadlineMs };
}

async function measure(arena: Arena, contestant: Contestant, scenario: Scenario, seconds: number): Promise<number[]> {
  await contestant.start();
  await contestant.setLooks(Number.MAX_SAFE_INTEGER, true);
  // From the beginning: what is due while we look was delayed up to a whole wait before.
  const due = new DueTimes(arena.url, contestant.key('knowhere.poll', 'events'));
  await due.open();
  const ids = 'late';
  // Spread over the interval, as submissions of a working day are: all at once would measure the burst.
  const batches = 20;
  const size = Math.ceil(scenario.waiting / batches);
  for (let batch = 0; batch < batches; batch += 1) {
    await contestant.submit(`${ids}${batch}`, size, (index) => payload(index, 600, scenario.poll));
    await sleep(scenario.poll.maxDelayMs / batches);
  }
  await sleep(1_000 + scenario.poll.maxDelayMs);
  const from = Date.now();
  await arena.vendor.ask('arrivals');
  await sleep(seconds * 1_000 + scenario.poll.maxDelayMs);
  const arrivals = await arena.vendor.ask<(string | number)[]>('arrivals');
  due.close();
  const late: number[] = [];
  for (let index = 0; index < arrivals.length; index += 2) {
    const [id, at] = [String(arrivals[index]).replace(/^job_/, ''), Number(arrivals[index + 1])];
    const dueAt = due.latestBefore(id, at);
    // Polls that were due before we looked, or come after we stopped, would be half counted.
    if (dueAt !== undefined && dueAt >= from && dueAt < from + seconds * 1_000) late.push(Math.max(0, at - dueAt));
  }
  return late;
}

/**
 * When polls are due, read from the event stream that BullMQ writes for every delay, so that no measured process has
 * to be changed to tell.
 */
class DueTimes {
  readonly #redis: Redis;
  readonly #stream: string;
  readonly #due = new Map<string, number[]>();
  #isOpen = true;

  constructor(url: string, stream: string) {
    this.#redis = new Redis(url, { maxRetriesPerRequest: null });
    this.#stream = stream;
  }

  async open(): Promise<void> {
    const [last] = await this.#redis.xrevrange(this.#stream, '+', '-', 'COUNT', 1);
    void this.#follow(last?.[0] ?? '0');
  }

  async #follow(from: string): Promise<void> {
    let last = from;
    while (this.#isOpen) {
      // The stream keeps a thousand entries: enough for the tenth of a second that we let pass.
      const entries = await this.#redis.xrange(this.#stream, `(${last}`, '+').catch(() => []);
      for (const [id, fields] of entries) {
        last = id;
        if (field(fields, 'event') !== 'delayed') continue;
        const jobId = field(fields, 'jobId') ?? '';
        const due = this.#due.get(jobId) ?? [];
        due.push(Number(field(fields, 'delay')));
        this.#due.set(jobId, due);
      }
      await sleep(100);
    }
  }

  latestBefore(jobId: string, at: number): number | undefined {
    // A poll sets out in the millisecond in which it is due at the earliest.
    return this.#due.get(jobId)?.findLast((due) => due <= at + 1);
  }

  close(): void {
    this.#isOpen = false;
    this.#redis.disconnect();
  }
}

function field(fields: readonly string[], name: string): string | undefined {
  for (let index = 0; index < fields.length; index += 2) if (fields[index] === name) return fields[index + 1];
  return undefined;
}

function describe(late: readonly number[], seconds: number): Lateness {
  return {
    polls: late.length,
    pollsPerSecond: round(late.length / seconds, 0),
    p50: round(percentile(late, 0.5), 1),
    p99: round(percentile(late, 0.99), 1),
    max: late.reduce((most, value) => Math.max(most, value), 0),
  };
}
