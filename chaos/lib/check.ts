import type { CompletionEvent } from '../../src/core/completion-event.ts';
import type { Audit, VendorCreate } from './orders.ts';

/** One submission as its producer knows it. */
export interface Submitted {
  id: string;
  isFile: boolean;
  pushedAt: number;
  /** When somebody asked for its end, and was told that it would come. */
  cancelRequestedAt?: number;
}

export interface Delivery {
  at: number;
  event: CompletionEvent;
}

/** Where a submission's job was found when everything should have been over. */
export interface Leftover {
  queue: string;
  jobId: string;
  place: string;
  record: string | null;
}

export interface Window {
  from: number;
  to: number;
}

export interface Evidence {
  submissions: ReadonlyMap<string, Submitted>;
  deliveries: ReadonlyMap<string, readonly Delivery[]>;
  audit: Audit;
  leftovers: readonly Leftover[];
  /** Jobs that BullMQ counts as failed. */
  failedJobs: number;
  /** Times of which Redis forgot what it was told. */
  lost: readonly Window[];
  /** Times in which answers of the vendor did not all arrive. */
  vendorTrouble: readonly Window[];
  /** By submission: how often a process that held its job died, froze, was rolled or lost Redis. */
  interruptions: ReadonlyMap<string, number>;
}

export interface Violation {
  invariant: 1 | 2 | 3 | 4 | 5;
  submission: string;
  what: string;
}

export interface Verdict {
  violations: Violation[];
  /** What the same checks found where Redis had lost the write that protects: told apart, and never hidden. */
  afterLoss: Violation[];
  counts: {
    settled: number;
    deliveries: number;
    repeatedDeliveries: number;
    outcomes: Record<string, number>;
    creates: number;
    vendorJobs: number;
    /** Submissions for which more than one create was sent. */
    sentAgain: number;
    /** File jobs that the vendor made and that nobody could upload to any more; it does no work for them. */
    neverBegun: number;
    lookUps: number;
    /** Look-ups beyond those that the events count: the price of all interruptions. */
    extraLookUps: number;
    maxExtraLookUps: number;
    /** Submissions whose extra look-ups are more than the interruptions that they met. */
    unexplainedExtra: number;
    hints: number;
  };
}

/** Clocks are one machine's, but a timer and a socket can be a few ms apart. */
const toleranceMs = 25;
/** A write is lost when it came after the last one kept; what the vendor saw may be a little older. */
const lossMarginMs = 500;
/** How far before an intent the list is asked for. */
const listedBeforeMs = 600_000;
const hintMs: Readonly<Record<string, number>> = { 'rate-limited': 2_000, unavailable: 2_000 };

/** The submission that a text of the vendor's names: its id is part of every source and label. */
export function submissionOf(text: string | null): string | undefined {
  return text === null ? undefined : /s-\d{6}/.exec(text)?.[0];
}

