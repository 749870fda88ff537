import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import { disturbedRows } from '../faults/row-faults.ts';
import { randomUUID } from 'node:crypto';
import { errorReply, invalidReply, plainError } from './errors.ts';
import { bulkBody, generateBody, read } from './input.ts';
import type { FiniJob, FiniRecord, Generation } from './model.ts';
import { type FiniParts, type FiniRequest, jobFaults, noteJobs, struck } from './parts.ts';

/** POST /v2/knowledge/public: one generation from a text. */
export function generate(parts: FiniParts, request: FiniRequest): Reply {
  const settings = parts.settings();
  const body = read(generateBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, settings);
  let record: FiniRecord | null = null;
  if (body.origin === 'sources') {
    record = parts.library.record(body.documentId ?? '') ?? null;
    if (record === null) return plainError(400, 'documentId was not found', settings);
    if (record.workspace !== request.grant.workspace) return foreign(parts);
  }
  const job = queueGeneration(parts, request, body.candidateKnowledge, record, body);
  noteJobs(request.call, [job.id]);
  return json(settings.postStatus, { backgroundJobId: job.id });
}

/** POST /v2/knowledge/public/bulk: one generation per stored source. */
export function bulk(parts: FiniParts, request: FiniRequest): Reply {
  const settings = parts.settings();
  const body = read(bulkBody, request.body);
  if (Array.isArray(body)) return invalidReply(body, settings);
  if (settings.maxBulkIds !== null && body.documentIds.length > settings.maxBulkIds) {
    return invalidReply([`documentIds must contain at most ${settings.maxBulkIds} elements`], settings);
  }
  const wanted = new Map<string, FiniRecord | null>();
  for (const id of body.documentIds) {
    const record = parts.library.record(id) ?? null;
    if (record === null && settings.bulkUnknownIds === 'refuse') {
      return plainError(400, 'One or more source IDs were not found', settings);
    }
    if (record !== null && record.workspace !== request.grant.workspace) return foreign(parts);
    if (record !== null || settings.bulkUnknownIds === 'fail') wanted.set(id, record);
  }
  const broken = struck(request, 'bulk-half-queued');
  const entries = [...wanted].slice(0, broken === undefined ? undefined : Math.ceil(wanted.size / 2));
  const jobs = entries.map(([documentId, record]) => {
    const text = record === null ? '' : `${record.originalUrl} ${record.title}`;
    const job = queueGeneration(parts, request, text, record, body);
    if (record === null) parts.work.end(job, Date.now(), { isDone: false });
    return { documentId, backgroundJobId: job.id };
  });
  noteJobs(
    request.call,
    jobs.map((job) => job.backgroundJobId),
  );
  if (broken !== undefined) {
    return errorReply(500, 'Failed to queue one or more generation jobs', broken === 'with-ids' ? { jobs } : {});
  }
  const rows = disturbedRows(jobs, request.faults.active, () => ({
    documentId: randomUUID(),
    backgroundJobId: randomUUID(),
  }));
  return json(settings.postStatus, { jobs: rows });
}

interface Pipeline {
  readonly restrictedOps?: readonly string[] | null | undefined;
  readonly isDraft?: boolean | null | undefined;
}

function queueGeneration(
  parts: FiniParts,
  request: FiniRequest,
  text: string,
  record: FiniRecord | null,
  { restrictedOps, isDraft }: Pipeline,
): FiniJob {
  const generation: Omit<Generation, 'articleId'> = {
    isDraft: isDraft ?? true,
    restrictedOps: restrictedOps ?? [],
  };
  return parts.work.queue({
    kind: 'generation',
    workspace: request.grant.workspace,
    source: record?.originalUrl ?? text,
    faults: jobFaults(parts, request, text, record),
    record,
    generation,
  });
}

function foreign(parts: FiniParts): Reply {
  return plainError(403, 'One or more sources belong to a different workspace', parts.settings());
}
