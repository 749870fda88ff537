import { randomUUID } from 'node:crypto';
import { traitOf } from '../faults/traits.ts';
import type { Library } from './library.ts';
import type { FiniJob, FiniRecord } from './model.ts';

interface Forced {
  readonly isDone: boolean;
  readonly text?: string | undefined;
}

const errorTexts: Readonly<Record<string, string>> = {
  'fetch-failed': 'Failed to fetch the page',
  'login-wall': 'The page requires authentication',
  robots: 'Blocked by robots.txt',
  'content-type': 'Unsupported content type',
  'connection-expired': 'Provider connection expired or lost permissions; reconnect the provider',
};

/** Writes the end of an ingestion to its record. @returns the status word */
export function ingestionOutcome(job: FiniJob, record: FiniRecord, forced?: Forced): string {
  const failure = forced === undefined ? traitOf(job.faults, 'record-fails') : forced.isDone ? undefined : 'forced';
  if (failure !== undefined) {
    record.success = false;
    record.error = forced?.text ?? errorTexts[failure] ?? (failure === 'forced' ? 'Processing failed' : failure);
    return 'FAILED';
  }
  const defect = forced === undefined ? traitOf(job.faults, 'completed-without-success') : undefined;
  record.success = defect !== 'no-success' && defect !== 'both';
  record.error = defect === 'error-text' || defect === 'both' ? 'No usable content was found' : '';
  if (!record.success) return 'COMPLETED';
  const isNew = record.paragraphs.length === 0;
  const hasChanged = traitOf(job.faults, 'content-changed') !== undefined;
  record.oldParagraphs = record.paragraphs;
  if (isNew || hasChanged) record.paragraphs = paragraphsOf(record, hasChanged ? job.id : 'first edition');
  if (hasChanged && record.linkedKnowledgeId !== null) record.changed = true;
  return 'COMPLETED';
}

/** Saves what a generation made. @returns the status word */
export function generationOutcome(
  job: FiniJob,
  record: FiniRecord | undefined,
  library: Library,
  atMs: number,
  forced?: Forced,
): string {
  const word = ownOutcome(job, record, library, atMs, forced);
  return word === 'COMPLETED' ? (traitOf(job.faults, 'finished-word') ?? word) : word;
}

function ownOutcome(
  job: FiniJob,
  record: FiniRecord | undefined,
  library: Library,
  atMs: number,
  forced?: Forced,
): string {
  const { generation } = job;
  if (forced?.isDone === false) return forced.text ?? 'FAILED';
  if (forced === undefined) {
    const word = traitOf(job.faults, 'job-fails');
    if (word !== undefined) return word;
  }
  // Nothing to generate from: the source was never ingested, or it is gone.
  if (job.documentId !== null && (record === undefined || record.paragraphs.length === 0)) return 'FAILED';
  if (generation === null || traitOf(job.faults, 'no-article') !== undefined) return 'COMPLETED';
  const { restrictedOps, isDraft } = generation;
  const may = (operation: string) => restrictedOps.length === 0 || restrictedOps.includes(operation);
  const operation =
    (record?.linkedKnowledgeId ?? null) !== null && may('UPDATE_ARTICLE')
      ? 'UPDATE_ARTICLE'
      : may('ADD_ARTICLE_TO_FOLDER')
        ? 'ADD_ARTICLE_TO_FOLDER'
        : may('UPDATE_ARTICLE')
          ? 'UPDATE_ARTICLE'
          : 'DO_NOTHING';
  const of = { jobId: job.id, documentId: job.documentId, operation, isDraft, savedAt: new Date(atMs).toISOString() };
  if (operation === 'DO_NOTHING') {
    // With drafts on, a person reviews the decision to change nothing.
    if (isDraft) library.addSave({ articleId: null, ...of });
    return 'COMPLETED';
  }
  const articleId = (operation === 'UPDATE_ARTICLE' ? record?.linkedKnowledgeId : null) ?? randomUUID();
  generation.articleId = articleId;
  library.addSave({ articleId, ...of });
  if (record !== undefined) {
    record.linkedKnowledgeId = articleId;
    record.linkedOperation = operation;
    record.changed = false;
  }
  return 'COMPLETED';
}

/** Made-up text: the sandbox fetches nothing. */
export function paragraphsOf(record: Pick<FiniRecord, 'title' | 'originalUrl'>, edition: string): string[] {
  return [
    `# ${record.title}`,
    `Text of ${record.originalUrl} as the sandbox imagines it (${edition}).`,
    'Refunds are paid within five working days. Orders above 50 are sent free of charge.',
  ];
}
