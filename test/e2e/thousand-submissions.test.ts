import { randomInt } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Outcome } from '../../src/core/submission.ts';
import { control, ensureCli, Stage, until } from './support.ts';

let stage: Stage;
beforeAll(() => ensureCli(), 150_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

interface Kind {
  name: string;
  count: number;
  outcome: Outcome;
  /** Jobs that the vendor is to have made of one submission. */
  vendorJobs: 0 | 1;
  input: (id: string) => object;
}

const web = (id: string, fault = ''): object => ({
  sourceType: 'url',
  sourceUrl: `https://example.com/${id}.pdf${fault}`,
});

const kinds: Kind[] = [
  { name: 'url', count: 590, outcome: 'succeeded', vendorJobs: 1, input: (id) => web(id) },
  {
    name: 'file',
    count: 120,
    outcome: 'succeeded',
    vendorJobs: 1,
    input: (id) => ({ sourceType: 'file', file: 'packing-list.md', fileName: `${id}.md` }),
  },
  { name: 'failing', count: 150, outcome: 'failed', vendorJobs: 1, input: (id) => web(id, '?sandbox=fail--NOT_FOUND') },
  // Refused by the worker before anything is sent, and refused by the vendor.
  { name: 'invalid', count: 60, outcome: 'rejected', vendorJobs: 0, input: (id) => ({ ...web(id), colour: 'blue' }) },
  { name: 'refused', count: 60, outcome: 'rejected', vendorJobs: 0, input: (id) => web(id, '?sandbox=bad-request') },
  {
    name: 'throttled',
    count: 20,
    outcome: 'succeeded',
    vendorJobs: 1,
    input: (id) => web(id, '?sandbox=rate-limited--1'),
  },
];

interface Group {
  key: string | null;
  jobIds: string[];
}

it('two worker processes bring 1,000 mixed submissions to exactly 1,000 events, each sent once', async () => {
  const { env, control: sandbox } = await stage.sandbox(1_000);
  await Promise.all([stage.worker(env), stage.worker(env)]);
  await stage.consume();

  const poll = { initialDelayMs: 200, factor: 1.5, maxDelayMs: 1_000, deadlineMs: 300_000 };
  const submissions = kinds.flatMap((kind) =>
    Array.from({ length: kind.count }, (_, index) => ({ kind, id: `${kind.name}-${index}` })),
  );
  expect(submissions).toHaveLength(1_000);
  for (let last = submissions.length - 1; last > 0; last -= 1) {
    const other = randomInt(last + 1);
    [submissions[last], submissions[other]] = [submissions[other]!, submissions[last]!];
  }
  await stage.queue('knowhere.submit').addBulk(
    submissions.map(({ kind, id }) => ({
      name: 'parse',
      data: { input: kind.input(id), poll },
      opts: { jobId: id },
    })),
  );

  await until(
    () => new Set(stage.events.map((event) => event.id)).size >= submissions.length,
    120_000,
    () => `1,000 events; there are ${stage.events.length}`,
  );
  // Whatever would be delivered too often has a moment to come.
  await new Promise((resolve) => setTimeout(resolve, 1_000));

  expect(stage.events).toHaveLength(submissions.length);
  expect(new Set(stage.events.map((event) => event.id)).size).toBe(submissions.length);
  const outcomes = new Map(stage.events.map((event) => [event.subject, event.data.outcome]));
  const wrong = submissions.filter(({ kind, id }) => outcomes.get(id) !== kind.outcome);
  expect(wrong.map(({ id }) => [id, outcomes.get(id)])).toEqual([]);

  // The vendor's own books: how many jobs it made, of which documents.
  const { groups } = await control<{ groups: Group[] }>(sandbox, 'ledger/creates?by=source');
  const made = new Map<string, number>();
  for (const { key, jobIds } of groups) {
    const name = /(?<![a-z])([a-z]+-\d+)\.(?:pdf|md)/.exec(key ?? '')?.[1] ?? `unknown ${key}`;
    made.set(name, (made.get(name) ?? 0) + jobIds.length);
  }
  const uneven = submissions.filter(({ kind, id }) => (made.get(id) ?? 0) !== kind.vendorJobs);
  expect(uneven.map(({ id }) => [id, made.get(id)])).toEqual([]);
  expect([...made.keys()].filter((name) => name.startsWith('unknown') || name.startsWith('invalid'))).toEqual([]);

  // Nothing is left behind.
  for (const name of ['knowhere.submit', 'knowhere.poll']) {
    const counts = await stage.queue(name).getJobCounts('waiting', 'active', 'delayed', 'failed');
    expect(counts, name).toEqual({ waiting: 0, active: 0, delayed: 0, failed: 0 });
  }
}, 180_000);
