import type { WorkClock } from '../work-clock.ts';
import type { ArchiveShelf } from './archive.ts';
import type { JobStore } from './job-store.ts';
import type { RateLimits } from './rate-limits.ts';
import type { KnowhereSettings } from './settings.ts';
import type { Storage } from './storage.ts';

/** What the API works with. */
export interface ApiParts {
  readonly clock: WorkClock;
  readonly jobs: JobStore;
  readonly limits: RateLimits;
  readonly archives: ArchiveShelf;
  readonly storage: Storage;
  readonly settings: () => KnowhereSettings;
}
