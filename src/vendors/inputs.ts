import { operations as fini } from './fini/input.ts';
import { operations as knowhere } from './knowhere/input.ts';
import { operations as sharely } from './sharely/input.ts';

/**
 * The vendors of the product as a producer needs them: their operations and what each takes. Imports schemas only, so
 * that a service that submits loads no HTTP client; a test keeps it equal to `catalogue`.
 */
export const vendors = {
  knowhere: { operations: knowhere },
  fini: { operations: fini },
  sharely: { operations: sharely },
} as const;
