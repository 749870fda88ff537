import { Queue } from 'bullmq';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashFields } from '../../src/queues/keys.ts';
import { Arena, type Contestant } from '../lib/arena.ts';
import { payload, shortestPoll, type Poll } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round } from '../lib/stats.ts';
import { barChart } from '../lib/svg.ts';

const sizes = [300, 600, 1_200, 2_000];
const goal = 1.3;
const never = 1_000_000_000;
const hour = 3_600_000;

interface Row {
  payloadBytes: number;
  bareBytes: number;
  acceptedBytes: number;
  after3PollsBytes: number;
  plainAfter3PollsBytes: number;
  acceptedRatio: number;
  after3PollsRatio: number;
  plainAfter3PollsRatio: number;
}

const manyPolls = 30;

/** What Redis holds for a submission that waits for the vendor, against a bare delayed job with the same payload. */
export const memory: Benchmark = {
  name: 'memory',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    const settings = { submissions: quick ? 300 : 2_500, acceptedSubmissions: quick ? 300 : 20_000, sizes, goal };
    const arena = await Arena.open({ compiled });
    try {
      const contestant = await arena.contestant('jobferry');
      const plain = await arena.contestant('bullmq');
      const meter = new Meter(arena);
      // Scripts are cached by the server at their first use and stay; they are no part of a submission.
      await fill(contestant, 'warm', 50, 600, { ...afterThreePolls, factor: 3 });
      await contestant.stop();
      await contestant.wipe();
      await fill(plain, 'warm', 50, 600, { ...afterThreePolls, factor: 3 });
      await plain.stop();
      await plain.wipe();

      const rows: Row[] = [];
      let kept = { submitQueueKeys: 0, streamBytes: 0, parts: {} as Record<string, number> };
      for (const size of quick ? [600] : sizes) {
        const bareBytes = await meter.perJob(settings.submissions, () => addBare(arena, settings.submissions, size));
        await contestant.wipe();
        const accepted = size === 600 ? settings.acceptedSubmissions : settings.submissions;
        const acceptedBytes = await meter.perJob(accepted, async () => {
          await fill(contestant, 'a', accepted, size, waitForHours);
          await contestant.stop();
        });
        if (size === 600) kept = await look(arena, contestant, 'a');
        await contestant.wipe();
        const after3PollsBytes = await meter.perJob(settings.submissions, async () => {
          await fill(contestant, 'p', settings.submissions, size, afterThreePolls);
          await contestant.stop();
        });
        const after = await look(arena, contestant, 'p');
        kept = size === 600 ? { ...kept, parts: after.parts } : kept;
        await contestant.wipe();
        const plainAfter3PollsBytes = await meter.perJob(settings.submissions, async () => {
          await fill(plain, 'p', settings.submissions, size, afterThreePolls);
          await plain.stop();
        });
        await plain.wipe();
        const row = {
          payloadBytes: size,
          bareBytes: round(bareBytes, 0),
          acceptedBytes: round(acceptedBytes, 0),
          after3PollsBytes: round(after3PollsBytes, 0),
          plainAfter3PollsBytes: round(plainAfter3PollsBytes, 0),
          acceptedRatio: round(acceptedBytes / bareBytes, 3),
          after3PollsRatio: round(after3PollsBytes / bareBytes, 3),
          plainAfter3PollsRatio: round(plainAfter3PollsBytes / bareBytes, 3),
        };
        say(JSON.stringify(row));
        rows.push(row);
      }
      const [afterManyPolls, sample] = await afterMany(arena, contestant, meter, quick ? 100 : 1_000);
      const bare600 = rows.find((row) => row.payloadBytes === 600)?.bareBytes ?? 1;
      const manyRatio = round(afterManyPolls / bare600, 3);
      const worst = Math.max(...rows.map((row) => row.after3PollsRatio));
      const best = Math.min(...rows.map((row) => row.after3PollsRatio));
      return {
        headline: [
          `${best}–${worst} × a bare delayed job after 3 polls, ${Math.min(...rows.map((row) => row.acceptedRatio))}–${Math.max(...rows.map((row) => row.acceptedRatio))} × right after acceptance (goal ${goal})`,
          `a plain BullMQ poll job after 3 polls, with nothing saved: ${Math.min(...rows.map((row) => row.plainAfter3PollsRatio))}–${Math.max(...rows.map((row) => row.plainAfter3PollsRatio))} ×`,
          `${manyRatio} × after ${manyPolls} polls, when the log is full (600-byte payload)`,
          `of the submit queue ${kept.submitQueueKeys} keys stay; the event streams hold ${round(kept.streamBytes / 1024, 0)} KiB in all`,
        ],
        ok: true,
        redis: await arena.serverVersion(),
        settings,
        numbers: {
          isGoalMet: worst <= goal,
          rows,
          afterManyPolls: { polls: manyPolls, payloadBytes: 600, bytes: round(afterManyPolls, 0), ratio: manyRatio },
          ...kept,
          sample,
        },
        svg: barChart({
          title: 'Redis memory per waiting submission',
          subtitle: 'Times what a bare delayed BullMQ job with the same payload takes. Shorter is better.',
          mark: { value: goal, label: `goal ${goal} ×` },
          groups: rows.map((row) => ({
            title: `${row.payloadBytes} bytes of job data`,
            bars: [
              { label: 'bare delayed job', value: 1, text: `${row.bareBytes} B`, color: 'b' as const },
              {
                label: 'jobferry, just accepted',
                value: row.acceptedRatio,
                text: `${row.acceptedRatio} ×, ${row.acceptedBytes} B`,
                color: 'a' as const,
              },
              {
                label: 'jobferry, after 3 polls',
                value: row.after3PollsRatio,
                text: `${row.after3PollsRatio} ×, ${row.after3PollsBytes} B`,
                color: 'a' as const,
              },
              {
                label: 'plain BullMQ, after 3 polls',
                value: row.plainAfter3PollsRatio,
                text: `${row.plainAfter3PollsRatio} ×, ${row.plainAfter3PollsBytes} B`,
                color: 'c' as const,
              },
            ],
          })),
          notes: ['Event streams, which are bounded per queue and not per submission, are left out of both.'],
        }),
      };
    } finally {
      await arena.close();
    }
  },
};

