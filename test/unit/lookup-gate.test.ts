import { describe, expect, it } from 'vitest';
import { StepTimeoutError, VendorRejectedError, VendorUnavailableError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import type { Lookup, LookupJob, VendorReport } from '../../src/ports/vendor-adapter.ts';
import type { AccountGate } from '../../src/workers/accounts/account-gate.ts';
import type { Look } from '../../src/core/looks.ts';
import { LookupGate } from '../../src/workers/accounts/lookup-gate.ts';

const open = {
  admit: async () => ({ admitted: true, scope: 'status' }),
  settle: async () => ({ isOwnFault: false }),
  passedAt: () => undefined,
  abandon: async () => undefined,
} as unknown as AccountGate;

interface Rig {
  gate: LookupGate<{ size: number }>;
  requests: string[][];
  clock: { now: number };
  ask: (ids: readonly string[]) => Promise<Map<string, Look>>;
}

/** A gate in front of a vendor that answers by `answer`. */
function rig(answer: (ids: string[]) => Error | undefined, size = 100): Rig {
  const requests: string[][] = [];
  const clock = { now: 1_000_000 };
  const lookup: Lookup<{ size: number }> = {
    maxBatch: (account) => account.size,
    async look(jobs) {
      const ids = jobs.map((job) => job.id);
      requests.push(ids);
      const error = answer(ids);
      if (error !== undefined) throw error;
      return new Map<string, VendorReport>(ids.map((id) => [id, { status: 'running' }]));
    },
  };
  const context = {
    account: { size },
    http: undefined as never,
    logger: silentLogger,
    signal: new AbortController().signal,
  };
  const gate = new LookupGate(lookup, context, open, () => clock.now);
  return {
    gate,
    requests,
    clock,
    async ask(ids) {
      const looks = await Promise.all(ids.map(async (id) => [id, await gate.look({ id, extra: undefined })] as const));
      return new Map(looks);
    },
  };
}

/** A gate in front of a look-up of a hundred. */
function gateOf(look: Lookup<object>['look'], rest: Partial<Lookup<object>> = {}): LookupGate<object> {
  const context = {
    account: {},
    http: undefined as never,
    logger: silentLogger,
    signal: new AbortController().signal,
  };
  return new LookupGate({ maxBatch: 100, look, ...rest }, context, open, () => 1_000_000);
}

function extraOf(look: Look): unknown {
  return look.kind === 'report' ? look.report.extra : undefined;
}

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `job-${index}`);
const notFound = (): Error => new VendorRejectedError('unknown job', { httpStatus: 404 });
const serverError = (): Error => new VendorUnavailableError('broken', { taken: 'maybe', httpStatus: 500 });
const unlucky = (bad: readonly string[], error: () => Error) => (asked: string[]) =>
  asked.some((id) => bad.includes(id)) ? error() : undefined;

