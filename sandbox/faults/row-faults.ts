import type { ActiveFault, FaultDefinition } from './definition.ts';

/** Faults of replies that are lists of rows about several jobs, the same for every vendor that has such replies. */
export function rowFaults(routes: readonly [string, ...string[]]): FaultDefinition[] {
  const common = { effect: { kind: 'vendor' }, routes, scope: 'request', markerTimes: 1 } as const;
  return [
    { name: 'rows-duplicated', summary: 'Every row comes twice.', ...common },
    { name: 'rows-reordered', summary: 'The rows come in the reverse of the usual order.', ...common },
    {
      name: 'rows-left-out',
      summary: 'The first n rows are missing.',
      argument: { meaning: 'rows', default: '1', kind: 'integer' },
      ...common,
    },
    {
      name: 'rows-foreign',
      summary: 'Between the rows stand n others that were not asked for.',
      argument: { meaning: 'rows', default: '1', kind: 'integer' },
      ...common,
    },
    { name: 'rows-empty', summary: 'The list of rows is empty.', ...common },
  ];
}

/** The rows as the striking faults leave them. `foreign` makes up a row that was not asked for. */
export function disturbedRows<T>(rows: readonly T[], active: readonly ActiveFault[], foreign: () => T): T[] {
  let disturbed = [...rows];
  for (const { name, argument } of active) {
    if (name === 'rows-left-out') disturbed = disturbed.slice(Number(argument));
    else if (name === 'rows-empty') disturbed = [];
    else if (name === 'rows-duplicated') disturbed = disturbed.flatMap((row) => [row, row]);
    else if (name === 'rows-reordered') disturbed.reverse();
    else if (name === 'rows-foreign') {
      const extra = Array.from({ length: Number(argument) }, foreign);
      const middle = Math.ceil(disturbed.length / 2);
      disturbed = [...disturbed.slice(0, middle), ...extra, ...disturbed.slice(middle)];
    }
  }
  return disturbed;
}
