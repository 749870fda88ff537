import type { Audit, AuditedJob, Evidence, Submitted, Told, VendorCreate, VendorLookUp, Window } from './evidence.ts';
import { checkHeldAccount } from './check-held.ts';
import type { Violation } from './violation.ts';

export interface Counts {
  settled: number;
  deliveries: number;
  repeatedDeliveries: number;
  outcomes: Record<string, number>;
  byLoad: Record<string, number>;
  creates: number;
  vendorJobs: number;
  /** Submissions for which more than one create was sent. */
  sentAgain: number;
  /** File jobs that the vendor made and that nobody could upload to any more; it does no work for them. */
  neverBegun: number;
  /** The longest that a submission outlived a near deadline, which counts from its acceptance, ms. */
  maxExpiredLateMs: number;
  lookUps: number;
  /** Look-ups beyond those that the events count: the price of all interruptions. */
  extraLookUps: number;
  maxExtraLookUps: number;
  /** Submissions whose extra look-ups are more than the interruptions that they met. */
  unexplainedExtra: number;
  hints: number;
  /** Requests with the wrong key while the account was held. */
  heldRequests: number;
  /** Parents in flows, by how they ended. */
  parents: Record<string, number>;
  /** Submissions that came under a deduplication id which had become free. */
  twins: number;
}

export interface Verdict {
  violations: Violation[];
  /** What the same checks found where Redis had lost the write that protects: told apart, and never hidden. */
  afterLoss: Violation[];
  counts: Counts;
}

/** Clocks are one machine's, but a timer and a socket can be a few ms apart. */
const toleranceMs = 25;
/** A write is lost when it came after the last one kept; what the vendor saw may be a little older. */
const lossMarginMs = 500;
/** How long the last look-up may be delayed after all waiting is over: by a worker that died, or by a slow answer, ms. */
const takenOverMs = 30_000;
/** How far before an intent the list is asked for. */
const listedBeforeMs = 600_000;
/** How long a job may be in no list of its queue until it is found. */
const strayMs = 60_000;
/** A submission lasts two minutes at most where nothing goes wrong, with a look-up every two seconds and a half. */
const mostLookUps = 150;
const hintMs: Readonly<Record<string, number>> = { 'rate-limited': 2_000, unavailable: 2_000 };
/** After these nothing was taken in, and the answer says so. */
const refusals: ReadonlySet<number> = new Set([401, 402, 403, 425, 429]);
const doneWords: ReadonlySet<string> = new Set(['done', 'COMPLETED']);
const failedWords: ReadonlySet<string> = new Set(['failed', 'FAILED']);
/** Stands for a resource that is there, where no workflow was named: nothing has to be over. */
const standIns: ReadonlySet<string> = new Set(['FOUND', 'ACCEPTED', 'DONE']);

/** One submission, and all that there is on it. */
interface Case {
  submitted: Submitted;
  told: readonly Told[];
  creates: readonly VendorCreate[];
  jobs: readonly AuditedJob[];
  lookUpsOf: (job: AuditedJob) => readonly VendorLookUp[];
  evidence: Evidence;
  /** Ids of Knowhere's jobs whose file arrived. */
  uploaded: ReadonlySet<string>;
  counts: Counts;
  report: (invariant: Violation['invariant'], what: string) => void;
}

