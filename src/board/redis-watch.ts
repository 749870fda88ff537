import type { RedisConnection } from '../queues/connection.ts';
import { withTimeLimit } from './time-limit.ts';

/**
 * Checks whether Redis answers. The board's connection keeps commands until Redis is back, so a command that is sent
 * during an outage would wait, and its caller with it. Check before such a command, and while it waits.
 */
export class RedisWatch {
  readonly #connection: RedisConnection;
  #pending: Promise<boolean> | undefined;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  /** @returns whether a PING was answered within `limitMs`. */
  async isUp(limitMs = 1_000): Promise<boolean> {
    // One PING at a time: during an outage each would stay in the connection's queue.
    this.#pending ??= this.#connection
      .ping()
      .then(
        () => true,
        () => false,
      )
      .finally(() => (this.#pending = undefined));
    return withTimeLimit(this.#pending, limitMs, false);
  }

  /**
   * Runs a task that uses Redis, and abandons it if Redis stops answering meanwhile.
   * @returns undefined if Redis is unreachable.
   */
  async whileUp<Value>(task: () => Promise<Value>): Promise<{ value: Value } | undefined> {
    if (!(await this.isUp())) return undefined;
    const running = task().then((value) => ({ value }));
    // The abandoned task may still fail later.
    running.catch(() => undefined);
    for (;;) {
      const result = await Promise.race([
        running,
        withTimeLimit(new Promise<never>(() => undefined), 800, 'slow' as const),
      ]);
      if (result !== 'slow') return result;
      if (!(await this.isUp(400))) return undefined;
    }
  }
}
