import assert from 'node:assert/strict';
import type { CompletionEvent } from '../core/completion-event.ts';
import type { Outcome } from '../core/submission.ts';
import type { ConformanceDouble, Route } from './double.ts';
import type { Rig } from './rig.ts';

type AnyRig = Rig<ConformanceDouble>;

/** How a submission ended, told with the engine's log where it is not as expected. */
export async function expectOutcome(rig: AnyRig, submissionId: string, outcome: Outcome): Promise<CompletionEvent> {
  const event = await rig.event(submissionId);
  if (event.data.outcome !== outcome) {
    const error = event.data.error === null ? '' : ` (${event.data.error.code}: ${event.data.error.message})`;
    assert.fail(`ended as ${event.data.outcome}${error}, expected ${outcome}\n${await rig.story(submissionId)}`);
  }
  return event;
}

/** How often the vendor was asked to start work: the one number that must never be too high. */
export async function expectSubmits(rig: AnyRig, submissionId: string, route: Route, count: number): Promise<void> {
  const sent = rig.requestsTo(route).length;
  if (sent === count) return;
  assert.fail(`${route} was sent ${times(sent)}, expected ${times(count)}\n${await rig.story(submissionId)}`);
}

/** A fault that never struck leaves a happy path, which every adapter passes. */
export function expectStrike(rig: AnyRig, fault: string, route: Route): void {
  assert.ok(rig.double.strikes() > 0, `${fault} never struck: was ${route} asked at all?`);
}

/** A hint is heeded when the request after the refused one comes no earlier. */
export function expectPause(rig: AnyRig, route: Route, ms: number): void {
  const [refused, next] = rig.requestsTo(route);
  assert.ok(refused !== undefined && next !== undefined, `${route} was not sent again after the 429`);
  const gap = next.at - refused.at;
  // The double's clock reads whole milliseconds.
  assert.ok(gap >= ms - 2, `${route} was sent again after ${gap} ms, and the vendor had asked for ${ms} ms`);
}

/** What is told of an error must be safe to log, to print on a terminal, and to keep. */
export function expectHarmless(error: unknown, secrets: readonly string[]): void {
  const told = JSON.stringify(error, (_, value: unknown) =>
    typeof value === 'string' ? value.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, '<control character>') : value,
  );
  assert.ok(!told.includes('<control character>'), `the error has control characters: ${told.slice(0, 400)}`);
  assert.ok(!secrets.some((secret) => told.includes(secret)), 'the error quotes a secret of the account');
  assert.ok(told.length < 20_000, `the error is ${told.length} characters long`);
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
