import { z } from 'zod';
import type { Call } from '../http/call.ts';
import { readChange, VendorSettingError } from '../vendor-settings.ts';

export type Dialect = 'doc' | 'impl';

const limit = z.number().int().min(1).nullable();
const secondsOfLife = z.number().min(0.05).max(31_536_000);

const schema = z.strictObject({
  /** Which text is played: the documentation, or the implementation. */
  dialect: z.enum(['doc', 'impl']),
  /** DOC: requests of one user per minute, all routes. Null: off. */
  requestsPerMinute: limit,
  /** IMPL: `GET /v1/jobs/*` of one user per minute. */
  getJobsPerMinute: limit,
  /** IMPL: all other requests of one user per minute. */
  otherPerMinute: limit,
  /** IMPL: creates of one user per minute; a refused create has used its slot, too. */
  createsPerMinute: limit,
  /** Jobs of one user that have not ended, those waiting for an upload included. */
  activeJobs: limit,
  /** IMPL: creates of one user per day. */
  createsPerDay: limit,
  /** Length of the minute above, ms. Shorten it so that tests need not wait. */
  minuteMs: z.number().int().min(50).max(3_600_000),
  /** Life of an upload link. Null: as the dialect says, 3,600 (DOC) or 7,200 (IMPL). */
  uploadLinkSeconds: secondsOfLife.nullable(),
  /** Life of a result link. */
  resultLinkSeconds: secondsOfLife,
  /** A job that waits (file or queue) this long fails. Null: as the dialect says, 3,600 (DOC) or 7,200 (IMPL). */
  waitingDeadlineSeconds: secondsOfLife.nullable(),
  /** A job that runs or converts this long fails with `JOB_EXPIRED`. */
  runningDeadlineSeconds: secondsOfLife,
  /** How long results are kept after the end. */
  retentionSeconds: secondsOfLife,
  /** Larger uploads are taken, then the job fails. */
  maxUploadBytes: z.number().int().min(1),
  /** PDFs with more pages are taken, then the job fails. */
  maxPages: z.number().int().min(1),
});

export type KnowhereSettings = z.infer<typeof schema>;

const OFF = {
  requestsPerMinute: null,
  getJobsPerMinute: null,
  otherPerMinute: null,
  createsPerMinute: null,
  activeJobs: null,
  createsPerDay: null,
} as const;

const general = { ...OFF, getJobsPerMinute: 200, otherPerMinute: 1_000 } as const;

/** Named sets of limits, as the vendor publishes them. */
export const presets: Readonly<Record<string, Partial<KnowhereSettings>>> = {
  off: OFF,
  /** The older documentation: 60 requests a minute, 10 jobs at once. */
  documented: { ...OFF, requestsPerMinute: 60, activeJobs: 10 },
  free: { ...general, createsPerMinute: 2, activeJobs: 2, createsPerDay: 20 },
  tier1: { ...general, createsPerMinute: 15, activeJobs: 5 },
  tier2: { ...general, createsPerMinute: 20, activeJobs: 10 },
  tier3: { ...general, createsPerMinute: 50, activeJobs: 20 },
  tier4: { ...general, createsPerMinute: 100, activeJobs: 50 },
  tier5: general,
};

/** Limits are off by default: a user's test must not be throttled by surprise. */
export function defaultKnowhereSettings(dialect: Dialect): KnowhereSettings {
  return {
    dialect,
    ...OFF,
    minuteMs: 60_000,
    uploadLinkSeconds: null,
    resultLinkSeconds: 3_600,
    waitingDeadlineSeconds: null,
    runningDeadlineSeconds: 14_400,
    retentionSeconds: 2_592_000,
    maxUploadBytes: 300 * 1_048_576,
    maxPages: 1_500,
  };
}

/**
 * The settings after a change. `preset` names a set of limits; single fields win over it.
 * @throws VendorSettingError on an unknown preset, name or value
 */
export function changedKnowhereSettings(current: KnowhereSettings, change: Record<string, unknown>): KnowhereSettings {
  const { preset, ...fields } = change;
  const named = preset === undefined ? {} : typeof preset === 'string' ? presets[preset] : undefined;
  if (named === undefined) {
    throw new VendorSettingError(`unknown preset ${JSON.stringify(preset)}; known: ${Object.keys(presets).join(', ')}`);
  }
  return schema.parse({ ...current, ...named, ...readChange(schema.partial(), fields) });
}

/** Life of an upload link in a dialect, seconds. */
export function uploadLinkSeconds(settings: KnowhereSettings, dialect: Dialect): number {
  return settings.uploadLinkSeconds ?? (dialect === 'doc' ? 3_600 : 7_200);
}

/** How long a job of a dialect may wait before it fails, seconds. */
export function waitingDeadlineSeconds(settings: KnowhereSettings, dialect: Dialect): number {
  return settings.waitingDeadlineSeconds ?? (dialect === 'doc' ? 3_600 : 7_200);
}

/** The dialect of a request: of its base path, of its header, else of the settings. */
export function dialectOf(call: Call, settings: KnowhereSettings): Dialect {
  const [base] = call.segments;
  if (base === 'knowhere-doc') return 'doc';
  if (base === 'knowhere-impl') return 'impl';
  const asked = call.header('x-sandbox-dialect');
  return asked === 'doc' || asked === 'impl' ? asked : settings.dialect;
}
