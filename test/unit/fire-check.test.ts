import { describe, expect, it } from 'vitest';
import { check, type Verdict } from '../../chaos/lib/check.ts';
import { slipOf, slips } from '../../chaos/lib/careless-module.ts';
import type {
  AuditedJob,
  Evidence,
  ParentEnd,
  Submitted,
  Told,
  VendorCreate,
  VendorLookUp,
} from '../../chaos/lib/evidence.ts';
import { bondOf, loadOf, loads, submissionOf, type Load } from '../../chaos/lib/loads.ts';
import { adapters } from '../../src/vendors/catalogue.ts';

/** The checker of the fire test: what it must see, and what it must let pass. */

const start = 1_700_000_000_000;
const id = 's-000001';

function load(name: string): Load {
  const found = loads.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no load ${name}`);
  return found;
}

interface Scenario extends Partial<Omit<Evidence, 'audit' | 'submissions' | 'deliveries' | 'parents'>> {
  load?: string;
  canceledAt?: number;
  /** Its bonds, and what was done to it. */
  is?: Partial<Submitted>;
  parent?: Partial<ParentEnd>;
  told?: Partial<Told>[];
  creates?: Partial<VendorCreate>[];
  jobs?: Partial<AuditedJob>[];
  lookUps?: Partial<VendorLookUp>[];
  refused?: { at: number; status?: number }[];
  uploads?: string[];
  strangers?: string[];
  dropped?: number;
}

const noParent: ParentEnd = { state: 'completed', value: undefined, failed: undefined };

/** A URL that was sent once, done and told of once; each scenario changes some of it. */
function verdictOf(scenario: Scenario = {}): Verdict {
  const kind = load(scenario.load ?? 'url');
  const submitted: Submitted = {
    id,
    load: kind,
    pushedAt: start,
    ...(scenario.canceledAt === undefined ? {} : { cancelRequestedAt: scenario.canceledAt }),
    ...scenario.is,
  };
  const told = (scenario.told ?? [{}]).map((change): Told => ({
    ...{ at: start + 9_100, eventId: `${kind.vendor}.${id}`, content: 'same', data: 'told' },
    ...{ outcome: 'succeeded', because: '' },
    ...{
      vendorJobs: [{ id: 'j1', status: 'done' }],
      enqueuedAt: start,
      submittedAt: start + 1_010,
      settledAt: start + 9_000,
      polls: 1,
    },
    ...change,
  }));
  const deliveries = new Map(told.length === 0 ? [] : [[id, told]]);
  for (const stranger of scenario.strangers ?? []) deliveries.set(stranger, told);
  const request = { at: start + 1_000, answeredAt: start + 1_010, status: 200, faults: [] };
  return check({
    submissions: new Map([[id, submitted]]),
    deliveries,
    audit: {
      creates: (scenario.creates ?? [{}]).map((change) => ({ ...request, submission: id, jobId: 'j1', ...change })),
      lookUps: (scenario.lookUps ?? []).map((change) => ({ ...request, jobId: 'j1', ...change })),
      lists: [],
      refused: (scenario.refused ?? []).map(({ at, status }) => ({
        ...{ at: start + at, answeredAt: start + at + 5, status: status ?? 401, faults: [] },
      })),
      uploads: scenario.uploads ?? [],
      jobs: (scenario.jobs ?? [{}]).map((change) => ({
        ...{ vendor: kind.vendor, id: 'j1', resourceId: null, source: null, submission: id, status: 'done' },
        ...{ isTerminal: true, endedAt: start + 8_000 },
        ...change,
      })),
      ...{ requests: 3, byRoute: {}, byStatus: {}, byFault: {}, dropped: scenario.dropped ?? 0 },
    },
    leftovers: scenario.leftovers ?? [],
    lost: scenario.lost ?? [],
    parents: new Map(scenario.parent === undefined ? [] : [[id, { ...noParent, ...scenario.parent }]]),
    pauses: scenario.pauses ?? [],
    vendorTrouble: scenario.vendorTrouble ?? [],
    standstill: scenario.standstill ?? [],
    interruptions: scenario.interruptions ?? new Map(),
  });
}

function seen(scenario: Scenario): string[] {
  return verdictOf(scenario).violations.map(({ invariant, what }) => `${invariant} ${what}`);
}

const twoJobs = { creates: [{}, { at: start + 5_000, jobId: 'j2' }], jobs: [{}, { id: 'j2' }] };
const generated = { load: 'generate', jobs: [{ status: 'COMPLETED' }] };

describe('the checks of the fire test', () => {
  it('find nothing where everything went well', () => {
    expect(verdictOf()).toMatchObject({
      violations: [],
      afterLoss: [],
      counts: { settled: 1, outcomes: { succeeded: 1 } },
    });
    expect(seen(generated)).toEqual([]);
  });

  describe('1: one event', () => {
    it.each<[string, Scenario, RegExp]>([
      ['no event', { told: [] }, /^1 url: no event/],
      ['two contents', { told: [{}, { content: 'other' }] }, /^1 .*2 contents in 2 deliveries/],
      ['two ids', { told: [{}, { eventId: 'knowhere.other' }] }, /^1 .*more than one event id/],
      ['an end before the beginning', { told: [{ enqueuedAt: start + 9_100 }] }, /^1 .*enqueued after it was settled/],
      ['events of nobody', { strangers: ['s-000009'] }, /^1 1 events for nobody/],
      [
        'a vendor job of somebody else',
        { jobs: [{}, { id: 'j9', submission: 's-000009' }], told: [{ vendorJobs: [{ id: 'j9', status: 'done' }] }] },
        /^1 .*somebody else/,
      ],
    ])('%s', (_, scenario, expected) => {
      expect(seen(scenario)).toEqual([expect.stringMatching(expected)]);
    });

    it('a second delivery with the same content is fine', () => {
      expect(verdictOf({ told: [{}, {}] })).toMatchObject({ violations: [], counts: { repeatedDeliveries: 1 } });
    });
  });

  describe('2: one vendor job', () => {
    it('two jobs of an operation that can be looked up', () => {
      expect(seen(twoJobs)).toEqual([expect.stringMatching(/^2 url: 2 vendor jobs from 2 creates/)]);
    });

    it('a file job that nobody could upload to any more may be replaced, one that got its file may not', () => {
      const replaced = {
        ...twoJobs,
        load: 'file',
        jobs: [{ status: 'waiting-file', isTerminal: false }, { id: 'j2' }],
      };
      const told = [{ vendorJobs: [{ id: 'j2', status: 'done' }] }];
      expect(verdictOf({ ...replaced, told, uploads: ['j2'] })).toMatchObject({
        violations: [],
        counts: { neverBegun: 1 },
      });
      expect(seen({ ...twoJobs, load: 'file', uploads: ['j1', 'j2'] })).toEqual([expect.stringMatching(/^2 file/)]);
    });

    it('what is safe to repeat may be repeated, to the same effect', () => {
      const jobs = (other: string): Partial<AuditedJob>[] => [
        { status: 'COMPLETED', resourceId: 'r1' },
        { id: 'j2', status: 'COMPLETED', resourceId: other },
      ];
      const upsert = { load: 'upsert', creates: twoJobs.creates };
      expect(seen({ ...upsert, jobs: jobs('r1') })).toEqual([]);
      expect(seen({ ...upsert, jobs: jobs('r2') })).toEqual([expect.stringMatching(/^2 .*another effect/)]);
    });

    it('what can not be looked up is never sent again, unless the vendor refused it', () => {
      const twice = (first: Partial<VendorCreate>): Scenario => ({
        ...generated,
        creates: [{ jobId: null, ...first }, { at: start + 5_000 }],
      });
      expect(seen(twice({ status: 429 }))).toEqual([]);
      expect(seen(twice({ status: 401 }))).toEqual([]);
      for (const first of [{ status: 500 }, { status: null, faults: ['cut-before'] }, { status: 503 }]) {
        expect(seen(twice(first))).toEqual([expect.stringMatching(/^2 .*sent again after a submit of unknown fate/)]);
      }
    });

    it('a ledger that dropped entries proves nothing', () => {
      expect(seen({ dropped: 3 })).toEqual(['2 the ledger dropped 3']);
    });
  });

  describe('3: hints are kept, and nothing is left', () => {
    const hinted = { status: 429, faults: ['rate-limited'] };
    it('a look-up before the hint allows it', () => {
      const next = (afterMs: number): Scenario => ({ lookUps: [hinted, { at: start + 1_010 + afterMs }] });
      expect(seen(next(1_200))).toEqual([expect.stringMatching(/^3 .*asked 1200 ms after a hint of 2000 ms/)]);
      expect(seen(next(2_000))).toEqual([]);
      const vendorTrouble = [{ from: start + 900, to: start + 1_100 }];
      expect(seen({ ...next(1_200), vendorTrouble })).toEqual([]);
    });

    it('a batch counts for every job that it names, a record for the runs over it', () => {
      const job = { status: 'COMPLETED', resourceId: 'r1' };
      const lookUps = [
        { ...hinted, jobId: 'r1' },
        { jobId: 'r1', at: start + 1_500 },
      ];
      expect(seen({ load: 'ingest', jobs: [job], lookUps })).toEqual([expect.stringMatching(/^3 ingest/)]);
    });

    it('a vendor job that is asked for without end', () => {
      const lookUps = Array.from({ length: 151 }, (_, count) => ({ at: start + 1_100 + count }));
      expect(seen({ lookUps })).toEqual(['3 url: 151 look-ups of one vendor job']);
      expect(seen({ lookUps: lookUps.slice(1) })).toEqual([]);
    });

    it('a job that is left somewhere', () => {
      const leftovers = [{ queue: 'fini.poll', jobId: id, place: 'delayed', record: null }];
      expect(seen({ leftovers })).toEqual([expect.stringMatching(/^3 left in fini\.poll delayed/)]);
    });
  });

  describe('4: success is true', () => {
    it.each<[string, Scenario, RegExp]>([
      ['of what the vendor does not call done', { jobs: [{ status: 'running', endedAt: null }] }, /^4 .*says running/],
      ['before it was', { told: [{ settledAt: start + 7_000 }] }, /^4 .*before the vendor was done/],
      ['without a vendor job', { told: [{ vendorJobs: [] }] }, /^4 .*without a vendor job/],
    ])('%s', (_, scenario, expected) => {
      expect(seen(scenario)).toEqual([expect.stringMatching(expected)]);
    });

    it('a resource that was found stands for itself while its workflow runs', () => {
      const jobs = [{ status: 'RUNNING', resourceId: 'r1', endedAt: null }];
      expect(seen({ load: 'role', jobs, told: [{ vendorJobs: [{ id: 'r1', status: 'FOUND' }] }] })).toEqual([]);
    });
  });

  describe('5: an outcome has its cause', () => {
    const ends = (outcome: string, more: Scenario = {}): string[] => seen({ ...more, told: [{ outcome }] });
    it.each(['failed', 'canceled', 'expired', 'lost', 'rejected', 'partial', 'unconfirmed'])(
      '%s without cause',
      (word) => {
        expect(ends(word)).toEqual([expect.stringMatching(/^5 /)]);
      },
    );

    it('failed by the vendor, canceled by a caller', () => {
      expect(ends('failed', { jobs: [{ status: 'failed' }] })).toEqual([]);
      expect(ends('canceled', { canceledAt: start + 500 })).toEqual([]);
      expect(ends('canceled', { is: { removedAt: start + 500 } })).toEqual([]);
    });

    it('rejected where its module never lets anything be sent', () => {
      const nothing = { creates: [], jobs: [] };
      expect(
        seen({ ...nothing, load: 'role, preflight hangs', told: [{ outcome: 'rejected', vendorJobs: [] }] }),
      ).toEqual([]);
    });

    it('expired where a deadline is near, and never before it', () => {
      const stalled = (settledAfterMs: number, told: Partial<Told> = {}): Verdict =>
        verdictOf({
          ...{ load: 'stalled', jobs: [{ status: 'running', endedAt: null }] },
          told: [{ outcome: 'expired', submittedAt: start, settledAt: start + settledAfterMs, ...told }],
        });
      expect(stalled(12_400)).toMatchObject({ violations: [], counts: { maxExpiredLateMs: 400 } });
      expect(stalled(11_900).violations).toMatchObject([
        { invariant: 5, what: 'stalled: expired 100 ms before its deadline' },
      ]);
      expect(stalled(12_400, { submittedAt: start + 1_000 }).violations).toMatchObject([{ invariant: 5 }]);
      expect(stalled(12_400, { submittedAt: null }).violations).toMatchObject([
        { invariant: 5, what: 'stalled: expired unsent' },
      ]);
    });

    it('expired as long again after its deadline at most, where its worker lived', () => {
      const late = (settledAfterMs: number, more: Scenario = {}): string[] =>
        seen({
          ...{ load: 'stalled', jobs: [{ status: 'running', endedAt: null }], ...more },
          told: [{ outcome: 'expired', submittedAt: start, settledAt: start + settledAfterMs }],
        });
      expect(late(26_000)).toEqual([]);
      expect(late(60_000)).toEqual([expect.stringMatching(/^5 stalled: expired 48000 ms after its deadline/)]);
      expect(late(60_000, { interruptions: new Map([[id, 1]]) })).toEqual([]);
      const pauses = [{ from: start + 2_000, to: start + 3_000 }];
      expect(late(60_000, { pauses })).toEqual([]);
      expect(late(120_000, { pauses })).toHaveLength(1);
    });

    it('unconfirmed only where the vendor can not be asked, and only where the fate was unknown', () => {
      const lost = { creates: [{ status: 502 }] };
      expect(ends('unconfirmed', { ...generated, ...lost })).toEqual([]);
      expect(ends('unconfirmed', { ...generated, creates: [{ faults: ['malformed-json'] }] })).toEqual([]);
      expect(ends('unconfirmed', { ...generated, interruptions: new Map([[id, 1]]) })).toEqual([]);
      expect(ends('unconfirmed', { ...generated, standstill: [{ from: start + 900, to: start + 8_000 }] })).toEqual([]);
      expect(ends('unconfirmed', lost)).toEqual([expect.stringMatching(/^5 url: unconfirmed without cause/)]);
      const elsewhere = { standstill: [{ from: start + 4_000, to: start + 8_000 }] };
      expect(ends('unconfirmed', { ...generated, ...elsewhere })).toEqual([expect.stringMatching(/^5 generate/)]);
    });
  });

  describe('6: of a held account one probe at a time', () => {
    const probes = (...times: number[]): { at: number }[] => [{ at: 0 }, ...times.map((at) => ({ at }))];
    it('two probes at once', () => {
      expect(seen({ refused: probes(10_000, 10_010, 10_300, 10_310) })).toContainEqual(expect.stringMatching(/^6 /));
    });

    it('a burst before everybody knows, and after an answer that was no refusal of the key', () => {
      expect(seen({ refused: probes(100, 110, 200, 210, 1_000) })).toEqual([]);
      const answered = { at: 10_000, status: 429 };
      expect(seen({ refused: [...probes(), answered, ...probes(12_000, 12_010, 12_020, 12_030).slice(1)] })).toEqual(
        [],
      );
    });

    it('a probe and its repetition with the key read anew, time and again', () => {
      expect(seen({ refused: probes(10_000, 10_010, 14_000, 14_010, 22_000, 22_010) })).toEqual([]);
    });

    it('a worker that stood still with a probe in its hands', () => {
      const standstill = [{ from: start + 3_000, to: start + 9_500 }];
      expect(seen({ standstill, refused: probes(10_000, 10_010, 10_300, 10_310) })).toEqual([]);
    });
  });

  describe('7: who waits for a submission learns how it ended', () => {
    const failed = { jobs: [{ status: 'failed' }], told: [{ outcome: 'failed', data: 'told' }] };
    it.each<[string, Scenario]>([
      ['a parent that gets the event', { is: { parent: 'fail' }, parent: { value: 'told' } }],
      ['a parent that fails with its child', { ...failed, is: { parent: 'fail' }, parent: { state: 'failed' } }],
      ['a parent that is told why', { ...failed, is: { parent: 'ignore' }, parent: { failed: 'failed: INTERNAL' } }],
      ['a parent without its child', { ...failed, is: { parent: 'remove' }, parent: {} }],
    ])('%s', (_, scenario) => {
      expect(seen(scenario)).toEqual([]);
    });

    it.each<[string, Scenario, RegExp]>([
      ['a parent that waits for ever', { is: { parent: 'fail' }, parent: { state: 'waiting-children' } }, /waiting-ch/],
      ['a parent that is gone', { is: { parent: 'fail' } }, /is unknown/],
      ['a parent that got nothing', { is: { parent: 'ignore' }, parent: {} }, /another value/],
      ['a parent that got something else', { is: { parent: 'ignore' }, parent: { value: 'old' } }, /another value/],
      ['a parent that failed', { is: { parent: 'ignore' }, parent: { state: 'failed' } }, /succeeded, and its parent/],
      ['a parent that did not', { ...failed, is: { parent: 'fail' }, parent: {} }, /failed, and its parent \(fail\)/],
      [
        'a parent that is not told',
        { ...failed, is: { parent: 'ignore' }, parent: {} },
        /told of a failure: undefined/,
      ],
    ])('%s', (_, scenario, expected) => {
      expect(seen(scenario)).toEqual([expect.stringMatching(/^7 url: /)]);
      expect(seen(scenario)).toEqual([expect.stringMatching(expected)]);
    });

    it('a deduplication id that was free too early', () => {
      const is = { twinOf: id };
      expect(seen({ is: { ...is, pushedAt: start + 9_000 } })).toEqual([]);
      expect(seen({ is })).toEqual([expect.stringMatching(/^7 url: came under the deduplication id of s-000001/)]);
    });
  });

  it('what Redis lost is told apart', () => {
    const verdict = verdictOf({ ...twoJobs, lost: [{ from: start + 900, to: start + 2_000 }] });
    expect(verdict.violations).toEqual([]);
    expect(verdict.afterLoss).toMatchObject([{ invariant: 2, submission: id }]);
  });
});

describe('the loads of the fire test', () => {
  it('share a thousand, and every one is drawn', () => {
    expect(loads.reduce((sum, one) => sum + one.share, 0)).toBe(1_000);
    const drawn = new Set(Array.from({ length: 1_000 }, (_, count) => loadOf(count / 1_000).name));
    expect([...drawn].sort()).toEqual(loads.map(({ name }) => name).sort());
  });

  it('have bonds: parents of three kinds, and deduplication ids', () => {
    const bonds = Array.from({ length: 100 }, (_, count) => bondOf(count / 100 + 0.005));
    const count = (rule: string): number => bonds.filter(({ parent }) => parent === rule).length;
    expect(['fail', 'ignore', 'remove'].map(count)).toEqual([2, 2, 2]);
    expect(bonds.filter(({ isDeduplicated }) => isDeduplicated)).toHaveLength(3);
  });

  it('are held to what the adapters declare', () => {
    for (const one of loads) {
      const operation = adapters.find(({ name }) => name === one.vendor)?.operations[one.operation];
      const input = operation?.input.parse(one.input(id)) as unknown;
      const declared = typeof operation?.resend === 'function' ? operation.resend(input, undefined) : operation?.resend;
      expect(one.resend, one.name).toBe(declared);
    }
  });

  it('ask for every slip of a careless module', () => {
    const asked = loads.flatMap((one) => slipOf(one.input(id)) ?? []);
    expect(asked.toSorted()).toEqual([...slips].toSorted());
  });

  it('carry the submission id in every input', () => {
    for (const one of loads) expect(submissionOf(JSON.stringify(one.input(id))), one.name).toBe(id);
  });
});
