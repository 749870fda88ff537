import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepTimeoutError, VendorRejectedError } from '../../src/core/errors.ts';
import { afterLook, lastLookOf, nextLookAt, type Look } from '../../src/core/looks.ts';
import { phases, receive, vendorJobStatuses, type SubmissionState, type VendorJob } from '../../src/core/submission.ts';
import {
  endingOf,
  endOfGivenUp,
  maxStepTimeouts,
  noteStepTimeout,
  onAbsence,
  onResend,
  progressOfSubmit,
} from '../../src/core/verdicts.ts';

/** Properties of the decisions, over thousands of records and facts in milliseconds. */

const time = fc.integer({ min: 1, max: 2_000_000_000 });
const span = fc.integer({ min: 1, max: 600_000 });
const unit = fc.double({ min: 0, max: 0.999_999, noNaN: true });
const options = fc.record({
  absenceMs: span,
  minAbsentLooks: fc.integer({ min: 1, max: 10 }),
  gapsMs: fc.array(fc.integer({ min: 100, max: 60_000 }), { minLength: 1, maxLength: 8 }),
  maxAttempts: fc.integer({ min: 1, max: 10 }),
});
const known = fc.record({ since: time, landsUntil: time, absent: fc.integer({ min: 1, max: 50 }) });

describe('a submit that look-ups do not find', () => {
  it('is absent only after enough look-ups, its span, and the time that it may take to land', () => {
    fc.assert(
      fc.property(known, time, options, (reconciliation, now, given) => {
        const verdict = onAbsence(reconciliation, now, given);
        if (verdict.kind === 'look-again') return verdict.inMs > 0;
        return (
          reconciliation.absent >= given.minAbsentLooks &&
          now - reconciliation.since >= given.absenceMs &&
          now >= reconciliation.landsUntil
        );
      }),
    );
  });

  it('is absent in the end, however the waits are set', () => {
    fc.assert(
      fc.property(known, options, (first, given) => {
        let now = first.since;
        for (let looks = 1; looks < 100_000; looks += 1) {
          const verdict = onAbsence({ ...first, absent: looks }, now, given);
          if (verdict.kind === 'absent') return true;
          now += Math.max(verdict.inMs, given.absenceMs, first.landsUntil - first.since);
        }
        return false;
      }),
      { numRuns: 50 },
    );
  });

  it('is sent again a bounded number of times where repeating is not safe, and later each time', () => {
    fc.assert(
      fc.property(options, unit, (given, random) => {
        const kinds = Array.from({ length: 20 }, (_, at) => onResend(at + 1, false, given, random).kind);
        expect(kinds.filter((kind) => kind === 'resend')).toHaveLength(given.maxAttempts - 1);
        expect(kinds.lastIndexOf('resend')).toBe(given.maxAttempts - 2);
      }),
    );
  });

  it('is sent again for as long as it takes where repeating has the same effect', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), options, unit, (doubts, given, random) => {
        const verdict = onResend(doubts, true, given, random);
        return verdict.kind === 'resend' && verdict.inMs > 0;
      }),
    );
  });
});

describe('what ends a submission early', () => {
  const states = fc.record({ phase: fc.constantFrom(...phases), deadlineAt: time, isCanceled: fc.boolean() });

  it('is a cancel at any time, else nothing before the deadline', () => {
    fc.assert(
      fc.property(states, time, ({ phase, deadlineAt, isCanceled }, now) => {
        const state: SubmissionState = { ...receive('a', 'u', 0, deadlineAt), phase };
        if (isCanceled) state.cancelRequestedAt = 1;
        const ending = endingOf(state, now);
        if (isCanceled) return ending === 'canceled';
        return now < deadlineAt ? ending === 'none' : true;
      }),
    );
  });

  it('is never what may have reached the vendor and was not looked up', () => {
    for (const phase of ['intended', 'reconciling', 'polling', 'confirming'] as const)
      expect(endingOf({ ...receive('a', 'u', 0, 1), phase }, 2)).toBe('none');
  });
});

const looks = fc.oneof(
  fc.record({
    kind: fc.constant('report' as const),
    report: fc.record({ status: fc.constantFrom(...vendorJobStatuses) }),
  }),
  fc.constant<Look>({ kind: 'missing', message: 'not there' }),
  fc.constant<Look>({ kind: 'refused', error: new VendorRejectedError('no'), passedAt: undefined }),
  fc.constant<Look>({ kind: 'failed', error: new Error('broken') }),
  fc.constant<Look>({ kind: 'not-admitted', until: 1, why: { code: 'vendor_throttled', message: 'later' } }),
);

