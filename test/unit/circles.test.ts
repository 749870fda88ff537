import { describe, expect, it } from 'vitest';
import { receive, type ErrorInfo, type Outcome, type SubmissionState } from '../../src/core/submission.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type { Operation } from '../../src/ports/vendor-adapter.ts';
import { takeTurn } from '../../src/workers/take-turn.ts';
import type { Turn } from '../../src/workers/turn.ts';

interface Taken {
  steps: number;
  outcome: Outcome | undefined;
  error: ErrorInfo | null | undefined;
}

/** A turn whose submission begins at this point, with an operation that nothing checks. */
async function take(state: Partial<SubmissionState>, operation: Partial<Operation>): Promise<Taken> {
  const taken: Taken = { steps: 0, outcome: undefined, error: undefined };
  const counted: Partial<Operation> = Object.fromEntries(
    Object.entries(operation).map(([name, value]) => {
      if (typeof value !== 'function') return [name, value];
      const count = (...given: unknown[]): unknown => {
        taken.steps += 1;
        return (value as (...given: unknown[]) => unknown)(...given);
      };
      return [name, count];
    }),
  );
  const gate = {
    admit: async () => ({ admitted: true }),
    settle: async () => undefined,
    abandon: async () => undefined,
  };
  const turn = {
    state: { ...receive('s-1', 'use', 0, 60_000), ...state },
    stage: 'poll',
    signal: new AbortController().signal,
    logger: silentLogger,
    request: {
      operation: counted,
      input: {},
      poll: { maxDelayMs: 1_000 },
      account: { account: {}, gate, http: { forScope: () => undefined } },
    },
    engine: {
      store: { leftFor: async () => undefined },
      checkpoint: () => undefined,
      reconcile: { gapsMs: [1], absenceMs: 0, minAbsentLooks: 1, inFlightMs: 0, maxAttempts: 5 },
    },
    now: () => 1,
    random: () => 0,
    elapsed: () => '',
    context: () => ({ part: turn.state.part ?? 0 }),
    save: async () => undefined,
    mergeJobs: () => undefined,
    async settle(outcome: Outcome, error: ErrorInfo | null) {
      Object.assign(taken, { outcome, error });
      return { kind: 'settled' as const };
    },
  };
  await takeTurn(turn as unknown as Turn);
  return taken;
}

describe('a turn that goes in circles', () => {
  it('without getting anywhere is ended after fifty rounds', async () => {
    const intent = { attempt: 1, at: 0, fingerprint: '0' };
    const taken = await take(
      { phase: 'reconciling', intent, reconciliation: { since: 0, landsUntil: 0, absent: 0 } },
      { resend: 'lookup', reconcile: async () => ({ found: 'perhaps' }) as never },
    );
    expect(taken).toMatchObject({ outcome: 'unconfirmed', error: { code: 'internal_error' } });
    expect(taken.error?.message).toContain('circles');
    expect(taken.steps).toBe(51);
  });

  it('of requests without an end is ended after ten thousand of them', async () => {
    const taken = await take({}, { adopts: true, submit: async () => ({ jobs: [], more: true }) });
    expect(taken).toMatchObject({ outcome: 'failed', error: { code: 'internal_error' } });
    expect(taken.steps).toBe(10_000);
  });

  it('is not one that makes thousands of requests and comes to an end', async () => {
    const submit: Operation['submit'] = async ({ part }) => ({
      jobs: [{ id: `job-${part}`, kind: '', status: 'succeeded' }],
      more: part < 1_999,
    });
    const taken = await take({}, { adopts: true, submit, confirm: async () => ({ kind: 'not-yet', reason: 'later' }) });
    expect(taken.outcome).toBeUndefined();
    expect(taken.steps).toBe(2_001);
  });
});
