import { commonFaults } from '../faults/common-faults.ts';
import type { FaultDefinition } from '../faults/definition.ts';
import { absenceFaults, workFaults } from '../faults/work-faults.ts';

/** Route names of this vendor; faults are armed by them. The first one creates jobs. */
export const knowhereRoutes = ['create', 'lookup', 'list', 'confirm', 'delete', 'upload', 'result'] as const;
export type KnowhereRoute = (typeof knowhereRoutes)[number];
/** Routes of the storage behind the links, which is not part of the API. */
export type StorageRoute = Extract<KnowhereRoute, 'upload' | 'result'>;

const vendor = { effect: { kind: 'vendor' } } as const;
/** Picked up by a create, then part of the job. */
const ofJob = { ...vendor, routes: ['create'], scope: 'job', markerTimes: 'always' } as const;

function of(route: KnowhereRoute) {
  return { ...vendor, routes: [route], scope: 'request', markerTimes: 1 } as const;
}

const ownFaults: readonly FaultDefinition[] = [
  // What an answer looks like.
  {
    name: 'created-as',
    summary: 'The create answers with this status, whatever the dialect has.',
    argument: { meaning: 'the status', default: '201', kind: 'word', words: ['200', '201', '202'] },
    ...of('create'),
  },
  {
    name: 'reset-in-seconds',
    summary:
      '`RateLimit-Reset` and `X-RateLimit-Reset` count seconds from now, as in the IETF draft, and name no moment.',
    ...vendor,
    routes: ['create', 'lookup', 'list', 'confirm', 'delete'],
    scope: 'request',
    markerTimes: 'always',
  },
  // How the job goes.
  {
    name: 'stall',
    summary: 'The job stays in one status and never ends (until the server deadline, four hours by default).',
    argument: {
      meaning: 'the status it stays in',
      default: 'running',
      kind: 'word',
      words: ['waiting-file', 'pending', 'converting', 'running'],
    },
    ...ofJob,
  },
  {
    name: 'fail',
    summary: 'The job runs, then fails with this error code.',
    argument: { meaning: 'the error code', default: 'INTERNAL_ERROR', kind: 'word' },
    ...ofJob,
  },
  {
    name: 'fail-without-error',
    summary: 'The job runs, then fails, and no look-up says why.',
    ...ofJob,
  },
  {
    name: 'fail-with-text',
    summary: 'The job runs, then fails, and its `error` is a plain text.',
    ...ofJob,
  },
  {
    name: 'pages',
    summary: 'The document has this many pages, which sets duration and progress.',
    argument: { meaning: 'pages', default: '100', kind: 'integer' },
    ...ofJob,
  },
  {
    name: 'unknown-status',
    summary: 'The job shows a status word of no schema instead of `running`. With `stall` it does so forever.',
    argument: { meaning: 'the word', default: 'processing', kind: 'word' },
    ...ofJob,
  },
  {
    name: 'status-goes-back',
    summary: 'While the job runs, every other look-up says `pending`.',
    ...ofJob,
  },
  {
    name: 'progress-goes-down',
    summary: 'While the job runs, each look-up shows fewer pages done than the one before.',
    ...ofJob,
  },
  {
    name: 'done-without-result',
    summary: 'The first n look-ups that say `done` bring no result link and no checksum.',
    argument: { meaning: 'look-ups', default: '1', kind: 'integer' },
    ...ofJob,
  },
  {
    name: 'upload-unnoticed',
    summary: 'The upload arrives, but the job goes on only after a confirm-upload call.',
    ...ofJob,
  },
  {
    name: 'upload-link-missing',
    summary: 'The answer to the create brings no upload link. Get Job shows one in DOC, and none in IMPL.',
    ...ofJob,
  },
  // What the job says of its result.
  {
    name: 'wrong-checksum',
    summary: 'The job reports the checksum of other bytes.',
    ...ofJob,
  },
  {
    name: 'no-checksum',
    summary: 'The job reports no checksum at all.',
    ...ofJob,
  },
  {
    name: 'checksum-other-place',
    summary: "The checksum comes in the other dialect's place and form.",
    ...ofJob,
  },
  {
    name: 'checksum-both-places',
    summary: "The checksum comes in both dialects' places.",
    ...ofJob,
  },
  {
    name: 'checksum-upper-case',
    summary: 'The checksum comes in upper-case hex.',
    ...ofJob,
  },
  {
    name: 'result-expires-in',
    summary: 'Every result link of the job lives this many seconds.',
    argument: { meaning: 'seconds', default: '1', kind: 'integer' },
    ...ofJob,
  },
  {
    name: 'result-late',
    summary: 'Storage shows the result only this long after the end of the job, in wall-clock ms; until then 404.',
    argument: { meaning: 'ms', default: '3000', kind: 'integer' },
    ...ofJob,
  },
  {
    name: 'result-zip-slip',
    summary: 'The ZIP holds an entry named `../sandbox-evil.txt`; the checksum is right.',
    ...ofJob,
  },
  // The job list.
  {
    name: 'list-late',
    summary: 'The job shows up in the list only this long after its creation, in wall-clock ms.',
    argument: { meaning: 'ms', default: '5000', kind: 'integer' },
    ...ofJob,
  },
  {
    name: 'list-empty',
    summary: 'The list answers 200 with no jobs, as on a database fault.',
    ...of('list'),
  },
  // Storage.
  {
    name: 'upload-expired',
    summary: 'Storage says that the upload link has expired; that link stays dead.',
    ...of('upload'),
  },
  {
    name: 'upload-signature',
    summary: 'Storage says that the signature does not match.',
    ...of('upload'),
  },
  {
    name: 'upload-cut',
    summary: 'The connection is reset when this many bytes of the upload have come; nothing is stored.',
    argument: { meaning: 'bytes', default: '1000', kind: 'integer' },
    ...of('upload'),
  },
  {
    name: 'confirm-settling',
    summary: 'confirm-upload answers 503 with a wait of 120 s: the state is settling.',
    ...of('confirm'),
  },
  {
    name: 'result-expired',
    summary: 'Storage says 403, the link has expired. That link stays dead; a fresh one works.',
    ...of('result'),
  },
  {
    name: 'result-redirect',
    summary: 'The result link redirects: to the same file elsewhere, to a private address, to itself, to a file URL.',
    argument: {
      meaning: 'where to',
      default: 'elsewhere',
      kind: 'word',
      words: ['elsewhere', 'private', 'loop', 'file'],
    },
    ...of('result'),
  },
  {
    name: 'result-corrupt',
    summary: 'One byte of the ZIP is wrong; its length is right.',
    ...of('result'),
  },
  {
    name: 'result-not-zip',
    summary: 'The link answers 200 with something that is not a ZIP.',
    ...of('result'),
  },
];

export const knowhereFaults: readonly FaultDefinition[] = [
  ...commonFaults,
  ...ownFaults,
  ...workFaults(['create']),
  ...absenceFaults(['create']),
];
