import { redactValue } from '../core/redact.ts';
import { stageQueue } from '../queues/names.ts';
import type { RedisHealth } from '../queues/redis-health.ts';
import type { QueueFacts, QueueFactsReader } from './queue-facts.ts';
import type { RedisWatch } from './redis-watch.ts';
import { withTimeLimit } from './time-limit.ts';

export interface Readiness {
  ready: boolean;
  details: {
    status: 'ready' | 'redis does not answer' | 'redis is of no use' | 'workers are missing';
    redis: 'up' | 'down';
    /** The fault of Redis, in words. */
    reason?: string;
    /** Queues that have work but no worker. */
    withoutWorkers?: readonly string[];
    queues: readonly Omit<QueueFacts, 'counts'>[];
    accounts: readonly unknown[];
  };
}

/** Ready: Redis answers and accepts writes, and every vendor with submissions has workers for both queues. */
export async function readReadiness(
  watch: RedisWatch,
  health: RedisHealth,
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
  const reason = await redisTrouble(health);
  return {
    ready: reason === undefined && withoutWorkers.length === 0,
    details: {
      status: describeStatus(reason, withoutWorkers),
      redis: 'up',
      ...(reason === undefined ? {} : { reason }),
      ...(withoutWorkers.length === 0 ? {} : { withoutWorkers }),
      queues: read.value.map(({ counts: _counts, ...facts }) => facts),
      accounts: accounts.map((account) => redactValue(account)),
    },
  };
}

function describeStatus(reason: string | undefined, withoutWorkers: readonly string[]): Readiness['details']['status'] {
  if (reason !== undefined) return 'redis is of no use';
  return withoutWorkers.length === 0 ? 'ready' : 'workers are missing';
}

/** A board may run under a Redis user that can only read, which says nothing about the workers' user. */
async function redisTrouble(health: RedisHealth): Promise<string | undefined> {
  const trouble = await health.trouble();
  return trouble === undefined || /NOPERM|user executing the script/.test(trouble) ? undefined : trouble;
}

/** Both queues of a vendor count as one: what waits to be sent must be polled later. */
export function findQueuesWithoutWorkers(facts: readonly QueueFacts[], vendors: readonly string[]): string[] {
  return vendors.flatMap((vendor) => {
    const stages = [stageQueue(vendor, 'submit'), stageQueue(vendor, 'poll')];
    const queues = facts.filter((queue) => stages.includes(queue.name));
    const hasWork = queues.some((queue) => queue.waiting + queue.delayed + queue.active > 0);
    return hasWork ? queues.filter((queue) => queue.workers === 0).map((queue) => queue.name) : [];
  });
}
