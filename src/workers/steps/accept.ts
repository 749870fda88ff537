import { noteAcceptance } from '../../core/deadline.ts';
import { nextPollAt } from '../../core/poll-schedule.ts';
import { toSafeErrorInfo, toSafeInfo } from '../../core/safe-error.ts';
import { advance } from '../../core/state-machine.ts';
import * as story from '../../core/story.ts';
import { isOver, type ErrorInfo, type SubmissionState, type VendorJob } from '../../core/submission.ts';
import { endOfGivenUp } from '../../core/verdicts.ts';
import type { SubmitReply, VendorRef } from '../../ports/vendor-adapter.ts';
import type { LeftBehind } from '../../queues/record-store.ts';
import { advanced, type Step, type Turn } from '../turn.ts';

/** Notes what the vendor took in. The next part goes back to `received`, the last one on to preparing or polling. */
export async function accept(turn: Turn, reply: SubmitReply, line?: string): Promise<Step> {
  const { state } = turn;
  addJobs(state, reply.jobs);
  state.submittedAt = turn.now();
  if (reply.more === true) {
    advance(state, 'request-accepted');
    state.part = (state.part ?? 0) + 1;
    return saveAcceptance(turn, line);
  }
  const end = endOfGivenUp(state.jobs);
  if (end !== undefined) return turn.settle(end.outcome, end.error);
  noteAcceptance(state, turn.now(), turn.request.poll);
  if (turn.request.operation.prepare !== undefined) {
    advance(state, 'accepted-unprepared');
    return saveAcceptance(turn, line);
  }
  advance(state, 'accepted');
  if (turn.stage === 'submit') return { kind: 'hand-over', at: 0, line: line ?? story.accepted(turn.elapsed()) };
  await saveAcceptance(turn, line);
  if (state.jobs.every(isOver)) return advanced;
  // A later stage: its first look-up waits as long as that of the first one.
  const { deadlineAt } = state;
  const at = nextPollAt({ options: turn.request.poll, polls: 0, now: turn.now(), deadlineAt, random: turn.random() });
  return { kind: 'again', at };
}

/** What a worker that lost this job left of its last submit. */
export async function leftBehind({ state, engine, address }: Turn): Promise<LeftBehind | undefined> {
  return state.intent === undefined ? undefined : engine.store.leftFor(address, state.intent);
}

/** Takes over what the vendor answered a worker that had lost the job by then. */
export async function acceptLeft(turn: Turn, left: unknown): Promise<Step> {
  const reply = left as SubmitReply;
  turn.logger.info({}, 'what the vendor answered another worker is taken over');
  return accept(turn, reply, story.acceptedByAnother(turn.elapsed(), reply.jobs));
}

async function saveAcceptance(turn: Turn, line: string | undefined): Promise<Step> {
  await turn.save(line);
  await turn.engine.checkpoint('acceptance-saved');
  return advanced;
}

/**
 * A request that was refused, never made or whose outcome cannot be determined ends the submission only where it is all
 * of it. Other requests of the submission go on, and the event tells of both.
 */
export async function giveUp(
  turn: Turn,
  outcome: 'rejected' | 'unconfirmed' | 'expired',
  error: ErrorInfo,
): Promise<Step> {
  const { state } = turn;
  const pieces = piecesOf(turn, error);
  const isLast = pieces?.more !== true;
  // What was refused or never made started nothing; what is unconfirmed may have, and no later look tells of it.
  const isAll = outcome === 'unconfirmed' ? pieces === undefined || (state.part ?? 0) === 0 : state.jobs.length === 0;
  if (isLast && isAll) {
    if (state.jobs.length > 0) addJobs(state, pieces?.jobs ?? []);
    return turn.settle(outcome, error);
  }
  const number = (state.part ?? 0) + 1;
  const vendorStatus = outcome === 'expired' ? 'not sent' : 'refused';
  const refused: VendorRef = { id: `request-${number}`, kind: '', status: 'failed', vendorStatus, error };
  return accept(turn, pieces ?? { jobs: [refused] }, story.requestGivenUp(number, outcome, error));
}

/** Ends what cannot be determined. */
export async function settleUnconfirmed(turn: Turn, why: string): Promise<Step> {
  const cause = turn.state.lastError;
  return giveUp(turn, 'unconfirmed', {
    code: 'submit_ambiguous',
    message: `it is not known whether the vendor took the submit, and it will not be sent twice: ${why}`,
    ...(cause === undefined ? {} : { details: { cause: { code: cause.code, message: cause.message } } }),
  });
}

/** What the operation notes for a request that is given up. Where it cannot, the request counts as the last one. */
function piecesOf(turn: Turn, error: ErrorInfo): SubmitReply | undefined {
  try {
    return turn.request.operation.giveUp?.(turn.context(), error);
  } catch (fault) {
    const { code, message } = toSafeErrorInfo(fault);
    turn.logger.error({ errorCode: code, error: message }, 'the module cannot say what a request was about');
    return undefined;
  }
}

function addJobs(state: SubmissionState, refs: readonly VendorRef[]): void {
  const known = new Set(state.jobs.map((job) => job.id));
  for (const ref of refs) {
    if (known.has(ref.id)) continue;
    known.add(ref.id);
    state.jobs.push(toVendorJob(ref));
  }
}

function toVendorJob(ref: VendorRef): VendorJob {
  const status = ref.status ?? 'pending';
  return {
    id: ref.id,
    kind: ref.kind,
    status,
    ...(status === 'pending' || status === 'running' ? {} : { outcome: status }),
    ...(ref.vendorStatus === undefined || ref.vendorStatus === status ? {} : { vendorStatus: ref.vendorStatus }),
    ...(ref.extra === undefined ? {} : { extra: ref.extra }),
    ...(ref.result === undefined ? {} : { result: ref.result }),
    ...(ref.error === undefined ? {} : { error: toSafeInfo(ref.error) }),
  };
}