describe('a batch of look-ups', () => {
  it('costs one request for as many as the account allows', async () => {
    const { requests, ask } = rig(() => undefined, 40);
    const looks = await ask(ids(100));
    expect([...looks.values()].every((look) => look.kind === 'report')).toBe(true);
    expect(requests.map((one) => one.length)).toEqual([40, 40, 20]);
  });

  it('asks once for an id that several submissions wait for', async () => {
    const { requests, gate } = rig(() => undefined);
    const looks = await Promise.all([
      gate.look({ id: 'a', extra: undefined }),
      gate.look({ id: 'a', extra: undefined }),
    ]);
    expect(looks.map((look) => look.kind)).toEqual(['report', 'report']);
    expect(requests).toEqual([['a']]);
  });

  it('shares one answer among those who know the same of a vendor job, and asks again for the others', async () => {
    const asked: [string, unknown][][] = [];
    const gate = gateOf(async (jobs) => {
      asked.push(jobs.map(({ id, extra }) => [id, extra?.['role']]));
      return new Map(jobs.map(({ id, extra }) => [id, { status: 'running', extra: { ...extra } }]));
    });
    const roles = ['a', 'b', 'a', 'c'];
    const looks = await Promise.all([
      ...roles.map((role) => gate.look({ id: 'shared', extra: { role } })),
      gate.look({ id: 'other', extra: undefined }),
    ]);
    expect(looks.map(extraOf)).toEqual([...roles.map((role) => ({ role })), {}]);
    expect(asked).toEqual([
      [
        ['shared', 'a'],
        ['other', undefined],
      ],
      [['shared', 'b']],
      [['shared', 'c']],
    ]);
  });

  it('does not conclude from an absence for one what another may be asked for by', async () => {
    const gate = gateOf(async (jobs) => {
      return new Map(jobs.flatMap(({ id, extra }) => (extra?.['seen'] === true ? [[id, { status: 'running' }]] : [])));
    });
    const looks = await Promise.all([
      gate.look({ id: 'a', extra: { seen: false } }),
      gate.look({ id: 'a', extra: { seen: true } }),
    ]);
    expect(looks.map((look) => look.kind)).toEqual(['missing', 'report']);
  });

  it('reads one answer for each who asks, where the look-up can', async () => {
    let requests = 0;
    const gate = gateOf(async (jobs) => {
      requests += 1;
      return new Map(
        jobs.map(({ id }) => [
          id,
          (job: LookupJob): VendorReport | undefined => {
            if (job.extra?.['role'] === 'absent') return undefined;
            if (job.extra?.['role'] === 'broken') throw new Error('this one only');
            return { status: 'running', extra: { ...job.extra } };
          },
        ]),
      );
    });
    const looks = await Promise.all(
      ['a', 'b', 'absent', 'broken', 'c'].map((role) => gate.look({ id: 'shared', extra: { role } })),
    );
    expect(looks.map((look) => look.kind)).toEqual(['report', 'report', 'missing', 'failed', 'report']);
    expect(looks.map(extraOf)).toEqual([{ role: 'a' }, { role: 'b' }, undefined, undefined, { role: 'c' }]);
    expect(requests).toBe(1);
  });

  it('hands out copies of what a submission knows', async () => {
    const gate = gateOf(async (jobs) => {
      for (const { extra } of jobs) if (extra !== undefined) extra['role'] = 'changed';
      return new Map(jobs.map(({ id }) => [id, { status: 'running' }]));
    });
    const extra = { role: 'a' };
    await gate.look({ id: 'a', extra });
    expect(extra).toEqual({ role: 'a' });
  });

  it('survives a key that throws', async () => {
    const batchKey = (): string => {
      throw new Error('no key');
    };
    const gate = gateOf(async () => new Map(), { batchKey });
    expect(await gate.look({ id: 'a', extra: undefined })).toMatchObject({ kind: 'failed' });
  });

  it('narrows what throws in the look-up itself down to the one vendor job that it throws for', async () => {
    const { requests, ask } = rig(unlucky(['job-42'], () => new TypeError('cannot read properties of undefined')));
    const looks = await ask(ids(100));
    for (const [id, look] of looks) expect(look.kind).toBe(id === 'job-42' ? 'failed' : 'report');
    expect(requests.length - 1).toBeLessThanOrEqual(16);
    requests.length = 0;
    await ask(ids(100));
    expect(requests.map((one) => one.length).sort()).toEqual([1, 99]);
  });

  it('asks for each alone after a look-up that never ended, and the innocent come back together', async () => {
    const timeout = (): Error => new StepTimeoutError('look', 'a while');
    const { requests, ask, clock } = rig(unlucky(['job-3'], timeout));
    expect([...(await ask(ids(20))).values()].every((look) => look.kind === 'failed')).toBe(true);
    expect(requests.map((one) => one.length)).toEqual([20]);
    requests.length = 0;
    const looks = await ask(ids(20));
    for (const [id, look] of looks) expect(look.kind).toBe(id === 'job-3' ? 'failed' : 'report');
    expect(requests.map((one) => one.length)).toEqual(Array.from({ length: 20 }, () => 1));
    requests.length = 0;
    clock.now += 1_000;
    await ask(ids(20));
    expect(requests.map((one) => one.length).sort()).toEqual([1, 19]);
  });

  it.each(ids(100))('finds the culprit %s among 100 within 16 further requests and answers all others', async (bad) => {
    const { requests, ask } = rig(unlucky([bad], notFound));
    const looks = await ask(ids(100));
    expect(requests.length - 1).toBeLessThanOrEqual(8);
    for (const [id, look] of looks) expect(look.kind).toBe(id === bad ? 'missing' : 'report');
  });

  it('keeps a culprit out of every later batch', async () => {
    const { requests, ask, clock } = rig(unlucky(['job-7'], notFound));
    await ask(ids(100));
    requests.length = 0;
    const looks = await ask(ids(100));
    expect(requests.map((one) => one.length)).toEqual([99]);
    expect(looks.get('job-7')?.kind).toBe('missing');
    clock.now += 10_000;
    await ask(['job-7']);
    expect(requests.at(-1)).toEqual(['job-7']);
  });

  it('costs at most 16 requests for a culprit over a grace period of 30 s', async () => {
    const { requests, ask, clock } = rig(unlucky(['job-0'], notFound));
    const end = clock.now + 30_000;
    for (; clock.now <= end; clock.now += 500) await ask(['job-0', ...ids(100).slice(1)]);
    expect(requests.length - 61).toBeLessThanOrEqual(16);
  });

  it('sees a culprit that shows up late', async () => {
    const bad = ['job-3'];
    const { ask, clock } = rig((asked) => unlucky(bad, notFound)(asked));
    expect((await ask(ids(10))).get('job-3')?.kind).toBe('missing');
    bad.length = 0;
    clock.now += 10_000;
    expect((await ask(ids(10))).get('job-3')?.kind).toBe('report');
  });

  it('asks for a culprit at once when the clock was set back', async () => {
    const bad = ['job-3'];
    const { ask, clock } = rig((asked) => unlucky(bad, notFound)(asked));
    expect((await ask(ids(10))).get('job-3')?.kind).toBe('missing');
    bad.length = 0;
    clock.now -= 3_600_000;
    expect((await ask(ids(10))).get('job-3')?.kind).toBe('report');
  });

  it('finds many culprits without asking more than plain halving would', async () => {
    const { requests, ask } = rig(unlucky(ids(100), notFound));
    const looks = await ask(ids(100));
    expect([...looks.values()].every((look) => look.kind === 'missing')).toBe(true);
    expect(requests.length).toBeLessThanOrEqual(215);
  });

  it('learns how many the vendor takes, and blames nobody for it', async () => {
    const { requests, ask } = rig((asked) =>
      asked.length > 30 ? new VendorRejectedError('too many', { httpStatus: 400 }) : undefined,
    );
    const looks = await ask(ids(100));
    expect([...looks.values()].every((look) => look.kind === 'report')).toBe(true);
    requests.length = 0;
    await ask(ids(100));
    expect(requests.map((one) => one.length)).toEqual([25, 25, 25, 25]);
  });

  it('finds a culprit that the vendor refuses otherwise, and does not lose it', async () => {
    const malformed = () => new VendorRejectedError('malformed', { httpStatus: 400 });
    const { requests, ask } = rig(unlucky(['job-8'], malformed));
    const looks = await ask(ids(100));
    for (const [id, look] of looks) expect(look.kind).toBe(id === 'job-8' ? 'refused' : 'report');
    expect(requests.length - 1).toBeLessThanOrEqual(16);
  });

  it('asks once more after a 500 before it narrows', async () => {
    let isFirst = true;
    const { requests, ask } = rig(() => {
      const error = isFirst ? serverError() : undefined;
      isFirst = false;
      return error;
    });
    const looks = await ask(ids(100));
    expect(requests.map((one) => one.length)).toEqual([100, 100]);
    expect([...looks.values()].every((look) => look.kind === 'report')).toBe(true);
  });

  it('halves a batch that answers 500 until the culprit stands alone', async () => {
    const { requests, ask } = rig(unlucky(['job-42'], serverError));
    const looks = await ask(ids(100));
    expect(requests.length - 1).toBeLessThanOrEqual(16);
    for (const [id, look] of looks) expect(look.kind).toBe(id === 'job-42' ? 'failed' : 'report');
    requests.length = 0;
    await ask(ids(100));
    expect(requests.map((one) => one.length).sort()).toEqual([1, 99]);
  });

  it('stops narrowing when both halves answer 500: the vendor is down', async () => {
    const { requests, ask } = rig(serverError);
    const looks = await ask(ids(100));
    expect(requests.map((one) => one.length)).toEqual([100, 100, 50, 50]);
    expect([...looks.values()].every((look) => look.kind === 'failed')).toBe(true);
  });

  it('brings two culprits in different halves apart over the next polls', async () => {
    const { requests, ask } = rig(unlucky(['job-1', 'job-99'], serverError));
    let looks = await ask(ids(100));
    for (let poll = 0; poll < 8; poll += 1) looks = await ask(ids(100));
    for (const [id, look] of looks) expect(look.kind).toBe(id === 'job-1' || id === 'job-99' ? 'failed' : 'report');
    expect(requests.length).toBeLessThan(100);
  });

  it('does not narrow what no single job can be blamed for', async () => {
    const { requests, ask } = rig(() => new VendorUnavailableError('gone', { taken: 'maybe', httpStatus: 503 }));
    await ask(ids(100));
    expect(requests).toHaveLength(1);
  });

  it('keeps requests without a batch bounded in number', async () => {
    let inFlight = 0;
    let most = 0;
    const lookup: Lookup<object> = {
      maxBatch: 1,
      async look([job]) {
        most = Math.max(most, ++inFlight);
        await new Promise((resolve) => setTimeout(resolve, 1));
        inFlight -= 1;
        return new Map([[job?.id ?? '', { status: 'running' as const }]]);
      },
    };
    const context = {
      account: {},
      http: undefined as never,
      logger: silentLogger,
      signal: new AbortController().signal,
    };
    const gate = new LookupGate(lookup, context, open, () => 0);
    const looks = await Promise.all(ids(500).map((id) => gate.look({ id, extra: undefined })));
    expect(looks.every((look) => look.kind === 'report')).toBe(true);
    expect(most).toBe(32);
  });
});
