import { fini } from '../../../src/vendors/fini/adapter.ts';
import {
  before,
  isSame,
  other,
  own,
  rows,
  textOf,
  uuid,
  vendorJob,
  when,
  type Served,
  type WireCall,
} from './wire-call.ts';

const common = { adapter: fini, account: { apiKey: 'fini_x' } };
const intent = { attempt: 1, at: Date.parse(when), fingerprint: '0' };
const page = 'https://example.com/a';
const otherPage = 'https://example.com/b';

const list = 'GET /v2/documents/public';
const read = 'GET /v2/documents/public/*';
const forbidden = { status: 403, json: { statusCode: 403, message: 'no', error: 'Forbidden' } };

const record = (rest: object = {}): Record<string, unknown> => ({
  id: uuid,
  originalUrl: page,
  title: 'A page',
  source: 'web',
  success: true,
  error: '',
  createdAt: before,
  updatedAt: when,
  linkedJobId: other,
  linkedJobStatus: 'COMPLETED',
  linkedKnowledgeId: other,
  changed: false,
  ...rest,
});
const foreign = record({ id: other, originalUrl: 'https://example.com/foreign' });
const records = (...documents: object[]): object => ({ documents, hasMore: false });
const words = ['PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'ODD'];

/** How the record stood before the submit. */
const former = { jobId: 'former', updatedAt: before, status: 'COMPLETED' };
const byId = { known: [[uuid, former]], unknown: [] };
const byPage = { known: [[uuid, former]], unknown: [], watermark: before };

const ingestIds = { input: { source: 'notion', documentIdsToAdd: [uuid] }, snapshot: byId };
const ingestPages = { input: { documentIdsToAdd: [page, otherPage] }, snapshot: byPage };
const refreshIds = { input: { documentIds: [uuid] }, snapshot: byId };
const generation = { stage: 'generate', jobs: [vendorJob(uuid, 'document', { result: { action: 'changed' } })] };

const isBlank = (error: unknown): boolean =>
  error === undefined || error === null || error === false || (typeof error === 'string' && error.trim() === '');
const isDone = (row: unknown): boolean =>
  own(row, 'linkedJobStatus') === 'COMPLETED' && own(row, 'success') === true && isBlank(own(row, 'error'));
/** The case of the vendor's word decides nothing. */
const isCompleted = (row: unknown): boolean => textOf(own(row, 'jobStatus')).trim().toUpperCase() === 'COMPLETED';
/** Over and with an article, whatever the word. */
const hasArticle = (row: unknown): boolean =>
  textOf(own(row, 'completedAt')) !== '' && textOf(own(row, 'hcArticleId')) !== '';
/** A run that was not there before. */
const hasBegun = (row: unknown): boolean => {
  const jobId = textOf(own(row, 'linkedJobId'));
  const updatedAt = textOf(own(row, 'updatedAt'));
  const isAtWork = ['PENDING', 'IN_PROGRESS'].includes(textOf(own(row, 'linkedJobStatus')));
  const isTime = /^\d{4}-\d\d-\d\d/.test(updatedAt) && !Number.isNaN(Date.parse(updatedAt));
  return (jobId !== '' && jobId.length <= 200 && jobId !== 'former') || isAtWork || (isTime && updatedAt !== before);
};
const listed = ({ json }: Served): unknown[] => rows(own(json, 'documents'));
const jobsOf = ({ json }: Served): unknown[] => rows(own(json, 'jobs'));
const generated = (served: Served): unknown[] => jobsOf(served).map((row) => own(row, 'backgroundJobId'));
const bulkBody = {
  jobs: [
    { documentId: other, backgroundJobId: 'job-other' },
    { documentId: uuid, backgroundJobId: 'job-ours' },
  ],
};

/** A step that reads records by id, and asks the list when one of them is refused. */
function reads(step: string, rest: Omit<WireCall, 'adapter' | 'account' | 'step' | 'route' | 'bodies'>): WireCall[] {
  return [
    { ...common, step, route: read, bodies: () => words.map((word) => record({ linkedJobStatus: word })), ...rest },
    {
      ...common,
      step,
      variant: 'whose record is refused',
      route: list,
      bodies: () => [records(foreign)],
      ...rest,
      others: () => ({ [read]: forbidden }),
      // A list that can be read shows that the key may read: it is the record that is closed.
      says: ({ json }) => step.endsWith('.preflight') && Array.isArray(own(json, 'documents')),
      isHopeless: !step.endsWith('.reconcile'),
    },
  ];
}

const startsRefresh = {
  ...common,
  route: 'POST /v2/documents/public/refresh',
  bodies: () => [[uuid, other]],
  ownIds: [uuid],
};
const startsBulk = {
  ...common,
  route: 'POST /v2/knowledge/public/bulk',
  bodies: () => [bulkBody],
  names: generated,
  ownIds: [`generation:${uuid}`],
  beganDespite: (served: Served) => served.status === 500 && generated(served).length > 0,
};
const findsRun = {
  intent,
  others: () => ({ [list]: { json: records(foreign) } }),
  says: ({ json }: Served) => isSame(own(json, 'id'), uuid) && hasBegun(json),
};

export const finiCalls: WireCall[] = [
  {
    ...common,
    step: 'documents.ingest.submit',
    route: 'POST /v2/documents/public',
    bodies: () => [{ addedDocumentIds: [uuid], updatedDocumentIds: [other] }],
    context: () => ingestIds,
    ownIds: [uuid],
  },
  {
    ...common,
    step: 'documents.ingest.submit',
    variant: 'of pages',
    route: 'POST /v2/documents/public',
    bodies: () => [
      { addedDocumentIds: [uuid], updatedDocumentIds: [] },
      { addedDocumentIds: Array.from({ length: 500 }, (_, n) => `${uuid.slice(0, -3)}${100 + n}`) },
    ],
    context: () => ingestPages,
    names: ({ json }) => [...rows(own(json, 'addedDocumentIds')), ...rows(own(json, 'updatedDocumentIds'))],
    ownIds: [page, otherPage],
  },
  ...reads('documents.ingest.preflight', { context: () => ({ ...ingestIds, snapshot: undefined }) }),
  {
    ...common,
    step: 'documents.ingest.preflight',
    variant: 'of pages',
    route: list,
    bodies: () => [records(record(), foreign)],
    context: () => ({ ...ingestPages, snapshot: undefined }),
  },
  ...reads('documents.ingest.reconcile', { context: () => ingestIds, ...findsRun }),
  {
    ...common,
    step: 'documents.ingest.reconcile',
    variant: 'of pages',
    route: list,
    bodies: () => [records(record(), foreign), records(foreign)],
    context: () => ingestPages,
    intent,
    says: (served) => listed(served).some((row) => own(row, 'originalUrl') === page && hasBegun(row)),
  },
  { ...startsRefresh, step: 'documents.refresh.submit', context: () => refreshIds },
  ...reads('documents.refresh.preflight', { context: () => ({ ...refreshIds, snapshot: undefined }) }),
  ...reads('documents.refresh.reconcile', { context: () => refreshIds, ...findsRun }),
  {
    ...common,
    step: 'knowledge.generate.submit',
    route: 'POST /v2/knowledge/public',
    bodies: () => [{ backgroundJobId: uuid }],
    context: () => ({ input: { origin: 'sources', documentId: other, candidateKnowledge: 'text' } }),
    names: ({ json }) => [own(json, 'backgroundJobId')],
  },
  { ...startsBulk, step: 'knowledge.bulkGenerate.submit', context: () => ({ input: { documentIds: [uuid] } }) },
  ...reads('knowledge.refreshChanged.preflight', { context: () => ({ ...refreshIds, snapshot: undefined }) }),
  { ...startsRefresh, step: 'knowledge.refreshChanged.submit', context: () => refreshIds },
  {
    ...startsBulk,
    step: 'knowledge.refreshChanged.submit',
    variant: 'of the generation',
    context: () => ({ ...refreshIds, ...generation }),
  },
  ...reads('knowledge.refreshChanged.reconcile', { context: () => refreshIds, ...findsRun }),
  {
    ...common,
    step: 'knowledge.refreshChanged.confirm',
    route: list,
    bodies: () => [records(record({ changed: true }), foreign), records(foreign)],
    // The record itself does not tell, so the list decides.
    others: () => ({ [read]: { json: record({ changed: undefined }) } }),
    context: () => ({ ...refreshIds, jobs: [vendorJob(uuid, 'document', { result: { linkedKnowledgeId: other } })] }),
    // Nothing left to do, says a list that can be read and does not name the document.
    says: (served) =>
      Array.isArray(own(served.json, 'documents')) &&
      !listed(served).some((row) => isSame(own(row, 'id'), uuid) && own(row, 'changed') === true),
  },
  {
    ...common,
    step: 'knowledge.refreshChanged.confirm',
    route: read,
    bodies: () => [record({ changed: true }), record()],
    others: () => ({ [list]: { json: records(record({ changed: true })) } }),
    context: () => ({ ...refreshIds, jobs: [vendorJob(uuid, 'document', { result: { linkedKnowledgeId: other } })] }),
    says: ({ json }) => isSame(own(json, 'id'), uuid) && own(json, 'changed') === false,
  },
  ...reads('lookups.document', {
    jobs: [{ id: uuid, extra: { watched: true } }],
    others: () => ({ [list]: { json: records(foreign) } }),
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isDone(json),
  }),
  {
    ...common,
    step: 'lookups.address',
    route: list,
    bodies: () => words.map((word) => records(foreign, record({ linkedJobStatus: word, createdAt: when }))),
    jobs: [{ id: page, extra: { watermark: before, unlistedSince: Date.parse(before) } }],
    says: (served) => listed(served).some((row) => own(row, 'originalUrl') === page && isDone(row)),
  },
  {
    ...common,
    step: 'lookups.address',
    variant: 'once it is found',
    route: read,
    bodies: () => words.map((word) => record({ linkedJobStatus: word, createdAt: when })),
    others: () => ({ [list]: { json: records(foreign) } }),
    jobs: [{ id: page, extra: { watermark: before, unlistedSince: Date.parse(before), documentId: uuid } }],
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isDone(json),
  },
  {
    ...common,
    step: 'lookups.job',
    route: 'POST /v2/knowledge/public/jobs/status',
    bodies: () =>
      words.map((jobStatus) => ({
        jobs: [
          { id: other, jobStatus: 'COMPLETED', hcArticleId: null },
          { id: uuid, jobStatus, createdAt: when, startedAt: when, completedAt: when, hcArticleId: other },
        ],
      })),
    jobs: [{ id: uuid, extra: undefined }],
    says: (served) =>
      jobsOf(served).some((row) => isSame(own(row, 'id'), uuid) && (isCompleted(row) || hasArticle(row))),
  },
];

export const finiErrors = [
  { statusCode: 400, message: 'no', error: 'Bad Request' },
  { statusCode: 400, message: ['one', 'two'], error: 'Bad Request' },
  bulkBody,
];

/** Steps that make no request. */
export const finiSilent = [
  { step: 'watch.submit', context: { input: { documentIds: [uuid] } } },
  { step: 'documents.ingest.confirm', context: { ...ingestPages, jobs: [vendorJob(uuid, 'document')] } },
  { step: 'knowledge.refreshChanged.confirm', context: { ...refreshIds, ...generation } },
];
