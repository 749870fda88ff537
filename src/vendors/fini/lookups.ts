import { VendorRejectedError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { terminalStatuses, type VendorJobStatus } from '../../core/submission.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Lookup, LookupAnswer, LookupContext, LookupJob, VendorReport } from '../../ports/vendor-adapter.ts';
import { parseTimestamp } from '../timestamps.ts';
import type { FiniAccount } from './account.ts';
import { WantedPages } from './addresses.ts';
import { getRecord, getRecords, listRecords } from './records.ts';
import { readNotes, toExtra, toReport, type RunNotes } from './runs.ts';
import { knownStatus, namesFailure, toStatus } from './status.ts';
import { statusReply, type WireJob, type WireRecord } from './wire.ts';

type Reports = Map<string, LookupAnswer>;

/** Pages in which a URL's record is searched: what was just queued stands in front. */
const searchedPages = 5;

/** A document by its record id. The list re-orders under one's feet, so each is asked for by itself. */
export const documentLookup: Lookup<FiniAccount> = {
  maxBatch: 1,
  async look([job], context) {
    if (job === undefined) return new Map();
    const wire = await getRecord(context.http, job.id);
    return new Map([[job.id, toReport(wire, readNotes(job.extra), context)]]);
  },
};

/** A web page whose record the vendor did not name: searched by its URL, and once found asked for by id. */
export const addressLookup: Lookup<FiniAccount> = {
  maxBatch: 100,
  // Two submissions can have found different records of one URL. Each record is a request of its own anyway.
  batchKey: (job) => readNotes(job.extra).documentId ?? '',
  async look(jobs, context) {
    const reports: Reports = new Map();
    const known = jobs.filter((job) => readNotes(job.extra).documentId !== undefined);
    const ids = known.flatMap((job) => readNotes(job.extra).documentId ?? []);
    const records = await getRecords(context.http, ids);
    for (const job of known) {
      const wire = records.get(readNotes(job.extra).documentId ?? '');
      reports.set(job.id, ({ extra }) => (wire === undefined ? wire : toReport(wire, readNotes(extra), context)));
    }
    const sought = jobs.filter((job) => !known.includes(job));
    const found = await search(sought, context);
    for (const [job, wire] of found.exact) {
      reports.set(job.id, ({ extra }) => toReport(wire, { ...readNotes(extra), documentId: wire.id }, context));
    }
    for (const [job, wire] of found.similar) {
      if (!found.exact.has(job)) reports.set(job.id, ({ extra }) => toSimilarReport(wire, readNotes(extra), context));
    }
    // One that was not found is left out: how far back the list was read depends on whose notes it was asked with.
    return reports;
  },
};

/**
 * A record under another spelling of the URL. It can be that of another page, whose own record the list shows late; so
 * it is taken where a second look shows no exact one either.
 */
function toSimilarReport(wire: WireRecord, notes: RunNotes, context: LookupContext<FiniAccount>): VendorReport {
  if (notes.similar === wire.id) return toReport(wire, { ...notes, documentId: wire.id }, context);
  return { status: 'pending', extra: toExtra({ ...notes, similar: wire.id }) };
}

interface Found {
  exact: Map<LookupJob, WireRecord>;
  /** Records under another spelling of the URL. */
  similar: Map<LookupJob, WireRecord>;
}

async function search(jobs: readonly LookupJob[], { http }: LookupContext<FiniAccount>): Promise<Found> {
  const found: Found = { exact: new Map(), similar: new Map() };
  if (jobs.length === 0) return found;
  const wanted = new WantedPages(jobs.map((job) => [job.id, job] as const));
  const marks = jobs.map((job) => parseTimestamp(readNotes(job.extra).watermark) ?? 0);
  for await (const { documents: rows } of listRecords(http, { source: 'web' }, searchedPages)) {
    for (const wire of rows) {
      for (const { page: job, isExact } of wanted.at(wire.originalUrl)) {
        const known = isExact ? found.exact : found.similar;
        // The list is ordered by the last change: the first one is the newest.
        if (!known.has(job)) known.set(job, wire);
      }
    }
    const oldest = parseTimestamp(rows.at(-1)?.updatedAt);
    // From here on nothing changed since the submit.
    if (found.exact.size === jobs.length || (oldest !== undefined && oldest < Math.min(...marks))) break;
  }
  return found;
}

/**
 * Knowledge jobs, many in one request. One unknown id makes the vendor refuse them all, without naming it; the engine
 * halves such a batch until the culprit stands alone.
 */
export const jobLookup: Lookup<FiniAccount> = {
  maxBatch: (account) => account.statusBatchSize,
  async look(jobs, context) {
    const asked = new Map(jobs.map((job) => [job.id.toLowerCase(), job]));
    let rows: WireJob[];
    try {
      const { body } = await context.http.request({
        method: 'POST',
        path: 'v2/knowledge/public/jobs/status',
        json: { jobIds: jobs.map((job) => job.id) },
        reply: statusReply,
      });
      rows = body.jobs;
    } catch (error) {
      // Malformed, says the vendor of a single id: it has no such job.
      const isMalformed = error instanceof VendorRejectedError && error.httpStatus === 400 && jobs.length === 1;
      throw isMalformed ? new VendorRejectedError(error.message, { httpStatus: 404, cause: error }) : error;
    }
    const known = new Map<string, WireJob>();
    for (const row of rows) {
      // Rows come in any order; foreign ones are nobody's.
      const id = asked.get(row.id.toLowerCase())?.id;
      if (id === undefined) continue;
      const before = known.get(id);
      // A row that comes twice: the end of the job is the later news.
      if (before === undefined || !isEnd(before, context)) known.set(id, row);
    }
    return new Map(
      jobs.map(({ id }) => {
        const row = known.get(id);
        // A watch and a generate can wait for one job, and only one of them knows the document.
        return [id, (job: LookupJob) => (row === undefined ? undefined : toJobReport(row, job, context))];
      }),
    );
  },
};

function isEnd(row: WireJob, { logger }: LookupContext<FiniAccount>): boolean {
  return terminalStatuses.has(statusOf(row, logger));
}

/**
 * What a row says, whatever its word: the vendor documents one word only, and that a job which is over has the time of
 * its end and, where it made knowledge, the article.
 */
function statusOf(row: WireJob, logger: Logger): VendorJobStatus {
  const { jobStatus: word, hcArticleId } = row;
  const known = knownStatus(word);
  if (known !== undefined && terminalStatuses.has(known)) return known;
  if (hcArticleId !== undefined && parseTimestamp(row.completedAt) !== undefined)
    return namesFailure(word) ? 'failed' : 'succeeded';
  return word === undefined ? 'running' : toStatus(word, logger);
}

function toJobReport(row: WireJob, job: LookupJob, { logger }: LookupContext<FiniAccount>): VendorReport {
  const status = statusOf(row, logger);
  const completedAt = parseTimestamp(row.completedAt);
  const { documentId, draft } = job.extra ?? {};
  const message = 'the vendor gives no reason for a failed generation; its dashboard may';
  return {
    status,
    ...(row.jobStatus === undefined ? {} : { vendorStatus: row.jobStatus }),
    result: {
      ...(documentId === undefined ? {} : { documentId }),
      ...(row.hcArticleId === undefined ? {} : { articleId: row.hcArticleId }),
      ...(terminalStatuses.has(status) ? { articleId: row.hcArticleId ?? null, draft: draft ?? null } : {}),
      ...(status === 'succeeded' && typeof draft === 'boolean' ? { saved: whatWasSaved(row.hcArticleId, draft) } : {}),
      ...toTimes(row),
    },
    ...(status === 'failed' ? { error: { code: 'vendor_job_failed', message } } : {}),
    ...(completedAt === undefined ? {} : { completedAt }),
  };
}

/**
 * What a generation that ended well left at the vendor: an article that is live, a draft of one, or, where it decided on
 * no change, nothing or a draft that says so and waits for review.
 */
function whatWasSaved(articleId: string | undefined, draft: boolean): string {
  if (articleId === undefined) return draft ? 'no-op-draft' : 'nothing';
  return draft ? 'draft' : 'live';
}

function toTimes(row: WireJob): JsonObject {
  const times = { createdAt: row.createdAt, startedAt: row.startedAt, completedAt: row.completedAt };
  return Object.fromEntries(
    Object.entries(times).flatMap(([name, text]) => {
      const at = parseTimestamp(text);
      return at === undefined ? [] : [[name, new Date(at).toISOString()]];
    }),
  );
}
