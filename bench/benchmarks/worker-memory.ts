import { Arena, concurrency } from '../lib/arena.ts';
import { payload } from '../lib/payloads.ts';
import type { Benchmark, Report, RunOptions } from '../lib/report.ts';
import { round, slope } from '../lib/stats.ts';
import { lineChart } from '../lib/svg.ts';

interface Sample {
  submissions: number;
  rssMiB: number;
  heapMiB: number;
}

const mebibyte = 1024 * 1024;
/** A leak of a single retained object per submission costs more than this. */
const toleratedHeapBytes = 24;

/** Whether a worker process grows with the submissions that it has carried. Fails when it does. */
export const workerMemory: Benchmark = {
  name: 'worker-memory',
  async run({ quick, compiled, say }: RunOptions): Promise<Report> {
    // Two look-ups: one that comes back to wait and one that ends it are all the ways that a submission takes.
    const settings = {
      submissions: quick ? 1_500 : 50_000,
      every: quick ? 250 : 5_000,
      atMostSeconds: 200,
      looks: 2,
      payloadBytes: 600,
      concurrency,
    };
    const arena = await Arena.open({ compiled, workerArgs: ['--expose-gc'] });
    try {
      const contestant = await arena.contestant('jobferry');
      await contestant.start();
      await contestant.setLooks(settings.looks);
      const samples: Sample[] = [];
      const end = performance.now() + settings.atMostSeconds * 1_000;
      // A busy machine may not come to the end within the bound; the slope is then taken over what it did.
      for (let done = settings.every; done <= settings.submissions && performance.now() < end; done += settings.every) {
        await contestant.submit(`m${done}`, settings.every, (index) => payload(index, settings.payloadBytes));
        await contestant.eventsReach(done);
        const { rss, heapUsed } = await contestant.worker.ask<{ rss: number; heapUsed: number }>('memory');
        const sample = { submissions: done, rssMiB: round(rss / mebibyte, 1), heapMiB: round(heapUsed / mebibyte, 2) };
        say(JSON.stringify(sample));
        samples.push(sample);
      }
      // The first samples hold what is compiled and cached once.
      const settled = samples.slice(Math.ceil(samples.length / 5));
      const of = (value: (sample: Sample) => number): { bytesPerSubmission: number; standardError: number } => {
        const line = slope(settled.map((sample) => [sample.submissions, value(sample) * mebibyte] as const));
        return { bytesPerSubmission: round(line.slope, 1), standardError: round(line.standardError, 1) };
      };
      const heap = of((sample) => sample.heapMiB);
      const rss = of((sample) => sample.rssMiB);
      // Too short a run proves nothing either way.
      const grows = !quick && heap.bytesPerSubmission - 2 * heap.standardError > toleratedHeapBytes;
      const last = samples.at(-1);
      return {
        headline: [
          `${grows ? 'GROWS: ' : ''}heap ${heap.bytesPerSubmission} ± ${heap.standardError} bytes per submission over ${samples.at(-1)?.submissions ?? 0}, resident size ${rss.bytesPerSubmission} ± ${rss.standardError}`,
          `${last?.heapMiB ?? 0} MiB heap and ${last?.rssMiB ?? 0} MiB resident at the end`,
        ],
        ok: !grows,
        redis: await arena.serverVersion(),
        settings: { ...settings, toleratedHeapBytes },
        numbers: { verdict: grows ? 'grows' : 'does not grow', heap, rss, samples },
        svg: lineChart({
          title: 'Memory of a worker process',
          subtitle: `Over ${(samples.at(-1)?.submissions ?? 0).toLocaleString('en-US')} submissions, sampled after a forced collection.`,
          xLabel: 'submissions carried',
          yLabel: 'MiB',
          lines: [
            { label: 'resident', color: 'b', points: samples.map((one) => [one.submissions, one.rssMiB] as const) },
            { label: 'heap in use', color: 'a', points: samples.map((one) => [one.submissions, one.heapMiB] as const) },
          ],
          notes: [`Slope of the heap: ${heap.bytesPerSubmission} ± ${heap.standardError} bytes per submission.`],
        }),
      };
    } finally {
      await arena.close();
    }
  },
};