/** Checks what must always hold, from what the vendors saw, what was delivered, and what Redis still holds. */
export function check(evidence: Evidence): Verdict {
  const { audit, submissions, deliveries } = evidence;
  const counts = noCounts(audit);
  const violations: Violation[] = [];
  const afterLoss: Violation[] = [];
  const createsOf = groupBy(audit.creates, (create) => create.submission);
  const jobsOf = groupBy(audit.jobs, (job) => job.submission);
  const lookUps = groupBy(audit.lookUps, (lookUp) => lookUp.jobId);
  const uploaded = new Set(audit.uploads);
  for (const submitted of submissions.values()) {
    const { id } = submitted;
    const found: Violation[] = [];
    const one: Case = {
      submitted,
      evidence,
      uploaded,
      counts,
      told: deliveries.get(id) ?? [],
      creates: createsOf.get(id) ?? [],
      jobs: jobsOf.get(id) ?? [],
      lookUpsOf: (job) => lookUpsNaming(job, lookUps),
      report: (invariant, what) => {
        found.push({ invariant, submission: id, what: `${submitted.load.name}: ${what}` });
      },
    };
    checkSubmission(one);
    (wasLost(one) ? afterLoss : violations).push(...found);
  }
  violations.push(...checkRest(evidence));
  const held = checkHeldAccount(evidence);
  counts.heldRequests = audit.refused.length;
  violations.push(...held.violations);
  afterLoss.push(...held.afterLoss);
  return { violations, afterLoss, counts };
}

/** What belongs to no submission, and what should be gone. */
function checkRest({ audit, submissions, deliveries, leftovers }: Evidence): Violation[] {
  const found: Violation[] = [];
  if (audit.dropped > 0) found.push({ invariant: 2, submission: '', what: `the ledger dropped ${audit.dropped}` });
  for (const [id, told] of deliveries) {
    if (!submissions.has(id)) found.push({ invariant: 1, submission: id, what: `${told.length} events for nobody` });
  }
  for (const { queue, jobId, place, record } of leftovers) {
    const what = `left in ${queue} ${place}: ${(record ?? 'no record').slice(0, 400)}`;
    found.push({ invariant: 3, submission: jobId, what });
  }
  return found;
}

function checkSubmission(one: Case): void {
  const { told, creates, counts, submitted } = one;
  counts.deliveries += told.length;
  counts.repeatedDeliveries += Math.max(0, told.length - 1);
  counts.byLoad[submitted.load.name] = (counts.byLoad[submitted.load.name] ?? 0) + 1;
  if (creates.length > 1) counts.sentAgain += 1;
  checkEvents(one);
  checkVendorJobs(one);
  for (const job of one.jobs) {
    const lookUps = one.lookUpsOf(job);
    checkHints(one, lookUps);
    if (lookUps.length > mostLookUps) one.report(3, `${lookUps.length} look-ups of one vendor job`);
  }
  countExtraLookUps(one);
  checkBonds(one);
}

/** Invariant 1, and the outcome. */
function checkEvents(one: Case): void {
  const { told, counts, report } = one;
  const [first] = told;
  if (first === undefined) return report(1, 'no event');
  counts.settled += 1;
  counts.outcomes[first.outcome] = (counts.outcomes[first.outcome] ?? 0) + 1;
  const contents = new Set(told.map(({ content }) => content)).size;
  if (contents > 1) report(1, `${contents} contents in ${told.length} deliveries`);
  if (new Set(told.map(({ eventId }) => eventId)).size > 1) report(1, 'more than one event id');
  if (first.enqueuedAt > first.settledAt + toleranceMs) report(1, 'enqueued after it was settled');
  checkOutcome(one, first);
}

/** Invariant 7: a parent or a deduplication holds until the submission is settled, and a parent gets its outcome. */
function checkBonds({ submitted, told, counts, evidence, report }: Case): void {
  const { id, parent, twinOf, pushedAt } = submitted;
  if (twinOf !== undefined) {
    counts.twins += 1;
    const [first] = evidence.deliveries.get(twinOf) ?? [];
    if (first === undefined || first.settledAt > pushedAt + toleranceMs)
      report(7, `came under the deduplication id of ${twinOf}, which was not settled`);
  }
  if (parent === undefined) return;
  const end = evidence.parents.get(id);
  const state = end?.state ?? 'unknown';
  counts.parents[state] = (counts.parents[state] ?? 0) + 1;
  const [first] = told;
  if (first === undefined || end === undefined) return report(7, `its parent is ${state}`);
  const isSuccess = first.outcome === 'succeeded';
  const expected = parent === 'fail' && !isSuccess ? 'failed' : 'completed';
  if (state !== expected) return report(7, `${first.outcome}, and its parent (${parent}) is ${state}`);
  if (state === 'failed') return;
  if (end.value !== (isSuccess ? first.data : undefined))
    report(7, "its parent was given another value than the event's data");
  const isToldWhy = end.failed?.startsWith(`${first.outcome}: `) === true;
  if (parent === 'ignore' && !isSuccess && !isToldWhy)
    report(7, `its parent was told of a failure: ${String(end.failed)}`);
}

