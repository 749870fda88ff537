import assert from 'node:assert/strict';
import type { Outcome } from '../core/submission.ts';
import type { ResendSafety } from '../ports/vendor-adapter.ts';
import type { ConformanceDouble, Fault } from './double.ts';
import { goesOnBeside, tellsNoHarm, tellsOddErrors } from './error-cases.ts';
import { expectOutcome, expectPause, expectStrike, expectSubmits } from './expect.ts';
import { submitCases, type ConformanceCase, type SubmitCase } from './options.ts';
import type { Rig } from './rig.ts';
import { groupOf, notApplicable, type OperationUnderTest } from './under-test.ts';

/** Faults after which nobody knows whether the vendor took the submit; what it really did is in `isTaken`. */
const doubts: Partial<Record<SubmitCase, { isTaken: boolean }>> = {
  'cut-before': { isTaken: false },
  'cut-after': { isTaken: true },
  'server-error-after': { isTaken: true },
  unreadable: { isTaken: true },
  'huge-reply': { isTaken: true },
};

const titles: Record<SubmitCase, string> = {
  'happy-path': 'ends well',
  'refused-input': 'refuses an input with a field that it does not know, and sends nothing',
  'bad-request': 'is rejected for good by a 400',
  unauthorized: 'goes on after a 401 that passes',
  forbidden: 'goes on after a 403 that passes',
  'rate-limited': 'waits as long as a 429 asks',
  'rate-limited-without-hint': 'is sent again after a 429 without a hint',
  'rate-limited-at-once': 'goes slower at each 429 that asks for no wait',
  unavailable: 'keeps to the time that a 503 names, before it did anything',
  'cut-before': 'a socket that was cut before the vendor took it',
  'cut-after': 'a socket that was cut after the vendor took it',
  'server-error-after': 'a 500 after the vendor took it',
  unreadable: 'an unreadable 2xx',
  'slow-reply': 'is sent once, however slow the answer',
  'huge-reply': 'a huge 2xx',
  'odd-errors': 'is rejected with a reason, whatever the shape of the error',
  'hostile-error': 'lets nothing of a hostile error out: no key, no control characters, no endless text',
  'others-forbidden': 'work that was taken goes on while others are refused with 403',
  'others-rate-limited': 'work that was taken goes on while others are refused with 429',
};

/** All that can happen to the request that starts work. */
export function casesOfOperation<Double extends ConformanceDouble>(
  test: OperationUnderTest<Double>,
): ConformanceCase[] {
  const { cases, operation } = test;
  const group = groupOf(test);
  return submitCases.map((id): ConformanceCase => {
    const reason = cases.notApplicable?.[id] ?? (needsSubmit(id) ? whyNoSubmit(test) : undefined);
    if (reason !== undefined) return notApplicable(group, titles[id], reason);
    const declared = typeof operation.resend === 'function' ? 'by input' : operation.resend;
    const because = cases.afterDoubt === undefined ? '' : `; here: ${cases.afterDoubt.because}`;
    const title = id in doubts ? `resend ${declared}${because}: ${titles[id]}` : titles[id];
    return { group, name: title, run: () => test.onRig((rig) => run(test, id, rig)) };
  });
}

function needsSubmit(id: SubmitCase): boolean {
  return id !== 'happy-path' && id !== 'refused-input';
}

function whyNoSubmit<Double extends ConformanceDouble>({ operation }: OperationUnderTest<Double>): string | undefined {
  return operation.adopts === true ? 'it makes no request of its own' : undefined;
}

