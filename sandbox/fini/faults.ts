import { commonFaults } from '../faults/common-faults.ts';
import type { FaultDefinition } from '../faults/definition.ts';
import { rowFaults } from '../faults/row-faults.ts';
import { absenceFaults, workFaults } from '../faults/work-faults.ts';

/** Route names of this vendor; faults are armed by them. */
export const finiRoutes = [
  'ingest',
  'refresh',
  'generate',
  'bulk',
  'list',
  'record',
  'status',
  'resources',
  'register',
  'crawl',
  'delete',
] as const;
export type FiniRoute = (typeof finiRoutes)[number];

/** Routes that queue work. */
export const finiCreateRoutes = ['ingest', 'refresh', 'generate', 'bulk'] as const satisfies FiniRoute[];

const vendor = { effect: { kind: 'vendor' } } as const;
const ofAny = { ...vendor, routes: finiCreateRoutes, scope: 'job', markerTimes: 'always' } as const;
const ofIngestion = { ...vendor, routes: ['ingest', 'refresh'], scope: 'job', markerTimes: 'always' } as const;
const ofGeneration = { ...vendor, routes: ['generate', 'bulk'], scope: 'job', markerTimes: 'always' } as const;

function of(first: FiniRoute, ...others: FiniRoute[]) {
  return { ...vendor, routes: [first, ...others], scope: 'request', markerTimes: 1 } as const;
}

const ownFaults: readonly FaultDefinition[] = [
  // How a job goes, ingestion or generation.
  {
    name: 'pending-forever',
    summary: 'The job stays `PENDING` until it is ended by hand.',
    ...ofAny,
  },
  {
    name: 'pending-long',
    summary: 'The job stays `PENDING` this long, then goes on as usual.',
    argument: { meaning: 'ms at speed 1', default: '960000', kind: 'integer' },
    ...ofAny,
  },
  {
    name: 'in-progress-forever',
    summary: 'The job stays `IN_PROGRESS` until it is ended by hand.',
    ...ofAny,
  },
  {
    name: 'goes-back-to-pending',
    summary: 'While the job is `IN_PROGRESS`, every other look-up says `PENDING`.',
    ...ofAny,
  },
  {
    name: 'unknown-job-status',
    summary: 'The job shows this status word instead of `IN_PROGRESS`. With `in-progress-forever` it does so forever.',
    argument: { meaning: 'the word', default: 'PROCESSING', kind: 'word' },
    ...ofAny,
  },
  {
    name: 'status-missing',
    summary: 'Look-ups show the job without any status: null on a record, no field on a status row.',
    ...ofAny,
  },
  // How an ingestion ends.
  {
    name: 'record-fails',
    summary: 'The run ends `FAILED` with this error on the record; a few words stand for the usual sentences.',
    argument: { meaning: 'the error text', default: 'fetch-failed', kind: 'word' },
    ...ofIngestion,
  },
  {
    name: 'completed-without-success',
    summary:
      'The run ends `COMPLETED`, yet the record has `success` false, an `error` text next to `success` true, or both.',
    argument: {
      meaning: 'what is wrong',
      default: 'no-success',
      kind: 'word',
      words: ['no-success', 'error-text', 'both'],
    },
    ...ofIngestion,
  },
  {
    name: 'redirected',
    summary: 'The page redirects: its new record has another address, `/moved` in front of the path.',
    ...vendor,
    routes: ['ingest'],
    scope: 'job',
    markerTimes: 'always',
  },
  {
    name: 'changed-late',
    summary: 'Once the run has ended, the first n reads of the record by id deny `changed`; 0 means forever.',
    argument: { meaning: 'reads', default: '1', kind: 'integer' },
    ...ofIngestion,
  },
  {
    name: 'stale-completed',
    summary: 'After a refresh was accepted the record still shows its former run, this long.',
    argument: { meaning: 'ms at speed 1', default: '5000', kind: 'integer' },
    ...ofIngestion,
  },
  {
    name: 'content-changed',
    summary: 'The run finds new content: a record that is linked to an article has `changed` true after it.',
    ...ofIngestion,
  },
  // How a generation ends, and what the status route says of it.
  {
    name: 'job-fails',
    summary: 'The generation ends with this status word and changes nothing.',
    argument: { meaning: 'the status word', default: 'FAILED', kind: 'word' },
    ...ofGeneration,
  },
  {
    name: 'finished-word',
    summary: 'The generation ends well, with its article, under this word instead of `COMPLETED`.',
    argument: { meaning: 'the status word', default: 'completed', kind: 'word' },
    ...ofGeneration,
  },
  {
    name: 'no-article',
    summary: 'The generation ends `COMPLETED` with `hcArticleId` null: nothing was changed.',
    ...ofGeneration,
  },
  {
    name: 'no-timestamps',
    summary: 'Status rows of the job have no timestamps at all.',
    ...ofGeneration,
  },
  {
    name: 'poison-id',
    summary: 'The status route answers 404 to every request that names this job, though the job exists and works.',
    ...ofGeneration,
  },
  {
    name: 'unreadable-job',
    summary: 'The status route answers 500 to the first n requests that name this job; 0 means forever.',
    argument: { meaning: 'requests', default: '0', kind: 'integer' },
    ...ofGeneration,
  },
  // What answers leave out.
  {
    name: 'fewer-ids',
    summary: 'Everything is queued, but n ids are missing from the reply.',
    argument: { meaning: 'ids', default: '1', kind: 'integer' },
    ...of('ingest', 'refresh'),
  },
  {
    name: 'one-record',
    summary: 'URLs of the request that differ in fragment or trailing slash alone share the record of the first.',
    ...of('ingest'),
  },
  {
    name: 'bulk-half-queued',
    summary: 'Half of the jobs are queued, then the request ends with 500, with or without their ids in the body.',
    argument: { meaning: 'the body', default: 'without-ids', kind: 'word', words: ['without-ids', 'with-ids'] },
    ...of('bulk'),
  },
  {
    name: 'list-shifts',
    summary:
      'While a page is read, its last record (`repeat`), the first of the next page (`skip`) or both move to the front.',
    argument: { meaning: 'what moves', default: 'both', kind: 'word', words: ['repeat', 'skip', 'both'] },
    ...of('list'),
  },
];

export const finiFaults: readonly FaultDefinition[] = [
  ...commonFaults,
  ...workFaults(finiCreateRoutes),
  ...absenceFaults(finiCreateRoutes),
  ...ownFaults,
  ...rowFaults(['status', 'list', 'bulk'] satisfies [FiniRoute, ...FiniRoute[]]),
];
