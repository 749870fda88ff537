import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Reply } from '../http/reply.ts';
import { json } from '../http/reply.ts';
import type { VendorControl } from '../vendor-double.ts';
import { VendorSettingError } from '../vendor-settings.ts';
import { type FiniJob, type FiniRecord, recordText, sourceKinds } from './model.ts';
import { paragraphsOf } from './outcome.ts';
import type { FiniParts } from './parts.ts';
import { shownRecord, shownStatus } from './render.ts';

const workspace = z.string().min(1).default('default');

const recordFields = {
  title: z.string().optional(),
  paragraphs: z.array(z.string()).optional(),
  success: z.boolean().optional(),
  error: z.string().optional(),
  english: z.boolean().optional(),
  linkedKnowledgeId: z.string().nullable().optional(),
  linkedOperation: z.string().nullable().optional(),
  changed: z.boolean().optional(),
};

const newRecord = z.strictObject({
  ...recordFields,
  workspace,
  source: z.enum(sourceKinds).default('web'),
  originalUrl: z.string().min(1).optional(),
  externalId: z.string().optional(),
  /** Null: registered only, never queued. `PENDING`: queued now. */
  status: z.enum(['COMPLETED', 'FAILED', 'PENDING']).nullable().default('COMPLETED'),
  /** Makes an article id up. */
  isLinked: z.boolean().optional(),
});

const newRecords = z.union([
  z.strictObject({ records: z.array(newRecord).min(1).max(10_000) }),
  z.strictObject({ ...newRecord.shape, count: z.number().int().min(1).max(10_000).default(1) }),
]);

const recordChange = z.strictObject(recordFields);

const newJobs = z.strictObject({
  count: z.number().int().min(1).max(10_000).default(1),
  workspace,
  documentId: z.string().optional(),
  candidateKnowledge: z.string().default('Knowledge of a job that was started elsewhere'),
  isDraft: z.boolean().default(true),
});

/** Control routes of Fini alone: records and jobs that are simply there, as if another client had made them. */
export function finiControls(parts: FiniParts): Record<string, VendorControl> {
  const { library, work, settings } = parts;
  const found = (id: string): FiniRecord => {
    work.settle();
    const record = library.record(id);
    if (record === undefined) throw new VendorSettingError(`no record '${id}'`);
    return record;
  };
  const view = (record: FiniRecord) => shownRecord(record, settings());
  return {
    'POST /_control/fini/records': (body) => json(201, { records: seedRecords(parts, body).map(view) }),
    'GET /_control/fini/records': () => {
      work.settle();
      return json(200, { records: [...library.records()].map(view) });
    },
    'GET /_control/fini/records/:id': (_body, _call, id) => json(200, view(found(id))),
    'POST /_control/fini/records/:id': (body, _call, id) => {
      const record = found(id);
      Object.assign(record, defined(recordChange.parse(body)));
      library.touch(record);
      return json(200, view(record));
    },
    'DELETE /_control/fini/records/:id': (_body, _call, id) => {
      library.removeRecord(found(id));
      return json(200, { removed: id });
    },
    'POST /_control/fini/jobs': (body) => json(201, { jobs: seedJobs(parts, body).map(jobLine) }),
    'GET /_control/fini/saves': (): Reply => {
      work.settle();
      return json(200, { saves: library.saves() });
    },
  };
}

function seedRecords(parts: FiniParts, body: unknown): FiniRecord[] {
  const asked = newRecords.parse(body);
  if ('records' in asked) return asked.records.map((fields) => seedRecord(parts, fields));
  const { count, ...fields } = asked;
  return Array.from({ length: count }, (_none, index) => {
    if (count === 1 || fields.originalUrl === undefined) return seedRecord(parts, fields);
    const mark = fields.originalUrl.includes('?') ? '&' : '?';
    return seedRecord(parts, { ...fields, originalUrl: `${fields.originalUrl}${mark}n=${index + 1}` });
  });
}

function seedRecord({ library, work, marks }: FiniParts, fields: z.infer<typeof newRecord>): FiniRecord {
  const { status, isLinked, workspace, source, originalUrl = `https://example.com/${randomUUID()}`, ...rest } = fields;
  const text = `${originalUrl} ${fields.title ?? ''}`;
  const isGood = status === 'COMPLETED';
  const record = library.addRecord({
    workspace,
    source,
    originalUrl,
    faults: marks.forLater(text),
    ...(isLinked === true ? { linkedKnowledgeId: randomUUID(), linkedOperation: 'ADD_ARTICLE_TO_FOLDER' } : {}),
    success: isGood,
    error: status === 'FAILED' ? 'Failed to fetch the page' : '',
    ...defined(rest),
  });
  if (isGood && record.paragraphs.length === 0) record.paragraphs = paragraphsOf(record, 'first edition');
  if (status === null) return record;
  if (status === 'PENDING') {
    const faults = marks.of(recordText(record)).filter(({ definition }) => definition.scope === 'job');
    work.queue({ kind: 'ingestion', workspace, source: originalUrl, faults, record, generation: null });
    return record;
  }
  const job: FiniJob = {
    id: randomUUID(),
    kind: 'ingestion',
    workspace,
    documentId: record.id,
    source: originalUrl,
    createdAtMs: record.createdAtMs,
    phase: 'ended',
    endedAs: status,
    startedAtMs: record.createdAtMs,
    endedAtMs: record.createdAtMs,
    faults: [],
    lookups: 0,
    generation: null,
  };
  library.addJob(job);
  record.run = job;
  return record;
}

function seedJobs({ library, work, marks }: FiniParts, body: unknown): FiniJob[] {
  const { count, workspace, documentId, candidateKnowledge, isDraft } = newJobs.parse(body);
  const record = documentId === undefined ? null : library.record(documentId);
  if (record === undefined) throw new VendorSettingError(`no record '${documentId ?? ''}'`);
  return Array.from({ length: count }, () => {
    const own = marks.of(candidateKnowledge).filter(({ definition }) => definition.scope === 'job');
    const faults = [...own, ...marks.forLater(candidateKnowledge)];
    const generation = { isDraft, restrictedOps: [] };
    return work.queue({ kind: 'generation', workspace, source: candidateKnowledge, faults, record, generation });
  });
}

function jobLine(job: FiniJob) {
  return { id: job.id, documentId: job.documentId, jobStatus: shownStatus(job) };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
