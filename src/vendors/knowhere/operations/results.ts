import { describeDuration } from '../../../core/describe.ts';
import { LinkExpiredError, StepFailedError, VendorRejectedError } from '../../../core/errors.ts';
import type { JsonObject } from '../../../core/json.ts';
import type { ErrorInfo, VendorJob } from '../../../core/submission.ts';
import type { Artifact, ConfirmReply, StepContext } from '../../../ports/vendor-adapter.ts';
import { getJob } from '../get-job.ts';
import { toJobError, toReport, toResult } from '../report.ts';
import type { WireJob } from '../wire.ts';

/**
 * How long the file of a job that is `done` may be out of reach, ms. Storage that is replicated shows a new file seconds
 * late, and what is lost with it was paid for.
 */
const fileGraceMs = 60_000;
/** How long the link may be missing where it alone is wanted, ms. The work is done, and its event waits for no more. */
const linkGraceMs = 20_000;
const firstWaitMs = 1_000;
const longestWaitMs = 10_000;
/** Jobs asked for, or results fetched, in one turn: an error takes back what a turn found out. */
const jobsPerTurn = 20;

/** What is kept with a vendor job, as `extra`, while its result is waited for. */
interface Wait extends JsonObject {
  /** When the result was missed first, epoch ms. */
  since: number;
  looks: number;
  /** Nothing more is expected, and the job stays as it is. */
  isOver: boolean;
}

type Context = StepContext<unknown, unknown>;

/**
 * Sees to the results of jobs that are done: the links where the look-up brought none, and the files where they are to
 * be downloaded.
 *
 *   done ──link, and file if wanted──► confirmed
 *     ├──no link, or a dead one──► asked for again, for a grace ──► succeeded without a link; with `download`, failed
 *     └──now it failed──► failed with the vendor's error
 */
export async function confirmResults(context: Context, isDownloadWanted: boolean): Promise<ConfirmReply> {
  const isLast = context.now >= context.deadlineAt;
  const jobs: VendorJob[] = [];
  let left = 0;
  let reason = '';
  let afterMs = longestWaitMs;
  for (const vendorJob of context.jobs) {
    if (vendorJob.outcome !== 'succeeded' || isComplete(vendorJob, isDownloadWanted)) continue;
    if (jobs.length >= jobsPerTurn && !isLast) {
      left += 1;
      continue;
    }
    const settled = await settleResult(context, vendorJob, isDownloadWanted);
    jobs.push(settled.job);
    if (settled.waitMs === undefined) continue;
    reason = `${vendorJob.id}: ${settled.reason}`;
    afterMs = Math.min(afterMs, settled.waitMs);
  }
  if (left > 0) return { kind: 'not-yet', reason: `${left} more results are to be fetched`, afterMs: 0, jobs };
  return reason === '' ? { kind: 'confirmed', jobs } : { kind: 'not-yet', reason, afterMs, jobs };
}

function isComplete(vendorJob: VendorJob, isDownloadWanted: boolean): boolean {
  if (readWait(vendorJob)?.isOver === true) return true;
  const result = vendorJob.result as JsonObject;
  return isDownloadWanted ? result['artifact'] !== undefined : result['resultUrl'] !== null;
}

type Settled = { job: VendorJob; waitMs?: undefined } | { job: VendorJob; waitMs: number; reason: string };

