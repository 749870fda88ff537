import assert from 'node:assert/strict';
import type { Operation } from '../ports/vendor-adapter.ts';
import type { ConformanceDouble } from './double.ts';
import type { ConformanceCase, OperationCases } from './options.ts';
import type { Rig } from './rig.ts';

export interface OperationUnderTest<Double extends ConformanceDouble> {
  name: string;
  operation: Operation;
  cases: OperationCases<Double>;
  /** Runs a case on a rig of its own. */
  onRig(run: (rig: Rig<Double>) => Promise<void>): Promise<void>;
}

export function groupOf<Double extends ConformanceDouble>({ name, cases }: OperationUnderTest<Double>): string {
  return cases.title === undefined ? name : `${name} (${cases.title})`;
}

/** A case that is left out says why, and fails where it does not. */
export function notApplicable(group: string, title: string, reason: string): ConformanceCase {
  return {
    group,
    name: `does not apply, because ${reason}: ${title}`,
    async run() {
      assert.match(reason, /\w\W+\w/, `say why "${title}" does not apply`);
    },
  };
}
