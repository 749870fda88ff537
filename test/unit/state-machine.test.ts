import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  arrows,
  drawStateMachine,
  fieldLives,
  settled,
  settledBecause,
  type ArrowName,
} from '../../src/core/state-machine.ts';
import { phases, receive, type Phase, type SubmissionState } from '../../src/core/submission.ts';

const names = Object.keys(arrows) as ArrowName[];
const job = { id: 'a', kind: 'thing', status: 'running' as const, extra: { link: 'https://secret' } };

/** A record with every field that may be set in its phase. */
function fullIn(phase: Phase): SubmissionState {
  const state = { ...receive('x', 'u1', 0, 1), phase, jobs: [job], submittedAt: 1, stage: 'second' };
  const lasting = Object.entries(fieldLives).filter(([, lives]) => (lives as readonly Phase[]).includes(phase));
  return { ...state, ...Object.fromEntries(lasting.map(([field]) => [field, { of: field }])) };
}

/** The fields whose phase is over. */
function outlived(state: SubmissionState): string[] {
  return Object.entries(fieldLives).flatMap(([field, lives]) =>
    field in state && !(lives as readonly Phase[]).includes(state.phase) ? [field] : [],
  );
}

describe('the state machine', () => {
  it('is what docs/state-machine.md shows', () => {
    const shown = /```mermaid\n([\s\S]*?)```/.exec(readFileSync('docs/state-machine.md', 'utf8'))?.[1];
    expect(shown?.trim()).toBe(drawStateMachine());
  });

  it('reaches every phase from received, and settled from every phase', () => {
    const reached = new Set<Phase>(['received', 'settled']);
    for (let round = 0; round < phases.length; round += 1)
      for (const { from, to } of Object.values(arrows)) if (from.some((one) => reached.has(one))) reached.add(to);
    expect([...reached].sort()).toEqual([...phases].sort());
    expect([...Object.keys(settledBecause), 'settled'].sort()).toEqual([...phases].sort());
  });

  it('refuses an arrow that does not lead from the phase', () => {
    const state = receive('x', 'u1', 0, 1);
    expect(() => advance(state, 'all-over')).toThrow('the arrow all-over does not lead from received');
    advance(state, 'intent-saved');
    advance(state, 'outcome-unknown');
    expect(state.phase).toBe('reconciling');
  });

  it.each(names.flatMap((name) => arrows[name].from.map((from) => [name, from] as const)))(
    '%s from %s leaves no field whose phase is over',
    (name, from) => {
      const state = fullIn(from);
      advance(state, name);
      expect(state.phase).toBe(arrows[name].to);
      expect(outlived(state)).toEqual([]);
    },
  );

  it('leaves none on any way', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 99 }), { maxLength: 40 }), (choices) => {
        const state = receive('x', 'u1', 0, 1);
        for (const choice of choices) {
          const ways = names.filter((name) => (arrows[name].from as readonly Phase[]).includes(state.phase));
          const [name] = ways.slice(choice % ways.length);
          Object.assign(state, fullIn(state.phase));
          if (name !== undefined) advance(state, name);
          expect(outlived(state)).toEqual([]);
        }
      }),
    );
  });

  it('keeps of a settled record what its event tells, from whichever phase', () => {
    for (const phase of Object.keys(settledBecause) as Phase[]) {
      const end = { outcome: 'failed' as const, error: null, at: 5 };
      const state = settled({ ...fullIn(phase), cancelRequestedAt: 3 }, end);
      const { extra: _extra, ...told } = job;
      expect(state).toEqual({
        ...receive('x', 'u1', 0, 1),
        phase: 'settled',
        submittedAt: 1,
        stage: 'second',
        cancelRequestedAt: 3,
        jobs: [told],
        settled: end,
      });
      expect(() => settled(state, end)).toThrow('settled already');
    }
  });
});
