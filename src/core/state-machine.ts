import type { Phase, SubmissionState } from './submission.ts';

/**
 * Every arrow a submission can take, with what makes it take it. The picture in docs/state-machine.md is drawn from
 * this table, and `enter` refuses what is not in it.
 */
export const transitions: Readonly<Record<Phase, Readonly<Partial<Record<Phase, string>>>>> = {
  received: {
    intended: 'intent saved',
    accepted:
      'adopts running work or an answer that came late, or the last request was refused and earlier ones were not',
    polling: 'the same',
    settled: 'bad input, canceled, deadline',
  },
  intended: {
    received: 'nothing was created; or accepted, and another request follows',
    reconciling: 'nobody knows',
    accepted: 'accepted, something must be prepared',
    polling: 'accepted',
    settled: 'refused for good',
  },
  reconciling: {
    received: 'surely absent, or safe to repeat: next attempt',
    accepted: 'found, something must be prepared',
    polling: 'found',
    settled: 'can not be told, canceled',
  },
  accepted: {
    polling: 'prepared, or at the deadline for a last look-up',
    settled: 'can never be prepared, canceled',
  },
  polling: {
    confirming: 'every vendor job is over',
    settled: 'deadline, canceled',
  },
  confirming: {
    polling: 'a vendor job turned out not to be over',
    received: 'next stage',
    settled: 'confirmed, contradicted, deadline, canceled',
  },
  settled: {},
};

/**
 * Takes an arrow.
 * @throws Error when there is none: a fault of ours, caught where it happens and not in a record that nobody understands.
 */
export function enter(state: SubmissionState, phase: Phase): void {
  if (state.phase !== phase && transitions[state.phase][phase] === undefined) {
    throw new Error(`no way leads from ${state.phase} to ${phase}`);
  }
  state.phase = phase;
}

/** The table as a Mermaid state diagram. */
export function drawStateMachine(): string {
  const arrows = Object.entries(transitions).flatMap(([from, ways]) =>
    Object.entries(ways).map(([to, label]) => `    ${from} --> ${to}: ${label.replace(/[;:]/g, ',')}`),
  );
  return ['stateDiagram-v2', '    [*] --> received: job taken', ...arrows, '    settled --> [*]: event delivered'].join(
    '\n',
  );
}
