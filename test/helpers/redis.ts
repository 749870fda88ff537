import { randomUUID } from 'node:crypto';
import { inject } from 'vitest';

/** Where the Redis of this test run listens. */
export function redisUrl(): string {
  return inject('redisUrl');
}

/**
 * A BullMQ key prefix that no other test has. A prefix rather than a database of its own, because there are only
 * sixteen of those, and rather than a flush, because test files run at the same time.
 */
export function freshPrefix(): string {
  return `test-${randomUUID().slice(0, 13)}`;
}
