import { Gauge, Registry } from 'prom-client';
import type { QueueFactsReader } from './queue-facts.ts';
import type { RedisWatch } from './redis-watch.ts';
import { withTimeLimit } from './time-limit.ts';

/**
 * The board's metrics as Prometheus text. `bullmq_job_count` is the name in BullMQ's exporter, so dashboards for BullMQ
 * work. The exporter itself is not used, because it repeats its headers for every queue, which parsers refuse.
 */
export async function renderBoardMetrics(
  watch: RedisWatch,
  reader: QueueFactsReader,
  extraMetrics: (() => Promise<string>) | undefined,
): Promise<{ text: string; contentType: string }> {
  // One registry per answer: a queue that cannot be read must not keep its last numbers.
  const registry = new Registry();
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const up = gauge('jobferry_redis_up', 'Whether Redis answered within a second', []);
  const counts = gauge('bullmq_job_count', 'Number of jobs in the queue by state', ['queue', 'state']);
  const overdue = gauge('jobferry_queue_oldest_overdue_seconds', 'For how long the most overdue delayed job is due', [
    'queue',
  ]);
  const workers = gauge(
    'jobferry_queue_workers',
    'Workers connected to the queue; absent if Redis does not list its clients',
    ['queue'],
  );

  const read = await watch.whileUp(async () => reader.readAll());
  up.set(read === undefined ? 0 : 1);
  for (const facts of read?.value ?? []) {
    for (const [state, count] of Object.entries(facts.counts)) counts.set({ queue: facts.name, state }, count);
    overdue.set({ queue: facts.name }, facts.oldestDueMs / 1_000);
    if (facts.workers !== 'unknown') workers.set({ queue: facts.name }, facts.workers);
  }
  const own = await registry.metrics();
  const extra =
    extraMetrics === undefined
      ? ''
      : await withTimeLimit(extraMetrics(), 1_000, '# further metrics were not available\n');
  return { text: extra === '' ? own : `${own.trimEnd()}\n\n${extra.trimEnd()}\n`, contentType: registry.contentType };
}
