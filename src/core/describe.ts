import { overallProgress, type SubmissionState } from './submission.ts';

/** A span of time as people say it: `850 ms`, `12.3 s`, `4 min 10 s`, `24 h`. */
export function describeDuration(ms: number): string {
  if (!Number.isFinite(ms)) return 'unknown time';
  if (ms < 0) return `-${describeDuration(-ms)}`;
  // Each unit by what is left after rounding: 59.96 s are 1 min, not 60 s.
  const whole = Math.round(ms);
  if (whole < 1_000) return `${whole} ms`;
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${tenths / 10} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return inTwo(seconds, 'min', 's');
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
    return error === null || error.code === outcome ? outcome : `${outcome}: ${error.code}`;
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