/** Invariants 4 and 5: an outcome has its cause. */
function checkOutcome(one: Case, told: Told): void {
  const { submitted, jobs, report, counts } = one;
  const named = told.vendorJobs.map((ref) => ({ ref, jobs: jobs.filter((job) => isNamed(job, ref.id)) }));
  if (named.some((each) => each.jobs.length === 0)) report(1, 'names a vendor job of somebody else');
  const mine = named.flatMap((each) => each.jobs);
  const because = told.because === '' ? '' : ` (${told.because})`;
  switch (told.outcome) {
    case 'succeeded':
      if (named.length === 0) report(4, 'succeeded without a vendor job');
      for (const each of named) checkSuccess(one, told, each.ref.status, each.jobs);
      return;
    case 'failed':
      // The one cause that a run scripts.
      if (!mine.some((job) => failedWords.has(job.status))) report(5, `failed without cause${because}`);
      return;
    case 'canceled':
      if (submitted.cancelRequestedAt === undefined && submitted.removedAt === undefined)
        report(5, 'canceled without a request');
      return;
    case 'rejected':
      if (submitted.load.isRejected !== true) report(5, `rejected without cause${because}`);
      return;
    case 'expired': {
      const { deadlineMs } = submitted.load;
      if (deadlineMs === undefined) return report(5, `expired without cause${because}`);
      // Waiting to be accepted may take a day, and no run lasts as long.
      if (told.submittedAt === null) return report(5, `expired unsent${because}`);
      const lateMs = told.settledAt - (told.submittedAt + deadlineMs);
      counts.maxExpiredLateMs = Math.max(counts.maxExpiredLateMs, lateMs);
      if (lateMs < -toleranceMs) report(5, `expired ${-lateMs} ms before its deadline`);
      // A vendor that cannot be asked at the deadline is asked for as long again, a worker that dies is replaced, and
      // a job that is missing from all lists is found within a minute.
      const grantedMs = deadlineMs + takenOverMs + (mayBeStray(one, told) ? strayMs : 0);
      if (lateMs > grantedMs && !wasInterrupted(one)) report(5, `expired ${lateMs} ms after its deadline`);
      return;
    }
    case 'unconfirmed':
      if (!mayBeUnconfirmed(one, told)) report(5, `unconfirmed without cause${because}: ${tell(one.creates)}`);
      return;
    default:
      report(5, `${told.outcome} without cause${because}`);
  }
}

function checkSuccess({ report }: Case, told: Told, status: string, jobs: readonly AuditedJob[]): void {
  if (standIns.has(status)) return;
  // Of several runs over one record the last one counts.
  const job = jobs.find(({ status: word }) => doneWords.has(word)) ?? jobs[0];
  if (job === undefined) return;
  if (!doneWords.has(job.status)) report(4, `succeeded, and the vendor says ${job.status}`);
  else if (job.endedAt !== null && told.settledAt < job.endedAt - toleranceMs) {
    report(4, 'succeeded before the vendor was done');
  }
}

function mayBeStray({ submitted, evidence }: Case, { settledAt }: Told): boolean {
  return evidence.pauses.some((pause) => overlap(pause, { from: submitted.pushedAt, to: settledAt }));
}

function wasInterrupted({ submitted, evidence }: Case): boolean {
  return (evidence.interruptions.get(submitted.id) ?? 0) > 0;
}

