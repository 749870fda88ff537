import type { FiniJob, FiniRecord } from './model.ts';
import { traitOf } from '../faults/traits.ts';
import type { FiniSettings } from './settings.ts';

/** The status word of a job, as look-ups say it; null when a fault hides it. */
export function shownStatus(job: FiniJob): string | null {
  if (traitOf(job.faults, 'status-missing') !== undefined) return null;
  switch (job.phase) {
    case 'hidden':
    case 'pending':
      return 'PENDING';
    case 'running':
      if (traitOf(job.faults, 'goes-back-to-pending') !== undefined && job.lookups % 2 === 0) return 'PENDING';
      return traitOf(job.faults, 'unknown-job-status') ?? 'IN_PROGRESS';
    case 'ended':
      return job.endedAs;
    default:
      return job.phase satisfies never;
  }
}

/** A record as the list and the read route show it. */
export function shownRecord(record: FiniRecord, settings: FiniSettings): Record<string, unknown> {
  const { run } = record;
  const unset: Record<string, unknown> = {
    linkedJobId: record.shownJobId ?? run?.id ?? null,
    linkedJobStatus: run === null ? null : shownStatus(run),
    linkedKnowledgeId: record.linkedKnowledgeId,
    linkedOperation: record.linkedOperation,
    linkedReason: null,
  };
  const shown =
    settings.unsetFields === 'null'
      ? unset
      : Object.fromEntries(Object.entries(unset).filter(([, value]) => value !== null));
  return {
    id: record.id,
    originalUrl: record.originalUrl,
    title: record.title,
    storageUrl: `gs://vendor-sandbox/${record.workspace}/${record.id}.md`,
    externalId: record.externalId,
    mimeType: record.mimeType,
    type: record.type,
    source: record.source,
    english: record.english,
    baser: record.baser,
    paragraphs: record.paragraphs,
    oldParagraphs: record.oldParagraphs,
    success: record.success,
    error: record.error,
    createdAt: time(record.createdAtMs),
    updatedAt: time(record.updatedAtMs),
    ...shown,
    changed: record.changed,
  };
}

/** A row of the status route. Timestamps are there only once known. */
export function statusRow(job: FiniJob): Record<string, unknown> {
  const status = shownStatus(job);
  const isSilent = traitOf(job.faults, 'no-timestamps') !== undefined;
  return {
    id: job.id,
    ...(status === null ? {} : { jobStatus: status }),
    ...(isSilent ? {} : { createdAt: time(job.createdAtMs) }),
    ...(isSilent || job.startedAtMs === null ? {} : { startedAt: time(job.startedAtMs) }),
    ...(isSilent || job.endedAtMs === null ? {} : { completedAt: time(job.endedAtMs) }),
    hcArticleId: job.generation?.articleId ?? null,
  };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
