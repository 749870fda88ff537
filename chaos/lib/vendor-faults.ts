import type { Vendor } from './loads.ts';

/** A rule of the sandbox, armed for the whole run. */
export interface VendorFault {
  vendor: Vendor;
  fault: string;
  route?: string;
  argument?: string | number;
  probability: number;
}

/** What can befall a request that starts work. */
function atCreate(vendor: Vendor, route: string): VendorFault[] {
  const at = { vendor, route };
  return [
    { ...at, fault: 'rate-limited', argument: 2, probability: 0.004 },
    { ...at, fault: 'unavailable', argument: 2, probability: 0.004 },
    { ...at, fault: 'server-error', probability: 0.006 },
    { ...at, fault: 'server-error-after', probability: 0.006 },
    { ...at, fault: 'gateway-error', probability: 0.004 },
    { ...at, fault: 'gateway-error-after', probability: 0.004 },
    { ...at, fault: 'cut-before', probability: 0.008 },
    { ...at, fault: 'cut-after', probability: 0.008 },
    { ...at, fault: 'malformed-json', probability: 0.004 },
    { ...at, fault: 'truncated-body', probability: 0.004 },
    { ...at, fault: 'slow-reply', argument: 1_500, probability: 0.02 },
  ];
}

function atLookUp(vendor: Vendor, route: string): VendorFault[] {
  const at = { vendor, route };
  return [
    { ...at, fault: 'rate-limited', argument: 2, probability: 0.002 },
    { ...at, fault: 'unavailable', argument: 2, probability: 0.004 },
    { ...at, fault: 'server-error', probability: 0.005 },
    { ...at, fault: 'gateway-error', probability: 0.005 },
    { ...at, fault: 'cut-before', probability: 0.005 },
    { ...at, fault: 'cut-after', probability: 0.005 },
    { ...at, fault: 'malformed-json', probability: 0.004 },
    { ...at, fault: 'empty-body', probability: 0.002 },
    { ...at, fault: 'foreign-json', probability: 0.004 },
    { ...at, fault: 'slow-reply', argument: 1_500, probability: 0.02 },
  ];
}

/** Where a lost create is searched, or an outcome read back. */
function atSearch(vendor: Vendor, route: string): VendorFault[] {
  const at = { vendor, route };
  return [
    { ...at, fault: 'server-error', probability: 0.05 },
    { ...at, fault: 'cut-before', probability: 0.03 },
  ];
}

function ofJobs(vendor: Vendor, faults: readonly Omit<VendorFault, 'vendor'>[]): VendorFault[] {
  return faults.map((fault) => ({ vendor, ...fault }));
}

export const vendorFaults: readonly VendorFault[] = [
  ...atCreate('knowhere', 'create'),
  ...atLookUp('knowhere', 'lookup'),
  ...atSearch('knowhere', 'list'),
  { vendor: 'knowhere', fault: 'list-empty', route: 'list', probability: 0.1 },
  { vendor: 'knowhere', fault: 'upload-cut', route: 'upload', argument: 10, probability: 0.03 },
  ...ofJobs('knowhere', [
    { fault: 'list-late', argument: 2_500, probability: 0.3 },
    { fault: 'fail', argument: 'INTERNAL_ERROR', probability: 0.02 },
    { fault: 'not-found-first', argument: 1, probability: 0.02 },
    { fault: 'status-goes-back', probability: 0.05 },
    { fault: 'unknown-status', probability: 0.02 },
  ]),

  ...['ingest', 'generate'].flatMap((route) => atCreate('fini', route)),
  ...['record', 'status'].flatMap((route) => atLookUp('fini', route)),
  ...atSearch('fini', 'list'),
  ...ofJobs('fini', [
    { fault: 'record-fails', probability: 0.02 },
    { fault: 'job-fails', probability: 0.02 },
    { fault: 'not-found-first', argument: 1, probability: 0.02 },
    { fault: 'goes-back-to-pending', probability: 0.05 },
    { fault: 'unknown-job-status', probability: 0.02 },
  ]),

  ...['role-create', 'role-upsert', 'knowledge-upload'].flatMap((route) => atCreate('sharely', route)),
  ...['background-jobs', 'knowledge-get'].flatMap((route) => atLookUp('sharely', route)),
  ...['role-by-customer', 'role-get', 'knowledge-list', 'token'].flatMap((route) => atSearch('sharely', route)),
  { vendor: 'sharely', fault: 'tokens-revoked', route: 'background-jobs', probability: 0.003 },
  { vendor: 'sharely', fault: 'old-reply-shape', route: 'background-jobs', probability: 0.005 },
  { vendor: 'sharely', fault: 'upload-cut', route: 'knowledge-upload', argument: 10, probability: 0.03 },
  ...ofJobs('sharely', [
    { fault: 'visible-late', argument: 1, probability: 0.05 },
    { fault: 'continued-as-new', argument: 1, probability: 0.02 },
  ]),
];
