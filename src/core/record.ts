import { describeState } from './describe.ts';
import { readState, type SubmissionState } from './submission.ts';

/**
 * The record of a submission as it is stored. Scripts decide by its head and never look into the JSON behind it, which
 * holds what vendors and their modules wrote:
 *
 *     <phase> <attempt>@<intended at> <? or -> <cancel requested at> {"v":1,…}
 *
 * The second word is `-` where no submit is under way, the third is `?` while a person has to decide on that submit, the
 * fourth is `-` where no cancel was asked for.
 */
export function writeRecord(state: SubmissionState): string {
  const { phase, intent } = state;
  const submit = intent === undefined ? '-' : nameIntent(intent);
  const waits = phase === 'reconciling' && state.awaitsDecision !== undefined ? '?' : '-';
  return `${phase} ${submit} ${waits} ${state.cancelRequestedAt ?? '-'} ${JSON.stringify(state)}`;
}

/** @returns undefined when the text was not written by this engine. */
export function readRecord(text: string | null | undefined): SubmissionState | undefined {
  if (text === null || text === undefined) return undefined;
  const start = text.indexOf('{');
  if (start < 0) return undefined;
  try {
    return readState(JSON.parse(text.slice(start)));
  } catch {
    return undefined;
  }
}

/** Names one submit of a submission in the head of its record. */
export function nameIntent({ attempt, at }: { attempt: number; at: number }): string {
  return `${attempt}@${at}`;
}

/**
 * What goes into BullMQ's own `progress`: the state in words, for boards that know nothing of the record. Workers of the
 * version before kept the record there. Its first fields make such a worker give the job back untouched (it finds a
 * settled submission without an outcome), where it would start an unknown one from the beginning.
 */
export function progressOf(state: SubmissionState): string {
  return JSON.stringify({ v: 1, id: state.id, phase: 'settled', jobs: [], state: describeState(state) });
}
