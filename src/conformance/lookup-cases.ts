import assert from 'node:assert/strict';
import type { Outcome } from '../core/submission.ts';
import type { Lookup } from '../ports/vendor-adapter.ts';
import type { ConformanceDouble, Fault } from './double.ts';
import { expectOutcome, expectPause, expectStrike } from './expect.ts';
import {
  lookupCases,
  type ConformanceCase,
  type LookupCase,
  type LookupCases,
  type OperationCases,
} from './options.ts';
import type { Rig } from './rig.ts';
import { notApplicable } from './under-test.ts';

export interface LookupUnderTest<Double extends ConformanceDouble> {
  name: string;
  lookup: Lookup;
  cases: LookupCases;
  /** The cases of the operation whose vendor jobs are looked up. */
  via: OperationCases<Double>;
  onRig(run: (rig: Rig<Double>) => Promise<void>): Promise<void>;
}

const titles: Record<LookupCase, string> = {
  unauthorized: 'a 401 that passes ends nothing',
  'rate-limited': 'waits as long as a 429 asks',
  'rate-limited-without-hint': 'a 429 without a hint ends nothing',
  'server-error': 'a 500, twice, ends nothing',
  'unavailable-for-long': 'a 503 that names a time past the deadline does not delay the end',
  'cut-before': 'a cut socket, twice, ends nothing',
  unreadable: 'an unreadable 2xx, twice, ends nothing',
  'huge-reply': 'a huge 2xx ends nothing',
  'slow-reply': 'a slow reply ends nothing',
  empty: 'a reply about no job at all, twice, is not terminal',
  'unknown-status': 'an unknown status word is not terminal',
  gone: 'a vendor job that stays unknown is lost after its grace',
  partial: 'a row that is missing, twice, is not terminal',
  'duplicate-rows': 'rows that come twice',
  'reordered-rows': 'rows in another order belong to whom they name',
  poison: 'one id that spoils its batch holds up no other submission',
  refused: 'a vendor job that is refused while others are told of ends badly after its grace',
  'odd-word': 'a null in place of the status word, twice, is not terminal',
  'other-case': 'status words in the other case are read',
  'empty-error': 'an empty object in place of an error is none',
  'text-error': 'an error that is a plain text is told',
  'shared-job': 'two submissions that the vendor gives one job both end, each told once',
};

/** What only a batch can do wrong. */
const ofBatches: ReadonlySet<LookupCase> = new Set(['partial', 'duplicate-rows', 'reordered-rows', 'poison']);

/** How often a fault strikes before the vendor is well again. */
const strikes: Partial<Record<LookupCase, number | 'always'>> = {
  'server-error': 2,
  'cut-before': 2,
  unreadable: 2,
  empty: 2,
  partial: 2,
  'unknown-status': 2,
  'odd-word': 2,
  'other-case': 'always',
  'empty-error': 'always',
  gone: 'always',
  'duplicate-rows': 'always',
  'reordered-rows': 'always',
};

/**
 * Time to learn the ids of vendor jobs before the first look-up; and, just below the ceiling, no room for jitter, so
 * that look-ups of several submissions fall due together and share a request.
 */
const unhurried = { initialDelayMs: 899, factor: 1, maxDelayMs: 900 };

/** All that can happen to the request that asks how vendor jobs stand. None of it may end one wrongly. */
export function casesOfLookup<Double extends ConformanceDouble>(test: LookupUnderTest<Double>): ConformanceCase[] {
  const { name, cases, lookup } = test;
  const group = `look-up ${name}`;
  const ends = Object.entries(cases.ends).map(([word, outcome]): ConformanceCase => {
    const title = `${word} ends the submission as ${outcome}`;
    return { group, name: title, run: () => test.onRig((rig) => endsAs(test, rig, word, outcome)) };
  });
  const isSingle = lookup.maxBatch === 1;
  const others = lookupCases.map((id): ConformanceCase => {
    const reason =
      cases.notApplicable?.[id] ??
      (isSingle && ofBatches.has(id) ? 'a request asks for one vendor job only' : undefined);
    if (reason !== undefined) return notApplicable(group, titles[id], reason);
    return { group, name: titles[id], run: () => test.onRig((rig) => run(test, id, rig)) };
  });
  return [...ends, ...others];
}

async function endsAs<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
  word: string,
  outcome: Outcome,
): Promise<void> {
  await arm(test, rig, 'ends-as', { times: 'always', argument: word });
  const event = await expectOutcome(rig, await submit(test, rig), outcome);
  if (outcome === 'succeeded') return;
  expectStrike(rig, 'ends-as', test.cases.route);
  assert.ok(event.data.error !== null, `ended as ${outcome} without an error`);
  const bad = event.data.vendorJobs.filter((job) => job.outcome !== 'succeeded');
  assert.ok(bad.length > 0, 'no vendor job tells of the bad end');
  for (const job of bad) assert.ok(job.error !== null, `vendor job ${job.id} ended badly without an error`);
}

async function run<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  id: LookupCase,
  rig: Rig<Double>,
): Promise<void> {
  if (id === 'reordered-rows') return keepsRowsApart(test, rig);
  if (id === 'poison') return isolatesPoison(test, rig);
  if (id === 'refused') return endsRefused(test, rig);
  if (id === 'unavailable-for-long') return endsInTime(test, rig);
  if (id === 'text-error') return tellsOfError(test, rig);
  if (id === 'shared-job') return sharesJob(test, rig);
  await arm(test, rig, id, { times: strikes[id] ?? 1 });
  const count = ofBatches.has(id) ? 3 : 1;
  const ids = await Promise.all(Array.from({ length: count }, () => submit(test, rig)));
  for (const one of ids) await expectOutcome(rig, one, id === 'gone' ? (test.cases.gone ?? 'lost') : 'succeeded');
  expectStrike(rig, id, test.cases.route);
  if (id === 'rate-limited') expectPause(rig, test.cases.route, 1_000);
  if (id !== 'gone') await startedOnce(test, rig, count);
}

