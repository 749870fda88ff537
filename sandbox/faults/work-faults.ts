import type { FaultDefinition } from './definition.ts';

const ofJob = { effect: { kind: 'vendor' }, scope: 'job', markerTimes: 'always' } as const;

/** Faults of how a job goes that mean the same at every vendor. */
export function workFaults(routes: readonly [string, ...string[]]): FaultDefinition[] {
  return [
    {
      name: 'duration',
      summary: 'The job takes this long from acceptance (or upload) to its end, in ms at speed 1.',
      argument: { meaning: 'ms at speed 1', default: '10000', kind: 'integer' },
      routes,
      ...ofJob,
    },
    {
      name: 'done-after',
      summary: 'The job ends at its n-th look-up, whatever the time. For runs that must not depend on clocks.',
      argument: { meaning: 'look-ups', default: '3', kind: 'integer' },
      routes,
      ...ofJob,
    },
  ];
}

/** Faults of look-ups that answer 404 for a job, at vendors that do so. */
export function absenceFaults(routes: readonly [string, ...string[]]): FaultDefinition[] {
  return [
    {
      name: 'not-found-first',
      summary: '404 for the first n look-ups of the job, though it exists.',
      argument: { meaning: 'look-ups', default: '2', kind: 'integer' },
      routes,
      ...ofJob,
    },
    {
      name: 'gone-after',
      summary: '404 forever after the first n look-ups of the job.',
      argument: { meaning: 'look-ups', default: '2', kind: 'integer' },
      routes,
      ...ofJob,
    },
  ];
}
