import { describe, expect, it } from 'vitest';
import { silentLogger, type Logger } from '../../src/ports/logger.ts';
import type { LookupContext } from '../../src/ports/vendor-adapter.ts';
import { account, type FiniAccount } from '../../src/vendors/fini/account.ts';
import { canonicalUrl } from '../../src/vendors/fini/addresses.ts';
import { readNotes, toReport, type RunNotes } from '../../src/vendors/fini/runs.ts';
import { toStatus } from '../../src/vendors/fini/status.ts';
import { record, type WireRecord } from '../../src/vendors/fini/wire.ts';

const t = (second: number): string => new Date(Date.parse('2026-11-01T00:00:00Z') + second * 1_000).toISOString();
const now = Date.parse(t(1_000));

function context(at = now): LookupContext<FiniAccount> {
  const own = account.parse({ apiKey: 'fini_x' });
  return {
    account: own,
    http: undefined as never,
    logger: silentLogger,
    signal: new AbortController().signal,
    now: at,
  };
}

function wire(fields: object = {}): WireRecord {
  const base = { id: 'doc', linkedJobId: 'run-2', linkedJobStatus: 'COMPLETED', success: true, error: '' };
  return record.parse({ ...base, createdAt: t(0), updatedAt: t(20), ...fields });
}

const before = { jobId: 'run-1', updatedAt: t(10), status: 'COMPLETED' };

describe('a COMPLETED', () => {
  it('counts when linkedJobId changed since the snapshot', () => {
    expect(toReport(wire(), { before }, context()).status).toBe('succeeded');
  });

  it('of an earlier run is no news', () => {
    const stale = wire({ linkedJobId: 'run-1', updatedAt: t(10) });
    expect(toReport(stale, { before }, context())).toMatchObject({
      status: 'pending',
      vendorStatus: 'COMPLETED (earlier run)',
    });
  });

  it('that only updatedAt speaks for is believed at the second look', () => {
    const touched = wire({ linkedJobId: 'run-1' });
    const first = toReport(touched, { before }, context());
    expect(first.status).toBe('running');
    expect(toReport(touched, readNotes(first.extra), context()).status).toBe('succeeded');
  });

  it('counts once the run was seen at work', () => {
    const first = toReport(wire({ linkedJobId: 'run-1', linkedJobStatus: 'PENDING' }), { before }, context());
    expect(first.status).toBe('pending');
    const end = wire({ linkedJobId: 'run-1', updatedAt: t(10) });
    expect(toReport(end, readNotes(first.extra), context()).status).toBe('succeeded');
  });

  it('of a record that is newer than the snapshot counts, of an older untouched one it does not', () => {
    expect(toReport(wire({ createdAt: t(15) }), { watermark: t(10) }, context()).status).toBe('succeeded');
    expect(toReport(wire({ updatedAt: t(5) }), { watermark: t(10) }, context()).status).toBe('pending');
    expect(toReport(wire(), { watermark: null }, context()).status).toBe('succeeded');
  });

  it('is what a watch asked about, whenever it was', () => {
    expect(toReport(wire(), { watched: true }, context()).status).toBe('succeeded');
  });
});

describe('how a run ended', () => {
  const run: RunNotes = { watched: true };

  it.each([
    [{ success: false }, 'outcome_contradicted'],
    [{ success: undefined }, 'outcome_contradicted'],
    [{ error: 'robots.txt forbids it' }, 'vendor_job_failed'],
    [{ success: false, error: 'login wall' }, 'vendor_job_failed'],
    [{ linkedJobStatus: 'FAILED', success: false, error: '' }, 'vendor_job_failed'],
  ])('COMPLETED with %o is %s', (fields, code) => {
    const report = toReport(wire(fields), run, context());
    expect(report).toMatchObject({ status: 'failed', error: { code, details: { linkedJobId: 'run-2' } } });
    const { error: said } = fields as { error?: string };
    if (said !== undefined && said !== '') expect(report.error?.message).toBe(said);
  });

  it('tells of the document in the event', () => {
    const page = { originalUrl: 'https://a.test/', source: 'web', paragraphs: ['one', 'two'] };
    const full = wire({ ...page, linkedKnowledgeId: 'art', changed: true });
    expect(toReport(full, run, context()).result).toEqual({
      documentId: 'doc',
      source: 'web',
      originalUrl: 'https://a.test/',
      title: null,
      paragraphs: 2,
      linkedJobId: 'run-2',
      linkedKnowledgeId: 'art',
      linkedOperation: null,
      changed: true,
    });
  });

  it.each([[{}], [[]], [''], ['  '], [null], [false], [0], [{ message: '' }], [[null, { code: null }]]])(
    'takes the error %j for none',
    (error) => {
      expect(toReport(wire({ error }), run, context()).status).toBe('succeeded');
    },
  );

  it.each([[{ message: 'robots.txt' }], [['robots.txt']], [{ code: 0, reasons: ['robots.txt'] }]])(
    'takes the error %j for one',
    (error) => {
      const report = toReport(wire({ error }), run, context());
      expect(report).toMatchObject({ status: 'failed', error: { code: 'vendor_job_failed' } });
      expect(report.error?.message).toContain('robots.txt');
    },
  );

  it('advises to reconnect where the import came from a provider, and only there', () => {
    const failed = { linkedJobStatus: 'FAILED', error: 'no permission' };
    const messageOf = (source: string) => toReport(wire({ ...failed, source }), run, context()).error?.message;
    expect(messageOf('notion')).toMatch(/^no permission; .*reconnect it in the vendor’s dashboard, then refresh/);
    for (const source of ['web', 'files']) expect(messageOf(source)).toBe('no permission');
  });

  it('names the ids for support while the run goes on, and not those of an earlier run', () => {
    for (const linkedJobStatus of ['PENDING', 'IN_PROGRESS', 'SCRAPING']) {
      const report = toReport(wire({ linkedJobStatus }), { before }, context());
      expect(report.result).toEqual({ documentId: 'doc', linkedJobId: 'run-2' });
    }
    const stale = wire({ linkedJobId: 'run-1', updatedAt: t(10) });
    expect(toReport(stale, { before }, context()).result).toEqual({ documentId: 'doc' });
  });

  it('fails an id that the vendor did not accept and that shows no run within a minute', () => {
    const stale = wire({ linkedJobId: 'run-1', updatedAt: t(10) });
    expect(toReport(stale, { before, unlistedSince: now - 59_000 }, context()).status).toBe('pending');
    expect(toReport(stale, { before, unlistedSince: now - 61_000 }, context()).status).toBe('failed');
    expect(toReport(wire(), { before, unlistedSince: now - 61_000 }, context()).status).toBe('succeeded');
  });
});

