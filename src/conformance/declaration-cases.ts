import assert from 'node:assert/strict';
import * as z from 'zod';
import type { ConformanceDouble } from './double.ts';
import type { ConformanceCase, ConformanceOptions } from './options.ts';

const group = 'declaration';

/** What can be said of an adapter without running it; and that nothing of it is left out of the run. */
export function casesOfDeclaration<Double extends ConformanceDouble>(
  options: ConformanceOptions<Double>,
): ConformanceCase[] {
  const { adapter } = options;
  const add = (name: string, check: () => void): ConformanceCase => ({ group, name, run: async () => check() });
  return [
    add('every operation and every look-up has its cases', () => {
      assert.deepEqual(Object.keys(options.operations).sort(), Object.keys(adapter.operations).sort());
      assert.deepEqual(Object.keys(options.lookups).sort(), Object.keys(adapter.lookups).sort());
    }),
    add('every look-up has a status word that ends well, and one that does not', () => {
      for (const [name, { ends }] of Object.entries(options.lookups)) {
        const outcomes = Object.values(ends);
        assert.ok(outcomes.includes('succeeded'), `${name}: no word in \`ends\` ends well`);
        assert.ok(
          outcomes.some((one) => one !== 'succeeded'),
          `${name}: no word in \`ends\` ends badly`,
        );
      }
    }),
    add('every field of every input says what it is', () => {
      for (const [name, operation] of Object.entries(adapter.operations)) {
        const schema = z.toJSONSchema(operation.input, { io: 'input', unrepresentable: 'any' });
        assert.ok(hasFields(schema), `${name}: the input has no fields`);
        assert.ok(operation.summary.trim() !== '', `${name}: say in \`summary\` what it does`);
      }
    }),
    add('credentials and secrets are fields of the account', () => {
      const known = new Set([...Object.keys(adapter.environment), ...adapter.secrets]);
      for (const field of adapter.credentials) assert.ok(known.has(field), `credentials: ${field} is no known field`);
      for (const field of adapter.credentials) {
        assert.ok(adapter.environment[field] !== undefined, `credentials: no variable sets ${field}`);
      }
    }),
  ];
}

function hasFields(schema: unknown): boolean {
  const { properties, oneOf, anyOf } = schema as { properties?: object; oneOf?: unknown[]; anyOf?: unknown[] };
  const forms = oneOf ?? anyOf;
  return forms === undefined ? Object.keys(properties ?? {}).length > 0 : forms.every(hasFields);
}
