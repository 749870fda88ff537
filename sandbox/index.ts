/** The vendor sandbox: HTTP doubles of vendor APIs with scripted faults and a ledger. See README.md. */
export { startSandbox } from './sandbox.ts';
export type { Sandbox, SandboxOptions } from './sandbox-handle.ts';
export type { Ledger, CreateGroup, LedgerFilter, LedgerSummary } from './ledger.ts';
export type { LedgerEntry } from './ledger-entry.ts';
export type { FaultBoard, FaultRule, FaultRuleSpec } from './faults/fault-board.ts';
export type { FaultDefinition } from './faults/definition.ts';
export { UnknownFaultError } from './faults/catalogue.ts';
export type { JobEnding, JobFilter, JobView } from './vendor-double.ts';
export { VendorSettingError } from './vendor-settings.ts';