/** Checks what must always hold, from what the vendor saw, what was delivered, and what Redis still holds. */
export function check(evidence: Evidence): Verdict {
  const { audit, submissions, deliveries } = evidence;
  const violations: Violation[] = [];
  const afterLoss: Violation[] = [];
  const createsOf = groupBy(audit.creates, (create) => submissionOf(create.source) ?? submissionOf(create.dataId));
  const jobsOf = groupBy(audit.jobs, (job) => submissionOf(job.source) ?? submissionOf(job.dataId));
  const jobById = new Map(audit.jobs.map((job) => [job.id, job]));
  const uploaded = new Set(audit.uploads);
  const lookUpsOf = groupBy(audit.lookUps, (lookUp) => lookUp.jobId);
  const counts: Verdict['counts'] = {
    settled: 0,
    deliveries: 0,
    repeatedDeliveries: 0,
    outcomes: {},
    creates: audit.creates.length,
    vendorJobs: audit.jobs.length,
    sentAgain: 0,
    neverBegun: 0,
    lookUps: audit.lookUps.length,
    extraLookUps: 0,
    maxExtraLookUps: 0,
    unexplainedExtra: 0,
    hints: 0,
  };
  if (audit.dropped > 0) violations.push({ invariant: 2, submission: '', what: `the ledger dropped ${audit.dropped}` });

  for (const submitted of submissions.values()) {
    const { id } = submitted;
    const found: Violation[] = [];
    const report = (invariant: Violation['invariant'], what: string): void => {
      found.push({ invariant, submission: id, what });
    };
    const got = deliveries.get(id) ?? [];
    const creates = createsOf.get(id) ?? [];
    const jobs = jobsOf.get(id) ?? [];
    counts.deliveries += got.length;
    counts.repeatedDeliveries += Math.max(0, got.length - 1);
    if (creates.length > 1) counts.sentAgain += 1;

    const event = got[0]?.event;
    if (event === undefined) report(1, 'no event');
    else {
      counts.settled += 1;
      counts.outcomes[event.data.outcome] = (counts.outcomes[event.data.outcome] ?? 0) + 1;
      const contents = new Set(got.map((delivery) => JSON.stringify(delivery.event)));
      if (contents.size > 1) report(1, `${contents.size} contents in ${got.length} deliveries`);
      if (new Set(got.map((delivery) => delivery.event.id)).size > 1) report(1, 'more than one event id');
      checkOutcome(event);
    }
    // A file job whose answer was lost can never be begun: the link to upload to was in the answer and nowhere else.
    const begun = jobs.filter((job) => !(submitted.isFile && (job.status === 'waiting-file' || !uploaded.has(job.id))));
    counts.neverBegun += jobs.length - Math.max(begun.length, Math.min(1, jobs.length));
    if (begun.length > 1)
      report(
        2,
        `${begun.length} vendor jobs from ${creates.length} creates: ${tell(creates)}; ${tellLooks(audit, creates)}`,
      );
    for (const job of jobs) checkLookUps(job.id);

    const touched = [...creates.map((create) => create.at), ...got.map((one) => one.at), submitted.pushedAt].concat(
      jobs.flatMap((job) => (lookUpsOf.get(job.id) ?? []).map((lookUp) => lookUp.at)),
    );
    const isAfterLoss = touched.some((at) =>
      evidence.lost.some(({ from, to }) => at >= from - lossMarginMs && at <= to + lossMarginMs),
    );
    (isAfterLoss ? afterLoss : violations).push(...found);

    function checkOutcome(settled: CompletionEvent): void {
      const { outcome, vendorJobs, error, timings } = settled.data;
      const mine = vendorJobs.map((job) => jobById.get(job.id));
      if (mine.some((job) => job === undefined || !jobs.includes(job)))
        report(1, 'names a vendor job of somebody else');
      const because = error === null ? '' : ` (${error.code}: ${error.message.slice(0, 160)})`;
      switch (outcome) {
        case 'succeeded':
          if (mine.length === 0) report(4, 'succeeded without a vendor job');
          for (const job of mine) {
            if (job?.status !== 'done') report(4, `succeeded, and the vendor says ${job?.status}`);
            else if (job.endedAt !== null && Date.parse(timings.settledAt) < Date.parse(job.endedAt) - toleranceMs) {
              report(4, `succeeded before the vendor was done`);
            }
          }
          return;
        case 'failed':
          // The one cause that this run scripts.
          if (!mine.some((job) => job?.status === 'failed')) report(5, `failed without cause${because}`);
          return;
        case 'canceled':
          if (submitted.cancelRequestedAt === undefined) report(5, 'canceled by nobody');
          return;
        case 'unconfirmed':
        case 'expired':
        case 'lost':
        case 'rejected':
        case 'partial':
          report(5, `${outcome} without cause${because}`);
      }
    }

    function checkLookUps(jobId: string): void {
      const lookUps = lookUpsOf.get(jobId) ?? [];
      lookUps.forEach((lookUp, at) => {
        const fault = lookUp.faults.find((name) => hintMs[name] !== undefined);
        if (fault === undefined || (lookUp.status !== 429 && lookUp.status !== 503)) return;
        counts.hints += 1;
        const next = lookUps[at + 1];
        const wait = hintMs[fault] ?? 0;
        if (next === undefined || next.at >= lookUp.answeredAt + wait - toleranceMs) return;
        const mayBeUnheard = evidence.vendorTrouble.some(
          ({ from, to }) => lookUp.answeredAt >= from - lossMarginMs && lookUp.at <= to + lossMarginMs,
        );
        if (!mayBeUnheard) report(3, `asked ${next.at - lookUp.answeredAt} ms after a hint of ${wait} ms`);
      });
      if (submitted.isFile || event === undefined || jobs.length > 1) return;
      // Of a file the vendor is asked by the upload too, which no event counts.
      const extra = lookUps.length - event.data.polls;
      counts.extraLookUps += Math.max(0, extra);
      counts.maxExtraLookUps = Math.max(counts.maxExtraLookUps, extra);
      if (extra > (evidence.interruptions.get(id) ?? 0)) counts.unexplainedExtra += 1;
    }
  }

  for (const [id, got] of deliveries) {
    if (!submissions.has(id))
      violations.push({ invariant: 1, submission: id, what: `${got.length} events for nobody` });
  }
  for (const { queue, jobId, place, record } of evidence.leftovers) {
    violations.push({
      invariant: 3,
      submission: jobId,
      what: `left in ${queue} ${place}: ${(record ?? 'no record').slice(0, 400)}`,
    });
  }
  if (evidence.failedJobs > 0) {
    violations.push({ invariant: 5, submission: '', what: `${evidence.failedJobs} jobs failed in BullMQ's terms` });
  }
  return { violations, afterLoss, counts };
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
  return creates
    .map((create) => {
      const answer = [create.status ?? 'no answer', ...create.faults].join(' ');
      return `${new Date(create.at).toISOString().slice(11)} ${create.jobId ?? 'nothing'} (${answer})`;
    })
    .join(', ');
}

function groupBy<T>(list: readonly T[], keyOf: (one: T) => string | undefined): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of list) {
    const key = keyOf(one);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}
