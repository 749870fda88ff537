import { DelayedError, Queue, Worker, type Job } from 'bullmq';
import { Redis } from 'ioredis';
import { nextPollAt } from '../../src/core/poll-schedule.ts';
import type { SubmitData } from '../lib/payloads.ts';
import { serve } from '../lib/serve.ts';
import { countCommands, cpuSeconds, memoryAfterCollection, type WorkerStart } from '../lib/worker-life.ts';

/**
 * What somebody writes in an afternoon: the same moves between the same queues in plain BullMQ, with nothing saved,
 * checked or protected. With `isFetching` each submit and each poll is one plain `fetch`; without, nothing happens.
 */
const commands = process.env['BENCH_COUNT_COMMANDS'] === '1' ? countCommands() : undefined;
let close: (() => Promise<void>) | undefined;
let looksUntilDone = 3;

serve({
  async start(given: WorkerStart & { isFetching: boolean }) {
    const connection = new Redis(given.redisUrl, { maxRetriesPerRequest: null });
    const shared = { connection, prefix: given.prefix };
    const writing = { ...shared, streams: { events: { maxLen: 1_000 } } };
    const pollQueue = new Queue('knowhere.poll', writing);
    const results = new Queue('results', writing);
    const submitWorker = new Worker(
      'knowhere.submit',
      async (job: Job<SubmitData>) => {
        let vendorJobId = '';
        if (given.isFetching) {
          const response = await fetch(`${given.vendorUrl}/v1/jobs`, {
            method: 'POST',
            headers: { authorization: 'Bearer sk_bench', 'content-type': 'application/json' },
            body: JSON.stringify({
              source_type: job.data.input.sourceType,
              source_url: job.data.input.sourceUrl,
              data_id: job.id,
            }),
          });
          vendorJobId = ((await response.json()) as { job_id: string }).job_id;
        }
        await pollQueue.add(
          job.name,
          { ...job.data, vendorJobId },
          { jobId: job.id ?? '', delay: delayOf(job.data, 0) },
        );
      },
      { ...shared, concurrency: given.submitConcurrency, removeOnComplete: { count: 0 } },
    );
    const pollWorker = new Worker(
      'knowhere.poll',
      async (job: Job<SubmitData & { vendorJobId: string }>, token) => {
        let isDone = job.attemptsStarted >= looksUntilDone;
        if (given.isFetching) {
          const response = await fetch(`${given.vendorUrl}/v1/jobs/${job.data.vendorJobId}`, {
            headers: { authorization: 'Bearer sk_bench' },
          });
          isDone = ((await response.json()) as { status: string }).status === 'done';
        }
        if (!isDone) {
          await job.moveToDelayed(Date.now() + delayOf(job.data, job.attemptsStarted), token);
          throw new DelayedError();
        }
        const event = { id: `knowhere.${job.id}`, subject: job.id, data: { metadata: job.data.metadata } };
        await results.add('jobferry.submission.succeeded', event, { jobId: `knowhere.${job.id}` });
      },
      {
        ...shared,
        concurrency: given.pollConcurrency,
        maxStalledCount: 1_000_000,
        removeOnComplete: { age: 86_400 },
      },
    );
    await Promise.all([submitWorker.waitUntilReady(), pollWorker.waitUntilReady()]);
    close = async () => {
      await Promise.all([submitWorker.close(), pollWorker.close()]);
      await Promise.all([pollQueue.close(), results.close()]);
      connection.disconnect();
    };
  },
  looks: (given: number) => {
    looksUntilDone = given;
  },
  commands: () => commands?.take() ?? {},
  memory: memoryAfterCollection,
  cpu: cpuSeconds,
  async stop() {
    await close?.();
    close = undefined;
  },
});

/** The same waits as jobferry's, jitter and all. */
function delayOf({ poll }: SubmitData, polls: number): number {
  const now = Date.now();
  const deadlineAt = Number.MAX_SAFE_INTEGER;
  return nextPollAt({ options: poll, polls, now, deadlineAt, random: Math.random() }) - now;
}
