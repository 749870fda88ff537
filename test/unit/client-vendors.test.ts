import { describe, expect, expectTypeOf, it } from 'vitest';
import * as client from '../../src/client.ts';
import * as library from '../../src/index.ts';
import type { InputOf, OperationName } from '../../src/producers/producer.ts';
import { catalogue, type Catalogue } from '../../src/vendors/catalogue.ts';
import { vendors } from '../../src/vendors/inputs.ts';

type Known = typeof vendors;

describe('the vendors of the client', () => {
  it('have the operations of the adapters, with the very same schemas', () => {
    const inputsOf = (known: client.Vendors) =>
      new Map(
        Object.entries(known).flatMap(([vendor, { operations }]) =>
          Object.entries(operations).map(([name, { input }]) => [`${vendor}.${name}`, input] as const),
        ),
      );
    const declared = inputsOf(catalogue);
    expect([...inputsOf(vendors).keys()]).toEqual([...declared.keys()]);
    // By identity: two schemas of one form could come apart.
    for (const [name, input] of inputsOf(vendors)) expect(input, name).toBe(declared.get(name));
  });

  it('are typed as the adapters are', () => {
    expectTypeOf<keyof Known>().toEqualTypeOf<keyof Catalogue>();
    expectTypeOf<OperationName<Known['fini']>>().toEqualTypeOf<OperationName<Catalogue['fini']>>();
    expectTypeOf<OperationName<Known['sharely']>>().toEqualTypeOf<OperationName<Catalogue['sharely']>>();
    expectTypeOf<InputOf<Known['knowhere'], 'parse'>>().toEqualTypeOf<InputOf<Catalogue['knowhere'], 'parse'>>();
    expectTypeOf<InputOf<Known['sharely'], 'watch'>>().toEqualTypeOf<InputOf<Catalogue['sharely'], 'watch'>>();
  });
});

it('the library exports all that the client does', () => {
  expect(library).toMatchObject(client);
});
