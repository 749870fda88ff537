import type { VendorAdapter } from '../ports/vendor-adapter.ts';
import { knowhere } from './knowhere/adapter.ts';

/** The vendors that come with the product: the one place where they are registered. */
export const catalogue = { knowhere } as const;

export type Catalogue = typeof catalogue;

export const adapters: readonly VendorAdapter[] = Object.values(catalogue);
