import assert from 'node:assert/strict';
import type { ConformanceDouble, Fault, Route } from './double.ts';
import { expectHarmless, expectOutcome, expectStrike } from './expect.ts';
import type { Rig } from './rig.ts';
import type { OperationUnderTest } from './under-test.ts';

/** Bodies of a 400, in shapes that no documentation promises. */
const oddErrors = [
  '',
  'null',
  '42',
  '"no"',
  '["no"]',
  '{"error":null}',
  '{"error":{"message":{"text":"no"}}}',
  '{"error":[{"code":7}],"message":[]}',
  '<html><h1>Bad Request</h1></html>',
];

/** A refusal of any shape is a refusal, and the event says at least that. */
export async function tellsOddErrors<Double extends ConformanceDouble>(
  { name, cases }: OperationUnderTest<Double>,
  rig: Rig<Double>,
  route: Route,
): Promise<void> {
  for (const body of oddErrors) {
    await rig.double.arm('error-body', { operation: name, at: 'submit', route, times: 1, argument: body });
    const { data } = await expectOutcome(rig, await rig.submit(name, await cases.input(rig.given())), 'rejected');
    assert.ok((data.error?.message ?? '').trim() !== '', `rejected without a reason after ${body}`);
  }
  expectStrike(rig, 'error-body', route);
}

/** An error that quotes the key, turns a terminal red, turns the text round, and does not end. */
export async function tellsNoHarm<Double extends ConformanceDouble>(
  { name, cases }: OperationUnderTest<Double>,
  rig: Rig<Double>,
  route: Route,
): Promise<void> {
  const text = `no \u001b[31m\u202e\u0000\r\n${rig.secrets.join(' ')} ${'x'.repeat(100_000)}`;
  const body = { message: text, detail: text, code: text, error: { message: text, code: text } };
  const argument = JSON.stringify(body);
  await rig.double.arm('error-body', { operation: name, at: 'submit', route, times: 1, argument });
  const { data } = await expectOutcome(rig, await rig.submit(name, await cases.input(rig.given())), 'rejected');
  expectStrike(rig, 'error-body', route);
  expectHarmless(data.error, rig.secrets);
}

/** A limit on new work, or a piece of work that this key may not start, says nothing of work that was taken. */
export async function goesOnBeside<Double extends ConformanceDouble>(
  { name, cases }: OperationUnderTest<Double>,
  rig: Rig<Double>,
  fault: Fault,
  route: Route,
): Promise<void> {
  const submits = cases.submits ?? 1;
  // Its first look-up comes when others have been refused.
  const first = await rig.submit(name, await cases.input(rig.given()), { initialDelayMs: 1_500, maxDelayMs: 1_500 });
  await rig.until(() => rig.requestsTo(route).length >= submits, `${route} was not sent`);
  await rig.double.arm(fault, { operation: name, at: 'submit', route, times: 'always' });
  const refusedAt = Date.now();
  const others = await Promise.all([1, 2].map(async () => rig.submit(name, await cases.input(rig.given()))));
  await expectOutcome(rig, first, 'succeeded');
  const tookMs = Date.now() - refusedAt;
  expectStrike(rig, fault, route);
  assert.ok(tookMs < 10_000, `ended only ${tookMs} ms after others were refused\n${await rig.story(first)}`);
  for (const other of others) assert.ok(rig.eventSoFar(other)?.data.outcome !== 'succeeded', 'nothing was refused');
}
