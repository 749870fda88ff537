import type { SubmissionState } from './submission.ts';

/** Workers' clocks differ by less, ms. */
const toleranceMs = 5_000;

/** Times that have been when they are written. Not the intent's: it names the submit, and answers refer to it. */
const past = [
  'enqueuedAt',
  'acceptedAt',
  'submittedAt',
  'confirmingSince',
  'cancelRequestedAt',
] as const satisfies TimeField[];
/** Times that are to come. */
const coming = ['deadlineAt', 'notBefore'] as const satisfies TimeField[];

type TimeField = {
  [Key in keyof SubmissionState]-?: number extends SubmissionState[Key] ? Key : never;
}[keyof SubmissionState];

/**
 * A record that was written when the clock was ahead tells of things that have not been yet, and waits for times that are
 * too far away. All its times move back together, so that the clock's step costs no waiting.
 * @returns the record itself where its times can be right, as a rule
 */
export function moveBack(state: SubmissionState, now: number): SubmissionState {
  if (state.settled !== undefined) return state;
  const been = [
    ...past.map((field) => state[field]),
    state.reconciliation?.since,
    state.refused?.at,
    ...state.jobs.flatMap((job) => [job.missingSince, job.refused?.since]),
  ];
  const step = Math.max(...been.map((at) => (at ?? 0) - now));
  if (step <= toleranceMs) return state;
  const moved = { ...state };
  for (const field of [...past, ...coming]) {
    const at = state[field];
    if (typeof at === 'number') moved[field] = at - step;
  }
  if (state.reconciliation !== undefined) {
    const { since, landsUntil, notBefore } = state.reconciliation;
    moved.reconciliation = { ...state.reconciliation, since: since - step, landsUntil: landsUntil - step };
    if (notBefore !== undefined) moved.reconciliation.notBefore = notBefore - step;
  }
  if (state.refused !== undefined) {
    const { at, first } = state.refused;
    moved.refused = { at: at - step, first: { ...first, sentAt: first.sentAt - step, at: first.at - step } };
  }
  moved.jobs = state.jobs.map((job) => ({
    ...job,
    ...(job.missingSince === undefined ? {} : { missingSince: job.missingSince - step }),
    ...(job.refused === undefined ? {} : { refused: { ...job.refused, since: job.refused.since - step } }),
  }));
  return moved;
}
