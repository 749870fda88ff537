import type { Settings } from '../config/load-config.ts';
import { requireRedis } from '../config/load-config.ts';
import { Producer, type Vendors } from '../producers/producer.ts';
import { adapters } from './vendor-modules.ts';
import { describeTarget } from './await-redis.ts';
import { noteRedisTrouble } from './report-error.ts';

/** A producer that knows every vendor by name only: the command line gets its types at run time. */
export function openProducer(config: Settings): Producer<Vendors> {
  const vendors: Vendors = Object.fromEntries(adapters.map((adapter) => [adapter.name, adapter]));
  const redis = requireRedis(config);
  const onError = (error: Error): void => noteRedisTrouble(describeTarget(redis), error);
  return new Producer({ vendors, redis, prefix: config.prefix, replyTo: config.replyTo, onError });
}
