import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { drawStateMachine, enter, transitions } from '../../src/core/state-machine.ts';
import { phases, receive } from '../../src/core/submission.ts';

describe('the state machine', () => {
  it('is what docs/state-machine.md shows', () => {
    const shown = /```mermaid\n([\s\S]*?)```/.exec(readFileSync('docs/state-machine.md', 'utf8'))?.[1];
    expect(shown?.trim()).toBe(drawStateMachine());
  });

  it('reaches every phase from received, and settled from every phase', () => {
    const reach = (from: string, seen = new Set<string>()): Set<string> => {
      if (!seen.has(from)) {
        seen.add(from);
        for (const to of Object.keys(transitions[from as keyof typeof transitions])) reach(to, seen);
      }
      return seen;
    };
    expect([...reach('received')].sort()).toEqual([...phases].sort());
    for (const phase of phases) expect(reach(phase)).toContain('settled');
  });

  it('refuses an arrow that is not there', () => {
    const state = receive('x', 'u1', 0, 1);
    expect(() => enter(state, 'confirming')).toThrow('no way leads from received to confirming');
    enter(state, 'intended');
    enter(state, 'reconciling');
    expect(state.phase).toBe('reconciling');
  });
});