/** A submission that the vendor takes long for: many polls, a full log. */
async function afterMany(
  arena: Arena,
  contestant: Contestant,
  meter: Meter,
  count: number,
): Promise<[bytes: number, sample: object]> {
  const bytes = await meter.perJob(count, async () => {
    await contestant.start();
    await contestant.setLooks(never);
    await contestant.submit('m-bench-submission', count, (index) =>
      payload(index, 600, { ...shortestPoll, deadlineMs: 20 * hour }),
    );
    await contestant.lookUpsReach(manyPolls * count);
    await contestant.stop();
  });
  const key = contestant.key('knowhere.poll', 'm-bench-submission-7');
  const [record, log] = [
    await arena.redis.hget(key, hashFields.record),
    await arena.redis.lrange(`${key}:logs`, 0, -1),
  ];
  await contestant.wipe();
  return [bytes, { record, log }];
}

/** Waits that leave a submission alone after its acceptance. */
const waitForHours: Poll = { initialDelayMs: hour, factor: 1, maxDelayMs: hour, deadlineMs: 20 * hour };
/** 60 ms, 600 ms, 6 s, and then a minute in which memory can be measured. */
const afterThreePolls: Poll = { initialDelayMs: 60, factor: 10, maxDelayMs: hour, deadlineMs: 20 * hour };

async function fill(contestant: Contestant, ids: string, count: number, size: number, poll: Poll): Promise<void> {
  await contestant.start();
  await contestant.setLooks(never);
  await contestant.submit(`${ids}-bench-submission`, count, (index) => payload(index, size, poll));
  await contestant.waitingReach(count);
  // Who asks no vendor can not be counted there; its third poll is due at a known time.
  if (contestant.kind === 'bullmq') await sleep(poll.initialDelayMs < hour ? thirdPollMs(poll) + 500 : 0);
  else if (poll.initialDelayMs < hour) await contestant.lookUpsReach(3 * count);
  await contestant.waitingReach(count);
}

/** When the third poll is over at the latest, if nothing is in the way: the three waits with their jitter. */
function thirdPollMs({ initialDelayMs, factor }: Poll): number {
  return initialDelayMs * (1 + factor + factor ** 2) * 1.1;
}

async function addBare(arena: Arena, count: number, size: number): Promise<void> {
  const queue = new Queue('knowhere.poll', {
    connection: arena.redis,
    prefix: '{jobferry}',
    streams: { events: { maxLen: 1_000 } },
  });
  for (let from = 0; from < count; from += 500) {
    await queue.addBulk(
      Array.from({ length: Math.min(500, count - from) }, (_, offset) => ({
        name: 'parse',
        data: payload(from + offset, size, afterThreePolls),
        opts: { jobId: `p-bench-submission-${from + offset}`, delay: hour },
      })),
    );
  }
  await queue.close();
}

class Meter {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  async perJob(count: number, act: () => Promise<void>): Promise<number> {
    const before = await this.#used();
    await act();
    return ((await this.#used()) - before) / count;
  }

  /** Memory in use, less event streams and what connected clients take. */
  async #used(): Promise<number> {
    // Unlinked keys are freed, buffers of clients that left are given back, and tables are resized in the background.
    await sleep(500);
    const info = await this.#arena.info('memory');
    const streams = await streamBytes(this.#arena);
    return Number(info.get('used_memory')) - Number(info.get('mem_clients_normal')) - streams;
  }
}

async function streamBytes({ redis }: Arena): Promise<number> {
  const keys = await redis.keys('*:events');
  const sizes = await Promise.all(keys.map((key) => redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')));
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0);
}

/** Which keys one submission has, and what each takes. */
async function look({ redis }: Arena, contestant: Contestant, ids: string) {
  const id = `${ids}-bench-submission-7`;
  const keys = [
    ...(await redis.keys(contestant.key('knowhere.submit', `${ids}-*`))),
    ...(await redis.keys(`${contestant.key('knowhere.poll', id)}*`)),
  ];
  const submitQueueKeys = keys.filter((key) => key.includes('.submit:')).length;
  const parts: Record<string, number> = {};
  for (const key of keys.filter((one) => one.includes('.poll:') && /-7(:|$)/.test(one))) {
    const name = key.endsWith(':logs') ? 'log' : 'job';
    parts[name] = Number(await redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0'));
    if (name === 'job') {
      for (const [field, value] of Object.entries(await redis.hgetall(key))) parts[`job.${field}`] = value.length;
    } else {
      parts['log.lines'] = await redis.llen(key);
      parts['log.text'] = (await redis.lrange(key, 0, -1)).join('').length;
    }
  }
  return { submitQueueKeys, streamBytes: await streamBytes({ redis } as Arena), parts };
}
