import type { BoundFault } from './definition.ts';

/** The argument of a fault that belongs to a job; undefined when the job has none such. */
export function traitOf(faults: readonly BoundFault[], name: string): string | undefined {
  for (const { definition, argument } of faults) {
    if (definition.name === name && definition.scope === 'job') return argument;
  }
  return undefined;
}
