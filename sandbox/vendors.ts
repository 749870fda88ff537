import type { DoubleContext } from './double-context.ts';
import { finiDouble } from './fini/double.ts';
import { knowhereDouble } from './knowhere/double.ts';
import { sharelyDouble } from './sharely/double.ts';
import type { VendorDouble } from './vendor-double.ts';

/** All vendors, in the order in which they are played; the first is meant where a caller names none. */
const builders: Readonly<Record<string, (context: DoubleContext) => VendorDouble>> = {
  knowhere: knowhereDouble,
  fini: finiDouble,
  sharely: sharelyDouble,
};

/** @throws RangeError on a vendor that is not played */
export function vendorDoubles(context: DoubleContext): VendorDouble[] {
  const wanted = context.options.vendors ?? Object.keys(builders);
  return wanted.map((name) => {
    const build = builders[name];
    if (build === undefined) {
      throw new RangeError(`the sandbox plays ${Object.keys(builders).join(', ')}, not '${name}'`);
    }
    return build(context);
  });
}
