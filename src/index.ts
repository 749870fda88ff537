/**
 * The library: submit work, read how it ended, teach the engine another vendor.
 * @packageDocumentation
 */
export * from './client.ts';
export { startWorkers, type RunningWorkers, type StartWorkersOptions } from './app.ts';
export * from './core/errors.ts';
export type { Logger } from './ports/logger.ts';
export type * from './ports/vendor-adapter.ts';
export { catalogue } from './vendors/catalogue.ts';
export {
  defineOperation,
  defineVendor,
  statusWords,
  type DefinedVendor,
  type LookupSpec,
  type OperationSpec,
  type VendorSpec,
} from './vendors/define-vendor.ts';
