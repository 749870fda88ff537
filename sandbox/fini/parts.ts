import type { MarkedTexts } from '../faults/marked-texts.ts';
import type { BoundFault } from '../faults/definition.ts';
import type { FaultBoard } from '../faults/fault-board.ts';
import type { Call } from '../http/call.ts';
import type { Admission, VendorFaults } from '../vendor-double.ts';
import type { KeyGrant } from './api-key.ts';
import type { Library } from './library.ts';
import { recordText, type FiniRecord } from './model.ts';
import type { FiniSettings } from './settings.ts';
import type { Work } from './work.ts';

/** What the routes work with. */
export interface FiniParts {
  readonly library: Library;
  readonly work: Work;
  readonly marks: MarkedTexts;
  readonly board: FaultBoard;
  readonly settings: () => FiniSettings;
}

/** One admitted and authorized request. */
export interface FiniRequest {
  readonly call: Call;
  readonly admission: Admission;
  readonly grant: KeyGrant;
  readonly faults: VendorFaults;
  readonly body: unknown;
}

/** The argument of a vendor fault that strikes this request, or undefined. */
export function struck({ faults }: FiniRequest, name: string): string | undefined {
  return faults.active.find((fault) => fault.name === name)?.argument;
}

/** The faults that one job of a create gets: armed rules, its text's markers, what was handed to its record. */
export function jobFaults(
  { board, marks }: FiniParts,
  { call, admission }: FiniRequest,
  text: string,
  record: FiniRecord | null,
): BoundFault[] {
  const ofRecord = record === null ? '' : recordText(record);
  const own = [...marks.of(text), ...(ofRecord === text ? [] : marks.of(ofRecord))];
  const context = {
    vendor: 'fini',
    route: admission.route,
    method: call.method,
    jobId: record?.id ?? null,
    source: `${text} ${ofRecord}`,
    apiKey: admission.apiKey,
  };
  const drawn = board.strikeJob(context, own);
  for (const { definition } of drawn) call.faultNames.push(definition.name);
  const handed = record?.runFaults.splice(0) ?? [];
  return [...handed, ...drawn, ...marks.forLater(text)];
}

/** Notes in the ledger what a create made. One job is shown as such; several as a batch. */
export function noteJobs(call: Call, jobIds: readonly string[]): void {
  if (jobIds.length === 0) return;
  const [only] = jobIds;
  call.jobCreated = true;
  if (jobIds.length === 1 && only !== undefined) call.jobId = only;
  else call.jobIds = jobIds;
}