/** Rows in the wrong order, one of them of another end: who reads them by position mixes them up. */
async function keepsRowsApart<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const bad = Object.entries(test.cases.ends).find(([, outcome]) => outcome !== 'succeeded');
  await arm(test, rig, 'reordered-rows', { times: 'always' });
  const ids = await Promise.all([1, 2, 3].map(() => submit(test, rig, unhurried)));
  const [first = '', ...others] = ids;
  if (bad !== undefined) {
    for (const job of await rig.vendorJobIds(first)) {
      await arm(test, rig, 'ends-as', { times: 'always', argument: bad[0], job });
    }
  }
  await expectOutcome(rig, first, bad?.[1] ?? 'succeeded');
  for (const one of others) await expectOutcome(rig, one, 'succeeded');
  expectStrike(rig, 'reordered-rows', test.cases.route);
}

async function isolatesPoison<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const expected = test.cases.poisoned ?? test.cases.gone ?? 'lost';
  const until = expected === 'expired' ? { deadlineMs: 6_000 } : {};
  const poisoned = await submit(test, rig, { ...unhurried, ...until });
  const others = await Promise.all([1, 2, 3].map(() => submit(test, rig, unhurried)));
  const [job = ''] = await rig.vendorJobIds(poisoned);
  await arm(test, rig, 'poison', { times: 'always', job });
  for (const one of others) await expectOutcome(rig, one, 'succeeded');
  await expectOutcome(rig, poisoned, expected);
  expectStrike(rig, 'poison', test.cases.route);
}

/** A vendor job of another key, for example: polling it until the deadline is pointless, and the others must go on. */
async function endsRefused<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const expected = test.cases.refused ?? 'failed';
  const refused = await submit(test, rig, unhurried);
  const others = await Promise.all([1, 2, 3].map(() => submit(test, rig, unhurried)));
  const [job = ''] = await rig.vendorJobIds(refused);
  await arm(test, rig, 'refused', { times: 'always', job });
  for (const one of others) await expectOutcome(rig, one, 'succeeded');
  const { data } = await expectOutcome(rig, refused, expected);
  expectStrike(rig, 'refused', test.cases.route);
  assert.ok(data.error !== null, `ended as ${expected} without an error`);
}

async function tellsOfError<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const said = 'the ink ran out on page 7';
  const [word, outcome] = Object.entries(test.cases.ends).find(([, end]) => end !== 'succeeded') ?? ['', 'failed'];
  await arm(test, rig, 'ends-as', { times: 'always', argument: word });
  await arm(test, rig, 'text-error', { times: 'always', argument: said });
  const { data } = await expectOutcome(rig, await submit(test, rig), outcome);
  expectStrike(rig, 'text-error', test.cases.route);
  assert.ok(JSON.stringify(data).includes(said), `nothing in the event tells what the vendor said: ${said}`);
}

/** Whoever keeps notes by the vendor job's id alone mixes the two up. */
async function sharesJob<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const route = test.via.submit;
  assert.ok(route !== undefined, 'name the request that starts the work in `submit`');
  await rig.double.arm('shared-job', { operation: test.cases.via, at: 'submit', route, times: 'always' });
  const ids = await Promise.all([1, 2].map(() => submit(test, rig, unhurried)));
  const jobs = [];
  for (const one of ids) jobs.push((await expectOutcome(rig, one, 'succeeded')).data.vendorJobs.map((job) => job.id));
  expectStrike(rig, 'shared-job', route);
  assert.deepEqual(jobs[0], jobs[1], 'the two do not share a vendor job');
}

async function endsInTime<Double extends ConformanceDouble>(
  test: LookupUnderTest<Double>,
  rig: Rig<Double>,
): Promise<void> {
  const deadlineMs = 3_000;
  await arm(test, rig, 'unavailable-for-long', { times: 'always' });
  const { timings } = (await expectOutcome(rig, await submit(test, rig, { deadlineMs }), 'expired')).data;
  expectStrike(rig, 'unavailable-for-long', test.cases.route);
  const tookMs = Date.parse(timings.settledAt) - Date.parse(timings.submittedAt ?? timings.enqueuedAt);
  assert.ok(tookMs < deadlineMs * 1.8, `ended ${tookMs} ms after its acceptance, with a deadline of ${deadlineMs} ms`);
}

/** Whatever happens to look-ups, work is started once. */
async function startedOnce<Double extends ConformanceDouble>(
  { via, name }: LookupUnderTest<Double>,
  rig: Rig<Double>,
  count: number,
): Promise<void> {
  if (via.submit === undefined) return;
  const sent = rig.requestsTo(via.submit).length;
  const wanted = count * (via.submits ?? 1);
  assert.equal(sent, wanted, `look-up ${name}: ${via.submit} was sent ${sent} times for ${count} submissions`);
}

async function arm<Double extends ConformanceDouble>(
  { cases }: LookupUnderTest<Double>,
  rig: Rig<Double>,
  fault: Fault,
  rest: { times: number | 'always'; argument?: string; job?: string },
): Promise<void> {
  await rig.double.arm(fault, { operation: cases.via, at: 'lookup', route: cases.route, ...rest });
}

async function submit<Double extends ConformanceDouble>(
  { cases, via }: LookupUnderTest<Double>,
  rig: Rig<Double>,
  poll: object = {},
): Promise<string> {
  return rig.submit(cases.via, await via.input(rig.given()), poll);
}
