import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { fini } from './fini/adapter.ts';
import { knowhere } from './knowhere/adapter.ts';
import { sharely } from './sharely/adapter.ts';

/** The vendors that come with the product: the one place where they are registered. */
export const catalogue = { knowhere, fini, sharely } as const;

export type Catalogue = typeof catalogue;

export const adapters: readonly VendorAdapter[] = Object.values(catalogue);
