import { settled } from '../core/state-machine.ts';
import { receive, type ErrorInfo, type Outcome, type SubmissionState } from '../core/submission.ts';
import type { Logger } from '../ports/logger.ts';
import {
  replyOf,
  type StrandedSubmission,
  type OpenSubmission,
  type OpenSubmissions,
} from '../queues/open-submissions.ts';
import type { Stage } from '../queues/names.ts';
import type { StrayJobs } from '../queues/stray-jobs.ts';
import type { Engine } from './engine.ts';
import { deliverEvent } from './settle.ts';

/** How long a submission must have been stranded before something is done, ms: a repair under way gets its time. */
const goneForMs = 5_000;
/** Parts of the list that one check looks at, some 250 submissions each; the next check goes on from there. */
const partsPerCheck = 200;

/**
 * Sees to submissions under way that no job will carry on.
 *
 * - Somebody removed the job, with another board, with `job.remove()`, `queue.clean()` or `queue.obliterate()`: the
 *   caller gets an event all the same, which names the vendor jobs that may go on.
 * - The job was completed and the submission is not over: Redis lost the outcome, or whoever looked after the one that
 *   was handed over to is gone. It is taken up again.
 * - The job is in no list: an older BullMQ client or a broken script dropped it. It is put back into line.
 */
export class StrandedSubmissions {
  readonly #engine: Engine;
  readonly #vendor: string;
  readonly #open: OpenSubmissions;
  readonly #strays: Readonly<Record<Stage, StrayJobs>>;
  readonly #logger: Logger;
  readonly #takeUp: (place: { stage: Stage; jobId: string }) => Promise<void>;

  /**
   * @param strays - of each of the vendor's queues; gets what stands in no list
   * @param takeUp - puts a completed job back into line.
   */
  constructor(
    engine: Engine,
    vendor: string,
    open: OpenSubmissions,
    strays: Readonly<Record<Stage, StrayJobs>>,
    logger: Logger,
    takeUp: (place: { stage: Stage; jobId: string }) => Promise<void>,
  ) {
    this.#engine = engine;
    this.#vendor = vendor;
    this.#open = open;
    this.#strays = strays;
    this.#logger = logger;
    this.#takeUp = takeUp;
  }

  /** Looks at a part of the submissions under way; at all of them in so many calls, by whichever worker. */
  async check(): Promise<void> {
    const unplaced: Record<Stage, string[]> = { submit: [], poll: [] };
    let cursor = await this.#open.readCursor(this.#vendor);
    for (let parts = 0; parts < partsPerCheck; parts += 1) {
      const part = await this.#open.findStranded(this.#vendor, cursor);
      cursor = part.cursor;
      for (const submission of part.stranded) await this.#seeTo(submission);
      for (const childless of part.childless) await this.#release(childless);
      unplaced.submit.push(...part.unplaced.submit);
      unplaced.poll.push(...part.unplaced.poll);
      if (cursor === '0') break;
    }
    await this.#open.saveCursor(this.#vendor, cursor);
    await this.#strays.submit.suspect(unplaced.submit);
    await this.#strays.poll.suspect(unplaced.poll);
  }

  /** A submit job that stays for a flow waits for its poll job. When that is gone, its worker ends the submission. */
  async #release({ jobId, pollJobId }: { jobId: string; pollJobId: string }): Promise<void> {
    if (await this.#strays.submit.release(jobId, this.#strays.poll, pollJobId))
      this.#logger.warn({ jobId, pollJobId }, 'a submit job waited for a poll job that is gone; put back into line');
  }

  async #seeTo(submission: StrandedSubmission): Promise<void> {
    const now = this.#engine.clock.now();
    const { note, submissionId, completed } = submission;
    // The time goes into the event, and every delivery must say the same: so it is written down first.
    // One of the future is from before Redis' clock was set back.
    if (note.gone === undefined || note.gone > now) return this.#open.mark(this.#vendor, submission, now);
    if (now - note.gone < goneForMs) return;
    if (completed !== undefined) {
      this.#logger.warn(
        { submissionId, ...completed },
        'a job was completed before its submission was over; taken up again',
      );
      await this.#takeUp(completed);
      return this.#open.mark(this.#vendor, submission, undefined);
    }
    const state = settleByNote(submissionId, note, note.gone);
    this.#logger.warn(
      { submissionId, operation: note.op, outcome: state.settled?.outcome, vendorJobIds: note.jobs?.slice(0, 20) },
      'the job of a submission was removed from its queue',
    );
    await deliverEvent(this.#engine, this.#vendor, note.op, state, replyOf(note, this.#engine.replyRules));
    await this.#open.forget(this.#vendor, submission);
  }
}

/** What the note still tells: whether the vendor was called, and what it took. */
function settleByNote(submissionId: string, note: OpenSubmission, at: number): SubmissionState {
  const ids = note.jobs ?? [];
  const isUnclear = note.sent !== undefined && ids.length === 0;
  const [outcome, error] = isUnclear ? tellUnclear() : tellCanceled(ids.length > 0);
  const known: SubmissionState = {
    ...receive(submissionId, note.use, note.at, at),
    ...(note.sent === undefined || ids.length === 0 ? {} : { submittedAt: note.sent }),
    jobs: ids.map((id) => ({ id, kind: '', status: 'running' })),
  };
  return settled(known, { outcome, error, at });
}

function tellUnclear(): [Outcome, ErrorInfo] {
  const message =
    'the job was removed from its queue after a submit whose answer is not stored; the vendor may have taken it';
  return ['unconfirmed', { code: 'job_removed', message }];
}

function tellCanceled(isSent: boolean): [Outcome, ErrorInfo] {
  const rest = isSent ? 'the vendor was not told and may go on working' : 'nothing was sent to the vendor';
  return ['canceled', { code: 'job_removed', message: `the job was removed from its queue; ${rest}` }];
}
