import { describeDuration } from './describe.ts';
import type { ErrorInfo } from './submission.ts';

/**
 * The lines of a submission's log, worded in one place.
 * `elapsed` is how long after the submission was enqueued something happened: `+12.3 s`.
 */

type Named = readonly { id: string }[];

export function accepted(elapsed: string, jobs?: Named, tookMs?: number): string {
  const took = tookMs === undefined ? '' : ` in ${describeDuration(tookMs)}`;
  return `accepted at ${elapsed}${took}${jobs === undefined ? '' : `: ${listJobIds(jobs)}`}`;
}

export function acceptedByAnother(elapsed: string, jobs: Named): string {
  return `accepted at ${elapsed}, as another worker heard: ${listJobIds(jobs)}`;
}

export function found(elapsed: string, jobs: Named): string {
  return `found and adopted at ${elapsed}: ${listJobIds(jobs)}`;
}

export function adoptedByPerson(elapsed: string, vendorJobId: string): string {
  return `adopted by a person at ${elapsed}: ${vendorJobId}`;
}

export function sentAgainByPerson(elapsed: string): string {
  return `sent again by a person's decision at ${elapsed}`;
}

export function awaitsDecision(elapsed: string, vendor: string, submissionId: string, why: string): string {
  return `waiting at ${elapsed} for \`jobferry resolve ${vendor} ${submissionId}\`: ${why}`;
}

export function stoodStill(elapsed: string): string {
  return `not sent at ${elapsed}: the worker stood still`;
}

export function outcomeUnknown(elapsed: string, { message }: ErrorInfo): string {
  return `outcome unknown at ${elapsed}: ${message}; looking it up`;
}

export function notListed(elapsed: string, look: number): string {
  return `look-up ${look} at ${elapsed}: the vendor does not list it`;
}

export function absent(looks: number, overMs: number): string {
  return `absent in ${looks} look-ups over ${describeDuration(overMs)}`;
}

export function givenUpAfter(doubts: number): string {
  return `given up after ${doubts} submits whose outcome is unknown`;
}

export function sentAgain(why: string): string {
  return `sending again: ${why}`;
}

export function requestGivenUp(request: number, outcome: string, { message }: ErrorInfo): string {
  return `request ${request} ${outcome}: ${message}`;
}

export function triedAgain(what: string, elapsed: string, { message }: ErrorInfo, inMs: number): string {
  return `${what} at ${elapsed}: ${message}; again in ${describeDuration(inMs)}`;
}

export function waits(elapsed: string, { code, message }: ErrorInfo): string {
  return `waiting at ${elapsed}: ${code}: ${message}`;
}

export function settled(elapsed: string, outcome: string, error: ErrorInfo | null): string {
  return `${outcome} at ${elapsed}${error === null ? '' : `: ${error.code}: ${error.message}`}`;
}

export function prepared(elapsed: string): string {
  return `prepared at ${elapsed}`;
}

export function notPrepared(elapsed: string): string {
  return `not prepared at ${elapsed}`;
}

export function takenUpAgain(elapsed: string): string {
  return `taken up again at ${elapsed}`;
}

export function nextStage(elapsed: string, stage: string): string {
  return `next stage at ${elapsed}: ${stage}`;
}

export function notConfirmed(elapsed: string, reason: string, inMs: number): string {
  return `not confirmed at ${elapsed}: ${reason}; again in ${describeDuration(inMs)}`;
}

interface Poll {
  polls: number;
  elapsed: string;
  notices: readonly string[];
  /** How the vendor jobs stand. */
  seen: string;
  /** The error of the look-up, told in place of that. */
  trouble: ErrorInfo | undefined;
  inMs: number;
  isAskedByVendor: boolean;
}

export function polled({ polls, elapsed, notices, seen, trouble, inMs, isAskedByVendor }: Poll): string {
  const shown = notices.slice(0, 3).join('; ');
  const more = notices.length > 3 ? ` and ${notices.length - 3} more like this` : '';
  const told = notices.length === 0 ? '' : `${shown}${more}; `;
  const because = isAskedByVendor ? ' (asked by the vendor)' : '';
  const stands = trouble === undefined ? `${seen},` : `${trouble.code}: ${trouble.message};`;
  return `poll ${polls} at ${elapsed}: ${told}${stands} next in ${describeDuration(inMs)}${because}`;
}

function listJobIds(jobs: Named): string {
  if (jobs.length === 0) return 'nothing to wait for';
  const shown = jobs.slice(0, 3).map((job) => job.id);
  return jobs.length > 3 ? `${shown.join(', ')} and ${jobs.length - 3} more` : shown.join(', ');
}
