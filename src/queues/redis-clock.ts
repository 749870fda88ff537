import type { Clock } from '../ports/clock.ts';
import type { RedisConnection } from './connection.ts';
import { sharedKey } from './keys.ts';

/** A round trip this short needs no second try. */
const goodRoundTripMs = 5;
const maxTries = 4;
/** Elapsed time and Redis' time differ by less than this without either being wrong, ms. */
const toleranceMs = 1;

/** The process's own two clocks. */
export interface OwnTime {
  /** Epoch ms; can be set at any time. */
  wall(): number;
  /** Only ever runs forward. */
  monotonic(): number;
}

const ownTime: OwnTime = { wall: () => Date.now(), monotonic: () => performance.now() };

/**
 * Redis' time, which all workers share. It is measured now and then; in between it runs with the process's elapsed time,
 * so that setting the machine's own clock changes nothing.
 */
export class RedisClock implements Clock {
  readonly #redis: RedisConnection & ClockCommands;
  readonly #key: string;
  readonly #own: OwnTime;
  /** Redis' time when `#measuredAt` was read from the monotonic clock. */
  #base: number;
  #measuredAt: number;
  #isMeasured = false;
  #measuring: Promise<void> | undefined;

  constructor(redis: RedisConnection, prefix: string, own: OwnTime = ownTime) {
    redis.defineCommand('jobferryTime', { numberOfKeys: 1, lua: `return redis.call('TIME')` });
    this.#redis = redis as RedisConnection & ClockCommands;
    // The nodes of a cluster have a clock each: the one that holds our keys is asked.
    this.#key = sharedKey(prefix, 'clock');
    this.#own = own;
    this.#base = own.wall();
    this.#measuredAt = own.monotonic();
  }

  now(): number {
    return Math.floor(this.#base + this.#own.monotonic() - this.#measuredAt);
  }

  random(): number {
    return Math.random();
  }

  /** By how much the process's own clock is ahead of Redis', ms; negative when it is behind. */
  offsetMs(): number {
    return Math.round(this.#own.wall() - this.now());
  }

  /** Asks Redis for its time, or waits for the question that is under way. */
  async measure(): Promise<void> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = undefined;
    });
    await this.#measuring;
  }

  async #measure(): Promise<void> {
    let best: { redis: number; at: number; roundTripMs: number } | undefined;
    for (let tries = 0; tries < maxTries && (best?.roundTripMs ?? Infinity) > goodRoundTripMs; tries += 1) {
      const askedAt = this.#own.monotonic();
      const [seconds, microseconds] = await this.#redis.jobferryTime(this.#key);
      const roundTripMs = this.#own.monotonic() - askedAt;
      if (best !== undefined && best.roundTripMs <= roundTripMs) continue;
      const redis = Number(seconds) * 1_000 + Number(microseconds) / 1_000;
      best = { redis, at: askedAt + roundTripMs / 2, roundTripMs };
    }
    if (best === undefined) return;
    const error = this.#base + best.at - this.#measuredAt - best.redis;
    // Redis' time was right at some moment of the round trip. What such an answer cannot prove wrong stays, and what it
    // proves wrong changes by no more than that: time must not wobble with the network.
    const doubtMs = best.roundTripMs / 2 + toleranceMs;
    if (this.#isMeasured && Math.abs(error) <= doubtMs) return;
    this.#base = best.redis + (this.#isMeasured ? Math.sign(error) * doubtMs : 0);
    this.#measuredAt = best.at;
    this.#isMeasured = true;
  }
}

interface ClockCommands {
  jobferryTime(key: string): Promise<[seconds: string | number, microseconds: string | number]>;
}