/** `unconfirmed` is correct only where the vendor cannot be asked and the outcome of the submit was really unknown. */
function mayBeUnconfirmed(one: Case, told: Told): boolean {
  const { submitted, creates, evidence } = one;
  if (submitted.load.resend !== 'none') return false;
  if (wasInterrupted(one)) return true;
  if (creates.some((create) => !isAnswered(create))) return true;
  // The answer was lost on its way, or nobody was there to hear it; or the request itself never arrived.
  const last = creates.at(-1);
  const doubtful: Window =
    last === undefined
      ? { from: submitted.pushedAt, to: told.settledAt }
      : { from: last.at - lossMarginMs, to: last.answeredAt + lossMarginMs };
  return [...evidence.vendorTrouble, ...evidence.standstill].some((window) => overlap(window, doubtful));
}

/** Invariant 2: how often the vendor was made to do the work. */
function checkVendorJobs(one: Case): void {
  const { submitted, jobs, creates, counts, report, evidence } = one;
  const { load } = submitted;
  // A file job whose answer was lost can never be begun: the link to upload to was in the answer and nowhere else.
  const isBegun = (job: AuditedJob): boolean =>
    load.isFile !== true || (job.status !== 'waiting-file' && one.uploaded.has(job.id));
  const begun = jobs.filter(isBegun);
  counts.neverBegun += jobs.length - Math.max(begun.length, Math.min(1, jobs.length));
  const made = `${begun.length} vendor jobs from ${creates.length} creates: ${tell(creates)}`;
  switch (load.resend) {
    case 'lookup':
      if (begun.length > 1)
        report(2, load.vendor === 'knowhere' ? `${made}; ${tellLooks(evidence.audit, creates)}` : made);
      return;
    case 'safe': {
      // Repeated work is fine as long as it is work on the same thing; what failed is gone, and made anew.
      const kept = new Set(jobs.filter((job) => !failedWords.has(job.status)).map((job) => job.resourceId));
      if (kept.size > 1) report(2, `repeated to another effect: ${made}`);
      return;
    }
    case 'none': {
      if (begun.length > 1) report(2, made);
      const unclear = creates.slice(0, -1).filter((create) => !isRefused(create));
      if (unclear.length > 0) report(2, `sent again after a submit of unknown fate: ${tell(creates)}`);
    }
  }
}

function isRefused({ status }: VendorCreate): boolean {
  return status !== null && refusals.has(status);
}

/** True where the answer went out whole and says what came of it. */
function isAnswered(create: VendorCreate): boolean {
  const { status, faults } = create;
  if (status === null || status >= 500) return false;
  const damages = ['malformed-json', 'truncated-body', 'empty-body', 'foreign-json', 'html-page', 'wrong-content-type'];
  return !faults.some((fault) => damages.includes(fault));
}

/** Invariant 3: no look-up of a vendor job before the vendor's hint allows it. */
function checkHints({ counts, report, evidence }: Case, lookUps: readonly VendorLookUp[]): void {
  lookUps.forEach((lookUp, at) => {
    const fault = lookUp.faults.find((name) => hintMs[name] !== undefined);
    if (fault === undefined || (lookUp.status !== 429 && lookUp.status !== 503)) return;
    counts.hints += 1;
    const next = lookUps[at + 1];
    const waitMs = hintMs[fault] ?? 0;
    if (next === undefined || next.at >= lookUp.answeredAt + waitMs - toleranceMs) return;
    const heard = { from: lookUp.at - lossMarginMs, to: lookUp.answeredAt + lossMarginMs };
    if (evidence.vendorTrouble.some((window) => overlap(window, heard))) return;
    report(3, `asked ${next.at - lookUp.answeredAt} ms after a hint of ${waitMs} ms`);
  });
}

