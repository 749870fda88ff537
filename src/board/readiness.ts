import { redactValue } from '../core/redact.ts';
import { stageQueue } from '../queues/names.ts';
import type { QueueFacts, QueueFactsReader } from './queue-facts.ts';
import type { RedisWatch } from './redis-watch.ts';
import { withTimeLimit } from './time-limit.ts';

export interface Readiness {
  ready: boolean;
  details: {
    status: 'ready' | 'redis does not answer' | 'workers are missing';
    redis: 'up' | 'down';
    /** Which queues have work and nobody to do it. */
    withoutWorkers?: readonly string[];
    queues: readonly Omit<QueueFacts, 'counts'>[];
    accounts: readonly unknown[];
  };
}

/** Whether submissions move: Redis answers, and every vendor that has some has workers for both stages. */
export async function readReadiness(
  watch: RedisWatch,
  reader: QueueFactsReader,
  vendors: readonly string[],
  accountStates: (() => Promise<readonly object[]>) | undefined,
): Promise<Readiness> {
  const read = await watch.whileUp(async () => reader.readAll());
  if (read === undefined) {
    return { ready: false, details: { status: 'redis does not answer', redis: 'down', queues: [], accounts: [] } };
  }
  const accounts = await withTimeLimit((async () => (await accountStates?.()) ?? [])(), 1_000, []);
  const withoutWorkers = findQueuesWithoutWorkers(read.value, vendors);
  return {
    ready: withoutWorkers.length === 0,
    details: {
      status: withoutWorkers.length === 0 ? 'ready' : 'workers are missing',
      redis: 'up',
      ...(withoutWorkers.length === 0 ? {} : { withoutWorkers }),
      queues: read.value.map(({ counts: _counts, ...facts }) => facts),
      accounts: accounts.map((account) => redactValue(account)),
    },
  };
}

/** Both stages of a vendor count as one: what waits to be sent will have to be polled. */
export function findQueuesWithoutWorkers(facts: readonly QueueFacts[], vendors: readonly string[]): string[] {
  return vendors.flatMap((vendor) => {
    const stages = [stageQueue(vendor, 'submit'), stageQueue(vendor, 'poll')];
    const queues = facts.filter((queue) => stages.includes(queue.name));
    const hasWork = queues.some((queue) => queue.waiting + queue.delayed + queue.active > 0);
    return hasWork ? queues.filter((queue) => queue.workers === 0).map((queue) => queue.name) : [];
  });
}