async function run<Double extends ConformanceDouble>(
  test: OperationUnderTest<Double>,
  id: SubmitCase,
  rig: Rig<Double>,
): Promise<void> {
  const { name, operation, cases } = test;
  const input = await cases.input(rig.given());
  const submits = cases.submits ?? 1;
  if (operation.adopts === true) {
    const isKnown = id === 'happy-path';
    const submissionId = await rig.submit(name, isKnown ? input : withUnknownField(input));
    await expectOutcome(rig, submissionId, isKnown ? 'succeeded' : 'rejected');
    return;
  }
  const route = cases.submit;
  assert.ok(route !== undefined, `name the request that starts ${name} in \`submit\``);
  const start = async (given: unknown, fault?: Fault): Promise<string> => {
    if (fault !== undefined) await rig.double.arm(fault, { operation: name, at: 'submit', route, times: 1 });
    return rig.submit(name, given);
  };
  const ends = async (submissionId: string, outcome: Outcome, sent: number): Promise<void> => {
    const event = await expectOutcome(rig, submissionId, outcome);
    if (id !== 'happy-path' && id !== 'refused-input') expectStrike(rig, id, route);
    await expectSubmits(rig, submissionId, route, sent);
    const made = await cases.made?.(rig.double);
    if (made !== undefined && (made > 1 || (made === 0 && outcome === 'succeeded'))) {
      assert.fail(`the vendor made it ${made} times, wanted once\n${await rig.story(submissionId)}`);
    }
    if (outcome === 'succeeded') {
      assert.ok(
        event.data.vendorJobs.every((job) => job.outcome === 'succeeded'),
        'succeeded with a vendor job that did not',
      );
    } else {
      assert.ok(event.data.error !== null, `ended as ${outcome} without an error`);
    }
  };

  switch (id) {
    case 'happy-path':
      return ends(await start(input), 'succeeded', submits);
    case 'refused-input': {
      const submissionId = await start(withUnknownField(input));
      await ends(submissionId, 'rejected', 0);
      const { error } = (await rig.event(submissionId)).data;
      assert.equal(error?.code, 'invalid_submission');
      return;
    }
    case 'bad-request':
      return ends(await start(input, id), 'rejected', 1);
    case 'unauthorized':
    case 'forbidden':
    case 'rate-limited-without-hint':
      return ends(await start(input, id), 'succeeded', submits + 1);
    case 'rate-limited-at-once': {
      await rig.double.arm(id, { operation: name, at: 'submit', route, times: 4 });
      await ends(await start(input), 'succeeded', submits + 4);
      const times = rig.requestsTo(route).map(({ at }) => at);
      const tookMs = (times[4] ?? 0) - (times[0] ?? 0);
      return assert.ok(tookMs >= 1_000, `${route} was sent five times within ${tookMs} ms, four of them refused`);
    }
    case 'odd-errors':
      return tellsOddErrors(test, rig, route);
    case 'hostile-error':
      return tellsNoHarm(test, rig, route);
    case 'others-forbidden':
      return goesOnBeside(test, rig, 'forbidden', route);
    case 'others-rate-limited':
      return goesOnBeside(test, rig, 'rate-limited-for-long', route);
    case 'rate-limited':
      await ends(await start(input, id), 'succeeded', submits + 1);
      return expectPause(rig, route, 1_000);
    case 'unavailable': {
      const submissionId = await start(input, id);
      const { outcome } = (await rig.event(submissionId)).data;
      // Whether such a 503 comes before anything was done is the vendor's to document, and the adapter's to know.
      const isSentAgain = outcome === 'succeeded';
      const inDoubt = cases.afterDoubt?.outcome ?? afterDoubt(safetyOf(test, rig, input), false, submits).outcome;
      await ends(submissionId, isSentAgain ? 'succeeded' : inDoubt, isSentAgain ? submits + 1 : 1);
      return isSentAgain ? expectPause(rig, route, 2_000) : undefined;
    }
    case 'slow-reply':
      return ends(await start(input, id), 'succeeded', submits);
    case 'cut-before':
    case 'cut-after':
    case 'server-error-after':
    case 'unreadable':
    case 'huge-reply': {
      const expected =
        cases.afterDoubt ?? afterDoubt(safetyOf(test, rig, input), doubts[id]?.isTaken === true, submits);
      return ends(await start(input, id), expected.outcome, expected.submits);
    }
  }
}

/**
 * What must become of a submit whose answer is lost, by what the adapter declares. It can not be had by declaring
 * less: `none` must show as unconfirmed, and `safe` must really repeat and end well.
 */
function afterDoubt(safety: ResendSafety, isTaken: boolean, submits: number): { outcome: Outcome; submits: number } {
  switch (safety) {
    case 'lookup':
      return { outcome: 'succeeded', submits: isTaken ? submits : submits + 1 };
    case 'safe':
      return { outcome: 'succeeded', submits: submits + 1 };
    case 'none':
      return { outcome: 'unconfirmed', submits: 1 };
  }
}

function safetyOf<Double extends ConformanceDouble>(
  { operation, name }: OperationUnderTest<Double>,
  rig: Rig<Double>,
  input: unknown,
): ResendSafety {
  if (typeof operation.resend !== 'function') return operation.resend;
  const parsed = operation.input.safeParse(input);
  assert.ok(parsed.success, `the input of the case does not fit ${name}: ${parsed.error?.message ?? ''}`);
  return operation.resend(parsed.data, rig.config.vendors[0]?.accounts[0]?.account);
}

function withUnknownField(input: unknown): unknown {
  return { ...(input as object), fieldOfNoSchema: true };
}
