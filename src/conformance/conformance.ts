import type { Lookup, Operation } from '../ports/vendor-adapter.ts';
import { casesOfDeclaration } from './declaration-cases.ts';
import type { ConformanceDouble } from './double.ts';
import { casesOfFiles } from './file-cases.ts';
import { casesOfLookup } from './lookup-cases.ts';
import type { ConformanceCase, ConformanceOptions, OperationCases } from './options.ts';
import { ReadAhead } from './read-ahead.ts';
import { Rig } from './rig.ts';
import { casesOfOperation } from './submit-cases.ts';

/** What of a test framework is needed; those of vitest and node:test fit as they are. */
export interface TestFramework {
  describe: (name: string, body: () => void) => unknown;
  it: (name: string, options: { timeout: number }, body: () => Promise<void>) => unknown;
}

const defaults = { concurrency: 12, timeoutMs: 45_000 };

/**
 * Runs an adapter through everything that a vendor can do to it, against a double over HTTP, with real workers and a
 * real Redis. What must come of each fault follows from what the adapter declares; what differs from vendor to vendor
 * is data.
 *
 * @example
 * import { describe, it } from 'node:test';
 * conformance({ adapter: acme, redisUrl, double: acmeDouble, operations, lookups }, { describe, it });
 */
export function conformance<Double extends ConformanceDouble>(
  options: ConformanceOptions<Double>,
  { describe, it }: TestFramework,
): void {
  const cases = conformanceCases(options);
  const ahead = new ReadAhead(
    cases.map((one) => () => one.run()),
    options.concurrency ?? defaults.concurrency,
  );
  const groups = groupByName(cases);
  describe(`${options.adapter.name} conforms`, () => {
    for (const [group, members] of groups) {
      describe(group, () => {
        for (const one of members) {
          it(one.name, { timeout: options.timeoutMs ?? defaults.timeoutMs }, () => ahead.run(cases.indexOf(one)));
        }
      });
    }
  });
}

/** The same as a list of functions, for any other way to run them. */
export function conformanceCases<Double extends ConformanceDouble>(
  options: ConformanceOptions<Double>,
): ConformanceCase[] {
  const { adapter } = options;
  const onRig = async (run: (rig: Rig<Double>) => Promise<void>): Promise<void> => {
    const rig = await Rig.start(options);
    try {
      await run(rig);
    } finally {
      await rig.close();
    }
  };
  const operations = Object.entries(options.operations).flatMap(([name, given]) => {
    const operation: Operation | undefined = adapter.operations[name];
    if (operation === undefined) return [];
    return listOf(given).flatMap((cases) => {
      const test = { name, operation, cases, onRig };
      return [...casesOfOperation(test), ...casesOfFiles(test)];
    });
  });
  const lookups = Object.entries(options.lookups).flatMap(([name, cases]) => {
    const lookup: Lookup | undefined = adapter.lookups[name];
    const [via] = listOf(options.operations[cases.via] ?? []).filter((one) => one.title === cases.title);
    if (lookup === undefined) return [];
    if (via === undefined) throw new Error(`look-up ${name}: \`via\` names no operation with cases`);
    return casesOfLookup({ name, lookup, cases, via, onRig });
  });
  return [...casesOfDeclaration(options), ...operations, ...lookups];
}

function listOf<Double>(
  given: OperationCases<Double> | readonly OperationCases<Double>[],
): readonly OperationCases<Double>[] {
  return Array.isArray(given) ? (given as readonly OperationCases<Double>[]) : [given as OperationCases<Double>];
}

function groupByName(cases: readonly ConformanceCase[]): Map<string, ConformanceCase[]> {
  const groups = new Map<string, ConformanceCase[]>();
  for (const one of cases) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return groups;
}
