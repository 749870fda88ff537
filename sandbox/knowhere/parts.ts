import type { BoundFault } from '../faults/definition.ts';
import type { FaultBoard } from '../faults/fault-board.ts';
import type { MarkedTexts } from '../faults/marked-texts.ts';
import type { Call } from '../http/call.ts';
import type { Reply } from '../http/reply.ts';
import type { Admission, VendorFaults } from '../vendor-double.ts';
import type { WorkClock } from '../work-clock.ts';
import type { ArchiveShelf } from './archive.ts';
import type { JobStore } from './job-store.ts';
import type { LinkSigner } from './links.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Dialect, KnowhereSettings } from './settings.ts';
import type { UploadShelf } from './upload-shelf.ts';

/** What the routes work with. */
export interface KnowhereParts {
  readonly clock: WorkClock;
  readonly jobs: JobStore;
  readonly limits: RateLimits;
  readonly links: LinkSigner;
  readonly uploads: UploadShelf;
  readonly archives: ArchiveShelf;
  readonly marks: MarkedTexts;
  readonly board: FaultBoard;
  readonly settings: () => KnowhereSettings;
}

/** One admitted request to storage, which knows no key. */
export interface StorageRequest {
  readonly call: Call;
  readonly admission: Admission;
  readonly faults: VendorFaults;
}

/** One admitted and authorized request to the API. */
export interface KnowhereRequest extends StorageRequest {
  readonly dialect: Dialect;
  readonly user: string;
}

export type Handler = (parts: KnowhereParts, request: KnowhereRequest) => Promise<Reply> | Reply;
export type StorageHandler = (parts: KnowhereParts, request: StorageRequest) => Promise<Reply> | Reply;

/** The argument of a vendor fault that strikes this request, or undefined. */
export function struck({ faults }: Pick<StorageRequest, 'faults'>, name: string): string | undefined {
  return faults.active.find((fault) => fault.name === name)?.argument;
}

/** The faults that the job of a create gets: armed rules, and its names' markers. */
export function jobFaults({ board, marks }: KnowhereParts, { call, admission }: KnowhereRequest): BoundFault[] {
  const { route, source, dataId, apiKey, faults } = admission;
  const context = {
    vendor: 'knowhere',
    route,
    method: call.method,
    jobId: null,
    source: `${source ?? ''} ${dataId ?? ''}`,
    apiKey,
  };
  const drawn = board.strikeJob(context, faults);
  for (const { definition } of drawn) call.faultNames.push(definition.name);
  return [...drawn, ...marks.later(faults)];
}
