import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import type { CompletionEvent } from '../../src/core/completion-event.ts';
import type { Checkpoint } from '../../src/workers/engine.ts';
import { until } from './harness.ts';
import { urlInput, type RedisFaultRig } from './redis-fault-rig.ts';

/** Stops turns at a place between two writes until they are let go. */
export class Gate {
  #point: Checkpoint | undefined;
  #held: (() => void)[] = [];

  /** The next turn that comes to this place stays there. */
  hold(point: Checkpoint): void {
    this.#point = point;
  }

  readonly checkpoint = async (point: Checkpoint): Promise<void> => {
    if (point !== this.#point) return;
    this.#point = undefined;
    await new Promise<void>((resolve) => this.#held.push(resolve));
  };

  /** Waits until so many turns are held. */
  async holds(count: number): Promise<void> {
    await until(() => this.#held.length === count, 20_000);
  }

  letGo(): void {
    this.#point = undefined;
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

/** All ended well, with one vendor job and one event each. */
export function expectOnceEach(rig: RedisFaultRig, events: readonly CompletionEvent[], ids: readonly string[]): void {
  const ends = events.map((event) => [event.subject, event.data.outcome]);
  expect(ends.sort()).toEqual(ids.map((id) => [id, 'succeeded']).sort());
  for (const event of events) expect(event.id.startsWith(`knowhere.${event.subject}.`)).toBe(true);
  expect(new Set(rig.deliveries.map((event) => event.id)).size).toBe(ids.length);
  for (const id of ids) expect([id, rig.made(id)]).toEqual([id, [expect.any(String)]]);
  for (const { subject, data } of events) expect(data.vendorJobs.map((job) => job.id)).toEqual(rig.made(subject));
}

/** What is saved of each submission of `pushOneOfEachState`, by its name. */
const phases = {
  settled: 'settled',
  delivered: 'settled',
  'held-back': undefined,
  polling: 'polling',
  'looked-up': 'polling',
  confirming: 'polling',
  accepted: 'accepted',
  intended: 'intended',
  reconciling: 'reconciling',
  waiting: undefined,
};

/** One submission in each state; nothing moves on for a second. */
export async function pushOneOfEachState(rig: RedisFaultRig, gate: Gate): Promise<string[]> {
  const isInFlight = (route: string): boolean =>
    rig.sandbox.ledger.entries({ route }).some((entry) => entry.end === 'in-flight');
  await writeFile(path.join(rig.folder, 'a.md'), '# A\n');
  gate.hold('outcome-saved');
  await rig.parse('settled');
  await gate.holds(1);
  gate.hold('event-delivered');
  await rig.parse('delivered');
  await gate.holds(2);
  await rig.parse('held-back', {}, { opts: { delay: 4_000 } });
  await rig.parse('polling', {}, { poll: { initialDelayMs: 4_000, maxDelayMs: 4_000 } });
  await rig.parse('looked-up', urlInput('looked-up', '?sandbox=slow-reply--4000--at-lookup'));
  await rig.parse('confirming', { ...urlInput('confirming', '?sandbox=slow-reply--4000--at-result'), download: true });
  const upload = { sourceType: 'file', file: 'a.md', fileName: 'accepted.fault-slow-reply--4000--at-upload.md' };
  await rig.parse('accepted', { ...upload, sourceUrl: undefined });
  await rig.parse('intended', urlInput('intended', '?sandbox=slow-reply--4000'));
  await until(() => ['result', 'lookup', 'upload', 'create'].every(isInFlight));
  await rig.parse('reconciling', urlInput('reconciling', '?sandbox=cut-after'));
  await rig.inPhase('reconciling', 'reconciling');
  await rig.queue('knowhere.submit').pause();
  await rig.parse('waiting');
  const ids = Object.keys(phases);
  const found = await Promise.all(ids.map(async (id) => [id, (await rig.state(id))?.phase]));
  expect(Object.fromEntries(found)).toEqual(phases);
  return ids;
}