/** Of a URL of Knowhere's the event counts every look-up; an upload and a batch ask more often than it tells. */
function countExtraLookUps({ submitted, told, jobs, counts, evidence, lookUpsOf }: Case): void {
  const { load, id } = submitted;
  const [first] = told;
  const [job] = jobs;
  if (load.vendor !== 'knowhere' || load.isFile === true || first === undefined || job === undefined) return;
  if (jobs.length > 1) return;
  const extra = lookUpsOf(job).length - first.polls;
  counts.extraLookUps += Math.max(0, extra);
  counts.maxExtraLookUps = Math.max(counts.maxExtraLookUps, extra);
  if (extra > (evidence.interruptions.get(id) ?? 0)) counts.unexplainedExtra += 1;
}

/** True where something of it happened within what Redis lost. */
function wasLost({ submitted, told, creates, jobs, lookUpsOf, evidence }: Case): boolean {
  if (evidence.lost.length === 0) return false;
  const touched = [
    submitted.pushedAt,
    ...creates.map(({ at }) => at),
    ...told.map(({ at }) => at),
    ...jobs.flatMap((job) => lookUpsOf(job).map(({ at }) => at)),
  ];
  return touched.some((at) =>
    evidence.lost.some(({ from, to }) => at >= from - lossMarginMs && at <= to + lossMarginMs),
  );
}

/** Records and knowledge items are asked for by their own id. */
function isNamed(job: AuditedJob, id: string): boolean {
  if (job.id === id) return true;
  return job.vendor !== 'knowhere' && (job.resourceId === id || job.source === id);
}

/** Workflows are asked for by their own id, records and uploads by that of what they work on. */
function lookUpsNaming(job: AuditedJob, lookUps: ReadonlyMap<string, readonly VendorLookUp[]>): VendorLookUp[] {
  const ids = job.vendor === 'knowhere' ? [job.id] : [job.id, job.resourceId ?? ''];
  return ids.flatMap((id) => lookUps.get(id) ?? []);
}

function overlap(one: Window, other: Window): boolean {
  return one.from <= other.to && one.to >= other.from;
}

/** How the vendor was asked for a lost create: an empty list is one of its faults, and weak proof for whoever gets it. */
function tellLooks(audit: Audit, creates: readonly VendorCreate[]): string {
  const looks = creates.slice(0, -1).flatMap((create) =>
    // The intent came a moment before the create.
    audit.lists.filter(
      ({ from }) => create.at - (from + listedBeforeMs) >= 0 && create.at - (from + listedBeforeMs) < 500,
    ),
  );
  const [first] = creates;
  const told = looks.map(
    ({ at, faults }) => `+${((at - (first?.at ?? at)) / 1_000).toFixed(1)} s ${faults.join(' ') || 'listed'}`,
  );
  return `asked for about then: ${told.length === 0 ? 'nothing' : told.join(', ')}`;
}

function tell(creates: readonly VendorCreate[]): string {
  if (creates.length === 0) return 'no create arrived';
  return creates
    .map((create) => {
      const answer = [create.status ?? 'no answer', ...create.faults].join(' ');
      return `${new Date(create.at).toISOString().slice(11)} ${create.jobId ?? 'nothing'} (${answer})`;
    })
    .join(', ');
}

function noCounts(audit: Audit): Counts {
  return {
    settled: 0,
    deliveries: 0,
    repeatedDeliveries: 0,
    outcomes: {},
    byLoad: {},
    creates: audit.creates.length,
    vendorJobs: audit.jobs.length,
    sentAgain: 0,
    neverBegun: 0,
    maxExpiredLateMs: 0,
    lookUps: audit.lookUps.length,
    extraLookUps: 0,
    maxExtraLookUps: 0,
    unexplainedExtra: 0,
    hints: 0,
    heldRequests: 0,
    parents: {},
    twins: 0,
  };
}

function groupBy<T>(list: readonly T[], keyOf: (one: T) => string | null): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of list) {
    const key = keyOf(one);
    if (key === null) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}