describe('a PENDING', () => {
  const pending = wire({ linkedJobStatus: 'PENDING' });

  it('over 15 minutes is reported once, with its linkedJobId, and is no failure', () => {
    const first = toReport(pending, { before }, context());
    expect(first.notice).toBeUndefined();
    const early = toReport(pending, readNotes(first.extra), context(now + 15 * 60_000));
    expect(early.notice).toBeUndefined();
    const late = toReport(pending, readNotes(early.extra), context(now + 15 * 60_000 + 1));
    expect(late.status).toBe('pending');
    expect(late.notice).toContain('run-2');
    expect(late.notice).toContain('15 minutes');
    const later = toReport(pending, readNotes(late.extra), context(now + 20 * 60_000));
    expect(later.notice).toBeUndefined();
    const end = toReport(wire(), readNotes(later.extra), context(now + 30 * 60_000));
    expect(end).toMatchObject({ status: 'succeeded', result: { pendingNotice: { linkedJobId: 'run-2' } } });
  });

  it('of a watched record counts from when the record was queued', () => {
    expect(toReport(pending, { watched: true }, context()).notice).toContain('run-2');
    expect(toReport(pending, { watched: true }, context(Date.parse(t(60)))).notice).toBeUndefined();
  });
});

describe('words and addresses', () => {
  it('takes unknown words for running and logs each once', () => {
    const lines: unknown[] = [];
    const logger: Logger = { ...silentLogger, warn: (fields) => void lines.push(fields) };
    expect(['PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED'].map((word) => toStatus(word, logger))).toEqual([
      'pending',
      'running',
      'succeeded',
      'failed',
    ]);
    expect(['pending', 'In_Progress', ' completed', 'Failed'].map((word) => toStatus(word, logger))).toEqual([
      'pending',
      'running',
      'succeeded',
      'failed',
    ]);
    for (const word of ['QUEUED', 'QUEUED', '__proto__', 'QUEUED']) expect(toStatus(word, logger)).toBe('running');
    expect(lines).toHaveLength(2);
  });

  it('sees a run at work by words in any case', () => {
    const first = toReport(wire({ linkedJobId: 'run-1', linkedJobStatus: 'in_progress' }), { before }, context());
    const end = wire({ linkedJobId: 'run-1', updatedAt: t(10), linkedJobStatus: 'completed' });
    expect(toReport(end, readNotes(first.extra), context()).status).toBe('succeeded');
  });

  it('reads a record without a status as not queued yet', () => {
    expect(toReport(wire({ linkedJobStatus: null }), {}, context()).status).toBe('pending');
  });

  it('compares URLs as addresses', () => {
    expect(canonicalUrl('https://Docs.Example.com/a/#top')).toBe(canonicalUrl('https://docs.example.com/a'));
    expect(canonicalUrl('https://a.test/a?x=1')).not.toBe(canonicalUrl('https://a.test/a?x=2'));
    expect(canonicalUrl('https://a.test/A')).not.toBe(canonicalUrl('https://a.test/a'));
  });

  it('compares long runs of slashes in no time, and addresses beyond 2,048 characters as they are', () => {
    const hostile = `https://a.test/${'/'.repeat(2_000)}x`;
    const began = performance.now();
    for (let round = 0; round < 300; round += 1) expect(canonicalUrl(hostile)).toBe(hostile);
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(canonicalUrl(`https://a.test/a${'/'.repeat(2_000)}?x=//`)).toBe('https://a.test/a?x=//');
    const long = `https://a.test/${'a'.repeat(2_048)}/`;
    expect(canonicalUrl(long)).toBe(long);
  });

  it('keeps odd fields from losing a record', () => {
    const odd = record.parse({ id: 'doc', title: 7, changed: 'yes', linkedReason: null, paragraphs: 3, extra: {} });
    expect(odd).toEqual({ id: 'doc' });
  });
});
