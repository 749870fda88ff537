import { overallProgress, type SubmissionState } from './submission.ts';

/** A span of time as people say it: `850 ms`, `12.3 s`, `4 min 10 s`, `24 h`. */
export function describeDuration(ms: number): string {
  if (!Number.isFinite(ms)) return 'unknown time';
  if (ms < 0) return `-${describeDuration(-ms)}`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1).replace(/\.0$/, '')} s`;
  if (ms < 3_600_000) return inTwo(Math.round(ms / 1_000), 'min', 's');
  return inTwo(Math.round(ms / 60_000), 'h', 'min');
}

function inTwo(count: number, unit: string, sixtieth: string): string {
  const rest = count % 60;
  return `${Math.floor(count / 60)} ${unit}${rest === 0 ? '' : ` ${rest} ${sixtieth}`}`;
}

/** A submission's state in words, for the board, the log and `jobferry status`: `polling: running, 42/100`. */
export function describeState(state: SubmissionState): string {
  if (state.settled !== undefined) {
    const { outcome, error } = state.settled;
    return error === null ? outcome : `${outcome}: ${error.code}`;
  }
  if (state.cancelRequestedAt !== undefined) return `${state.phase}, cancel requested`;
  const progress = overallProgress(state);
  const counted = progress === undefined ? '' : ` ${progress.done}/${progress.total}`;
  switch (state.phase) {
    case 'received':
      return state.lastError === undefined ? 'waiting to be sent' : `waiting to be sent: ${state.lastError.code}`;
    case 'intended':
      return 'being sent';
    case 'reconciling':
      return state.awaitsDecision === undefined
        ? 'finding out whether the vendor took it'
        : 'waiting for a person to decide: it is not known whether the vendor took it';
    case 'accepted':
      return 'accepted, being prepared';
    case 'polling': {
      const word = state.jobs.length === 1 ? (state.jobs[0]?.vendorStatus ?? state.jobs[0]?.status) : undefined;
      const trouble = state.lastError === undefined ? '' : ` (${state.lastError.code})`;
      return `polling: ${word ?? 'vendor jobs'}${counted}${trouble}`;
    }
    case 'confirming':
      return `confirming the outcome${counted}`;
    case 'settled':
      return 'settled';
    default: {
      const never: never = state.phase;
      return never;
    }
  }
}
