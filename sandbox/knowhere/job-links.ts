import { traitOf } from '../faults/traits.ts';
import type { Call } from '../http/call.ts';
import type { KnowhereJob } from './job.ts';
import type { KnowhereParts } from './parts.ts';
import { uploadLinkSeconds } from './settings.ts';

/** A fresh upload link of a job. DOC shows one in each Get Job, and each lives from then on. */
export function uploadLink({ links, settings }: KnowhereParts, call: Call, job: KnowhereJob): string | null {
  if (job.upload === null) return null;
  const path = `/knowhere/_storage/uploads/${job.id}/${encodeURIComponent(job.fileName)}`;
  const expiresAtMs = Date.now() + uploadLinkSeconds(settings(), job.dialect) * 1_000;
  return call.origin + links.sign('PUT', path, expiresAtMs, job.upload.contentType);
}

/** A fresh result link, and when it ends (Unix ms). */
export function resultLink(
  { links, settings }: KnowhereParts,
  call: Call,
  job: KnowhereJob,
): { url: string; expiresAtMs: number } {
  const seconds = Number(traitOf(job.faults, 'result-expires-in') ?? settings().resultLinkSeconds);
  const expiresAtMs = Date.now() + seconds * 1_000;
  const path = `/knowhere/_storage/results/result_${job.id}.zip`;
  return { url: call.origin + links.sign('GET', path, expiresAtMs, null), expiresAtMs };
}