async function settleResult(context: Context, vendorJob: VendorJob, isDownloadWanted: boolean): Promise<Settled> {
  const known = readWait(vendorJob);
  let result = vendorJob.result as JsonObject;
  let trouble = 'the vendor gave no result link';
  // The link of the look-up is seconds old; later ones are signed for the occasion.
  let isFresh = known !== undefined;
  if (!isFresh && result['resultUrl'] === null) return waitOrGiveUp();
  try {
    for (let tries = 1; ; tries += 1) {
      if (isFresh) {
        const wire = await askAgain();
        if (wire.status === 'failed') return { job: toFailed(vendorJob, wire, trouble) };
        const fresh = wire.status === 'done' ? toResult(wire) : { ...result, resultUrl: null };
        if (wire.status !== 'done') trouble = `the vendor says ${wire.status} of a job that was done`;
        // Bytes that were damaged once are not taken unchecked because the second answer has no checksum.
        result = { ...fresh, checksum: fresh['checksum'] ?? result['checksum'] ?? null };
      }
      if (result['resultUrl'] === null) return waitOrGiveUp();
      if (!isDownloadWanted) return { job: withoutWait({ ...vendorJob, result }) };
      try {
        const artifact = await download(context, vendorJob.id, result);
        return { job: withoutWait({ ...vendorJob, result: { ...result, artifact: { ...artifact } } }) };
      } catch (error) {
        if (error instanceof LinkExpiredError) {
          trouble = error.message;
          if (isFresh) return waitOrGiveUp();
        } else if (!(tries === 1 && isDamage(error))) throw error;
        isFresh = true;
      }
    }
  } catch (error) {
    if (error instanceof LinkExpiredError) {
      trouble = error.message;
      return waitOrGiveUp();
    }
    if (!(error instanceof StepFailedError)) throw error;
    return { job: withoutWait({ ...vendorJob, outcome: 'failed', error: error.toInfo() }) };
  }

  async function askAgain(): Promise<WireJob> {
    try {
      return await getJob(context.http, vendorJob.id);
    } catch (error) {
      // It is this one job that the vendor does not know any more, or does not show.
      if (error instanceof VendorRejectedError) throw new LinkExpiredError(error.message);
      throw error;
    }
  }

  function waitOrGiveUp(): Settled {
    const { now, deadlineAt } = context;
    const { since, looks } = known ?? { since: now, looks: 0 };
    const graceEndsAt = Math.min(since + (isDownloadWanted ? fileGraceMs : linkGraceMs), deadlineAt);
    if (now >= graceEndsAt) return { job: withoutResult(trouble, now - since) };
    const waitMs = Math.min(firstWaitMs * 2 ** Math.min(looks, 10), longestWaitMs, graceEndsAt - now);
    const extra: Wait = { since, looks: looks + 1, isOver: false };
    return { job: { ...vendorJob, extra }, waitMs, reason: trouble };
  }

  function withoutResult(why: string, waitedMs: number): VendorJob {
    const message = waitedMs > 0 ? `${why}; asked for ${describeDuration(waitedMs)}` : why;
    if (isDownloadWanted)
      return withoutWait({ ...vendorJob, outcome: 'failed', error: { code: 'result_unavailable', message } });
    context.logger.warn({ vendorJobId: vendorJob.id, reason: message }, 'a job is done and has no result link');
    const extra: Wait = { since: context.now, looks: 0, isOver: true };
    return { ...vendorJob, extra };
  }
}

/** The vendor's last word: its error, and beside it what was seen of the result. */
function toFailed(vendorJob: VendorJob, wire: WireJob, trouble: string): VendorJob {
  const { result, completedAt } = toReport(wire);
  const { details, ...said } = toJobError(wire);
  const ours = { result: { code: 'result_unavailable', message: trouble } };
  const error: ErrorInfo = { ...said, details: isObject(details) ? { ...details, ...ours } : { ...ours } };
  const { vendorStatus: _was, ...rest } = withoutWait(vendorJob);
  return {
    ...rest,
    status: 'failed',
    outcome: 'failed',
    error,
    ...(result === undefined ? {} : { result }),
    ...(completedAt === undefined ? {} : { completedAt }),
  };
}

async function download(context: Context, vendorJobId: string, result: JsonObject): Promise<Artifact> {
  const { transfers, signal, submissionId, accountName } = context;
  const { resultUrl, checksum } = result as { resultUrl: string; checksum: { value: string } | null };
  const order = { url: resultUrl, vendor: 'knowhere', account: accountName, submissionId };
  const file = { fileName: `${vendorJobId}.zip`, sha256: checksum?.value, startsWith: 'PK' };
  return transfers.download({ ...order, ...file }, signal);
}

function isDamage(error: unknown): boolean {
  return error instanceof StepFailedError && error.code === 'checksum_mismatch';
}

function readWait({ extra }: VendorJob): Wait | undefined {
  return extra?.['since'] === undefined ? undefined : (extra as Wait);
}

function withoutWait({ extra: _wait, ...vendorJob }: VendorJob): VendorJob {
  return vendorJob;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
