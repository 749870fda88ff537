import type { Phase, Settlement, SubmissionState, VendorJob } from './submission.ts';

/** Fields of a record that end with some phase. The others last as long as the record. */
export const fieldLives = {
  part: ['received', 'intended', 'reconciling'],
  snapshot: ['received', 'intended', 'reconciling'],
  intent: ['received', 'intended', 'reconciling'],
  doubts: ['received', 'intended', 'reconciling'],
  refused: ['received', 'intended', 'reconciling'],
  stepTimeouts: ['received', 'intended', 'reconciling'],
  reconciliation: ['reconciling'],
  awaitsDecision: ['reconciling'],
  resolution: ['reconciling'],
  notBefore: ['polling', 'confirming'],
  // One grace period, also where a vendor job turns out not to be over and is polled again.
  confirmingSince: ['polling', 'confirming'],
  failures: ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming'],
  lastError: ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming'],
  carry: ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming'],
  stages: ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming'],
  earlierPolls: ['received', 'intended', 'reconciling', 'accepted', 'polling', 'confirming'],
  settled: ['settled'],
} as const satisfies Partial<Record<keyof SubmissionState, readonly Phase[]>>;

type Passing = Exclude<keyof typeof fieldLives, 'settled'>;

/** One way from phase to phase. */
interface Arrow {
  from: readonly Phase[];
  to: Phase;
  because: string;
  forgets: readonly Passing[];
}

const ofDoubt = ['reconciliation', 'awaitsDecision', 'resolution'] as const;
const ofRequest = [
  'intent',
  'snapshot',
  'doubts',
  'refused',
  'stepTimeouts',
  'failures',
  'lastError',
  ...ofDoubt,
] as const;
const beforeAcceptance = ['received', 'intended', 'reconciling'] as const;

/**
 * Every arrow a submission can take before it is settled, with what makes it take it and what its record forgets on the
 * way. The picture in docs/state-machine.md is drawn from this table.
 */
export const arrows = {
  'intent-saved': { from: ['received'], to: 'intended', because: 'intent saved', forgets: ['lastError', ...ofDoubt] },
  'nothing-created': { from: ['intended'], to: 'received', because: 'nothing was created', forgets: [] },
  'outcome-unknown': { from: ['intended'], to: 'reconciling', because: 'the outcome is unknown', forgets: ofDoubt },
  'never-sent': { from: ['reconciling'], to: 'received', because: 'its worker never sent it', forgets: ofDoubt },
  'send-again': {
    from: ['reconciling'],
    to: 'received',
    because: 'proven absent, or safe to repeat',
    forgets: ofDoubt,
  },
  'send-again-by-decision': {
    from: ['reconciling'],
    to: 'received',
    because: 'a person decided to send it again',
    forgets: ['doubts', ...ofDoubt],
  },
  'request-accepted': {
    from: beforeAcceptance,
    to: 'received',
    because: 'accepted, and another request follows',
    forgets: ofRequest,
  },
  'accepted-unprepared': {
    from: beforeAcceptance,
    to: 'accepted',
    because: 'accepted, something must be prepared',
    forgets: ['part', ...ofRequest],
  },
  accepted: { from: beforeAcceptance, to: 'polling', because: 'accepted', forgets: ['part', ...ofRequest] },
  prepared: { from: ['accepted'], to: 'polling', because: 'prepared', forgets: ['failures', 'lastError'] },
  'not-prepared-in-time': {
    from: ['accepted'],
    to: 'polling',
    because: 'deadline, for a last look-up',
    forgets: [],
  },
  'all-over': {
    from: ['polling'],
    to: 'confirming',
    because: 'every vendor job is over',
    forgets: ['notBefore', 'failures', 'lastError'],
  },
  'not-over': {
    from: ['confirming'],
    to: 'polling',
    because: 'a vendor job turned out not to be over',
    forgets: [],
  },
  'next-stage': {
    from: ['confirming'],
    to: 'received',
    because: 'next stage',
    forgets: ['notBefore', 'confirmingSince', 'failures', 'lastError'],
  },
} as const satisfies Readonly<Record<string, Arrow>>;
export type ArrowName = keyof typeof arrows;

/** What settles a submission, by the phase that it is in. */
export const settledBecause: Readonly<Record<Exclude<Phase, 'settled'>, string>> = {
  received: 'bad input, canceled, deadline',
  intended: 'refused for good',
  reconciling: 'cannot be determined, canceled',
  accepted: 'can never be prepared, canceled',
  polling: 'deadline, canceled',
  confirming: 'confirmed, contradicted, deadline, canceled',
};

/**
 * Takes an arrow: the only way for a record to change its phase, beside `settled`.
 * @throws Error where the record is in none of its phases: a fault of ours, found where it happens.
 */
export function advance(state: SubmissionState, name: ArrowName): void {
  const arrow: Arrow = arrows[name];
  if (!arrow.from.includes(state.phase)) throw new Error(`the arrow ${name} does not lead from ${state.phase}`);
  state.phase = arrow.to;
  for (const field of arrow.forgets) delete state[field];
}

/** The record with its outcome, which never changes again. What only further steps would need is gone. */
export function settled(state: SubmissionState, settlement: Settlement): SubmissionState {
  if (state.settled !== undefined) throw new Error('the submission is settled already');
  const kept = { ...state };
  for (const field of Object.keys(fieldLives) as (keyof typeof fieldLives)[]) delete kept[field];
  return { ...kept, phase: 'settled', jobs: state.jobs.map(withoutNotes), settled: settlement };
}

/** What adapters keep with vendor jobs can be an upload link. */
function withoutNotes({ extra: _extra, refused: _refused, ...job }: VendorJob): VendorJob {
  return job;
}

/** The table as a Mermaid state diagram. */
export function drawStateMachine(): string {
  const ways = Object.values<Arrow>(arrows).flatMap(({ from, to, because }) =>
    from.map((phase) => ({ from: phase, to, because })),
  );
  const ends = Object.entries(settledBecause).map(([from, because]) => ({ from, to: 'settled', because }));
  const lines = [...ways, ...ends].map(
    ({ from, to, because }) => `    ${from} --> ${to}: ${because.replace(/[;:]/g, ',')}`,
  );
  return ['stateDiagram-v2', '    [*] --> received: job taken', ...lines, '    settled --> [*]: event delivered'].join(
    '\n',
  );
}
