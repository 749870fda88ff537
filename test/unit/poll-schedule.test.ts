import { describe, expect, it } from 'vitest';
import { backoffMs, clamp, floorHint, maxTimerMs, nextPollAt } from '../../src/core/poll-schedule.ts';

const options = {
  initialDelayMs: 2_000,
  factor: 1.5,
  maxDelayMs: 30_000,
  deadlineMs: 1_800_000,
  submitWithinMs: 86_400_000,
};
const base = { options, polls: 0, now: 1_000_000, deadlineAt: 100_000_000, random: 0 };

/** A small generator with a seed, so that a failure can be repeated. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed >>> 0; ;) {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    yield state / 4_294_967_296;
  }
}

describe('when to look next', () => {
  it('grows by the factor up to the ceiling', () => {
    const delays = Array.from({ length: 10 }, (_, polls) => nextPollAt({ ...base, polls }) - base.now);
    expect(delays.slice(0, 3)).toEqual([2_000, 3_000, 4_500]);
    expect(delays.at(-1)).toBe(30_000);
  });

  it('spreads: longer below the ceiling, shorter at it, never above it', () => {
    expect(nextPollAt({ ...base, random: 0.999 }) - base.now).toBeGreaterThan(2_150);
    expect(nextPollAt({ ...base, polls: 50, random: 0.999 }) - base.now).toBeLessThan(27_100);
  });

  it('takes a hint for a floor, and jitter only lengthens it', () => {
    for (const random of [0, 0.5, 0.999]) {
      const at = nextPollAt({ ...base, hintMs: 60_000, random });
      expect(at - base.now).toBeGreaterThanOrEqual(60_000);
      expect(at - base.now).toBeLessThanOrEqual(66_000);
    }
  });

  it('comes back at the deadline, not after it', () => {
    expect(nextPollAt({ ...base, deadlineAt: base.now + 500 })).toBe(base.now + 500);
    expect(nextPollAt({ ...base, deadlineAt: base.now - 500 })).toBe(base.now);
  });

  it('comes back at the deadline although a hint reaches beyond it: then there is no look-up', () => {
    expect(nextPollAt({ ...base, deadlineAt: base.now + 500, hintMs: 3_600_000 })).toBe(base.now + 500);
  });

  it('is finite and bounded for every input, nonsense included', () => {
    const next = numbers(42);
    const draw = (): number => next.next().value as number;
    const nonsense = [0, -1, 1e9, 1e300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, undefined];
    for (let round = 0; round < 20_000; round += 1) {
      const deadlineAt = base.now + (draw() - 0.2) * 1e9;
      const hintMs = nonsense[Math.floor(draw() * nonsense.length)];
      const at = nextPollAt({
        options: {
          initialDelayMs: 1 + draw() * 1e6,
          factor: 1 + draw() * 9,
          maxDelayMs: 50 + draw() * 1e7,
        },
        polls: Math.floor(draw() * 1e6),
        now: base.now,
        deadlineAt,
        hintMs,
        random: draw(),
      });
      expect(Number.isFinite(at)).toBe(true);
      expect(at).toBeGreaterThanOrEqual(base.now);
      expect(at).toBeLessThanOrEqual(Math.max(base.now, deadlineAt));
    }
  });
});

describe('backoff', () => {
  it('doubles, spreads over its upper half and stays below its ceiling', () => {
    expect(backoffMs(1, 0)).toBe(500);
    expect(backoffMs(1, 0.999)).toBeLessThanOrEqual(1_000);
    expect(backoffMs(3, 0)).toBe(2_000);
    expect(backoffMs(1_000, 0.999)).toBeLessThanOrEqual(60_000);
  });
});

describe('clamping', () => {
  it('never lets NaN or infinity reach a timer', () => {
    expect(clamp(Number.NaN, 1, 10)).toBe(10);
    expect(clamp(Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY)).toBe(maxTimerMs);
    expect(clamp(-5, 1, 10)).toBe(1);
    expect(floorHint(Number.NaN, 0)).toBe(3_600_000);
    expect(floorHint(-1, 0)).toBe(0);
  });
});