describe('a look-up', () => {
  const open: VendorJob = { id: 'a', kind: 'thing', status: 'running' };

  it('ends a vendor job by its own word, or after its grace alone', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(looks, fc.integer({ min: 0, max: 5_000 })), { maxLength: 20 }), (story) => {
        const graceMs = 10_000;
        let now = 1_000;
        let job = open;
        let quietSince: number | undefined;
        for (const [look, passedMs] of story) {
          now += passedMs;
          job = afterLook(job, look, { now, graceMs, isAnswering: true });
          if (look.kind === 'report') quietSince = undefined;
          else if (look.kind === 'missing' || look.kind === 'refused') quietSince ??= now;
          if (job.outcome === undefined) continue;
          const isByReport = look.kind === 'report' && !['pending', 'running'].includes(look.report.status);
          return isByReport || (quietSince !== undefined && now - quietSince >= graceMs);
        }
        return true;
      }),
    );
  });

  it('gives every bad end a reason', () => {
    fc.assert(
      fc.property(looks, (look) => {
        const since = { ...open, missingSince: 0, refused: { since: 0, error: { code: 'x', message: 'y' } } };
        const { outcome, error } = afterLook(since, look, { now: 99_999, graceMs: 1, isAnswering: true });
        return outcome === undefined || outcome === 'succeeded' || (error?.message ?? '') !== '';
      }),
    );
  });

  it('changes nothing of the record that it was given', () => {
    fc.assert(
      fc.property(looks, (look) => {
        const job = Object.freeze({ ...open, missingSince: 5 });
        afterLook(job, look, { now: 99_999, graceMs: 1, isAnswering: false });
        expect(job).toEqual({ ...open, missingSince: 5 });
      }),
    );
  });

  it('at the deadline lets the submission end only when no vendor job is unanswered', () => {
    fc.assert(
      fc.property(fc.array(looks, { minLength: 1, maxLength: 6 }), (all) => {
        const hasUnanswered = all.some((look) => look.kind === 'not-admitted');
        return lastLookOf(all) === 'unanswered' ? true : !hasUnanswered;
      }),
    );
  });

  it('is followed by the next one in time: not in the past, not before a hint, not after the bound', () => {
    const poll = { initialDelayMs: 1_000, factor: 1.5, maxDelayMs: 30_000, deadlineMs: 1, submitWithinMs: 1 };
    fc.assert(
      fc.property(
        time,
        fc.option(fc.integer({ min: 0, max: 3_600_000 }), { nil: undefined }),
        fc.integer({ min: 0, max: 500 }),
        time,
        unit,
        (now, hintMs, polls, notBefore, random) => {
          const state = { ...receive('a', 'u', 0, now + 7_200_000), polls, jobs: [{ ...open, missingSince: now - 5 }] };
          const notLaterThan = now + 7_200_000;
          const given = { state, options: poll, now, notLaterThan, hintMs, notBefore, graceMs: 100, random };
          const at = nextLookAt(given);
          return at > now && at <= notLaterThan && (hintMs === undefined || at >= now + Math.min(hintMs, 3_600_000));
        },
      ),
    );
  });
});

describe('a submission that can be carried no further', () => {
  it('is never taken for unsent where a submit may be out', () => {
    fc.assert(
      fc.property(fc.constantFrom(...phases), fc.boolean(), fc.boolean(), (phase, isSubmitted, isSafe) => {
        const state: SubmissionState = { ...receive('a', 'u', 0, 1), phase };
        if (isSubmitted) state.submittedAt = 1;
        const progress = progressOfSubmit(state, () => isSafe);
        if (phase === 'intended' || phase === 'reconciling') return progress === 'in-doubt';
        return (progress === 'unsent') === (phase === 'received' && !isSubmitted);
      }),
    );
  });

  it('ends as what its requests came to, and goes on where one was accepted', () => {
    const given = (code: string): VendorJob => {
      return { id: code, kind: '', status: 'failed', error: { code, message: code } };
    };
    expect(endOfGivenUp([given('vendor_rejected')])?.outcome).toBe('rejected');
    expect(endOfGivenUp([given('vendor_rejected'), given('not_submitted_in_time')])?.outcome).toBe('expired');
    expect(endOfGivenUp([given('not_submitted_in_time'), given('submit_ambiguous')])?.outcome).toBe('unconfirmed');
    expect(endOfGivenUp([given('vendor_rejected'), { id: 'a', kind: 'thing', status: 'pending' }])).toBeUndefined();
    expect(endOfGivenUp([])).toBeUndefined();
  });

  it('has had three steps in a row that never ended', () => {
    const state = receive('a', 'u', 0, 1);
    const stuck = new StepTimeoutError('acme render: submit', '60 s');
    const counted = Array.from({ length: maxStepTimeouts }, () => noteStepTimeout(state, stuck));
    expect(counted).toEqual([false, false, true]);
    expect(noteStepTimeout(state, new Error('another'))).toBe(false);
    expect(state.stepTimeouts).toBeUndefined();
  });
});
