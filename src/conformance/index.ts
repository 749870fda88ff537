/**
 * The conformance suite: everything that a vendor can do to an adapter, as test cases. See docs/adding-a-vendor.md.
 * @packageDocumentation
 */
export { conformance, conformanceCases, type TestFramework } from './conformance.ts';
export { faults, type ConformanceDouble, type DoubleRequest, type Fault, type Route, type Where } from './double.ts';
export {
  fileCases,
  lookupCases,
  submitCases,
  type ConformanceCase,
  type ConformanceOptions,
  type FileCase,
  type Given,
  type LookupCase,
  type LookupCases,
  type OperationCases,
  type SubmitCase,
} from './options.ts';
export type { StatusReply } from './scripted/rows.ts';
export type { Call, Reply } from './scripted/reply.ts';
export { scriptedVendor, type ScriptedVendorOptions } from './scripted/scripted-vendor.ts';
