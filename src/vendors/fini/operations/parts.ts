import type { Context } from '../account.ts';

/** The slice of a long list that the request at hand is for. */
export interface Part<Item> {
  items: Item[];
  /** True when requests follow. */
  more: boolean;
}

/** The vendor documents no limit on its lists, so we keep one of our own. */
export function partOf<Item>(all: readonly Item[], context: Pick<Context<unknown>, 'part' | 'account'>): Part<Item> {
  const size = context.account.submitBatchSize;
  const from = context.part * size;
  return { items: all.slice(from, from + size), more: from + size < all.length };
}
