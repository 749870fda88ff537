import { commonFaults } from '../faults/common-faults.ts';
import type { FaultDefinition } from '../faults/definition.ts';
import { rowFaults } from '../faults/row-faults.ts';
import { workFaults } from '../faults/work-faults.ts';

/** Routes that start a workflow. */
export const sharelyCreateRoutes = [
  'role-create',
  'role-update',
  'role-upsert',
  'role-delete',
  'roles-assign',
  'roles-unassign',
  'knowledge-delete',
  'children-delete',
  'knowledge-upload',
  'knowledge-create',
  'taxonomy-publish',
] as const;
export type SharelyOperation = (typeof sharelyCreateRoutes)[number];

/** Route names of this vendor; faults are armed by them. */
export const sharelyRoutes = [
  ...sharelyCreateRoutes,
  'background-jobs',
  'token',
  'role-get',
  'role-by-customer',
  'role-list',
  'knowledge-list',
  'knowledge-get',
  'roles-of-knowledge',
  'upload-metadata',
  'taxonomy-list',
  'taxonomy-create',
  'taxonomy-roles',
  'workspace-get',
  'rbac-status',
] as const;
export type SharelyRoute = (typeof sharelyRoutes)[number];

const vendor = { effect: { kind: 'vendor' } } as const;
const ofWorkflow = { ...vendor, routes: sharelyCreateRoutes, scope: 'job', markerTimes: 'always' } as const;
const ofKnowledge = {
  ...vendor,
  routes: ['knowledge-upload', 'knowledge-create'],
  scope: 'job',
  markerTimes: 'always',
} as const;

const ownFaults: readonly FaultDefinition[] = [
  // Whether background-jobs knows the workflow.
  {
    name: 'visible-late',
    summary: 'background-jobs leaves the workflow out of the first n answers to requests that name it.',
    argument: { meaning: 'look-ups', default: '2', kind: 'integer' },
    ...ofWorkflow,
  },
  {
    name: 'vanish',
    summary: 'background-jobs never shows the workflow; what it was to do happens all the same, or does not.',
    argument: {
      meaning: 'what happens',
      default: 'with-effect',
      kind: 'word',
      words: ['with-effect', 'without-effect'],
    },
    ...ofWorkflow,
  },
  {
    name: 'vanish-after',
    summary: 'background-jobs forgets the workflow after its first n look-ups; what it was to do happens all the same.',
    argument: { meaning: 'look-ups', default: '2', kind: 'integer' },
    ...ofWorkflow,
  },
  // How it goes.
  {
    name: 'workflow-ends-as',
    summary: 'The workflow ends with this status and has changed nothing.',
    argument: {
      meaning: 'the status',
      default: 'FAILED',
      kind: 'word',
      words: ['FAILED', 'CANCELLED', 'CANCELED', 'TERMINATED', 'TIMED_OUT'],
    },
    ...ofWorkflow,
  },
  {
    name: 'workflow-ends-half-way',
    summary:
      'The workflow ends with this status when half of its work is done: half of the children, half of the roles.',
    argument: {
      meaning: 'the status',
      default: 'TIMED_OUT',
      kind: 'word',
      words: ['FAILED', 'CANCELLED', 'CANCELED', 'TERMINATED', 'TIMED_OUT'],
    },
    ...ofWorkflow,
  },
  {
    name: 'workflow-stays-as',
    summary: 'The workflow shows this status forever, until it is ended by hand.',
    argument: { meaning: 'the status', default: 'RUNNING', kind: 'word' },
    ...ofWorkflow,
  },
  {
    name: 'workflow-runs-as',
    summary: 'The workflow shows this status instead of `RUNNING`, then ends as usual.',
    argument: { meaning: 'the status', default: 'PAUSED', kind: 'word' },
    ...ofWorkflow,
  },
  {
    name: 'continued-as-new',
    summary: 'The first n look-ups say `CONTINUED_AS_NEW`, each time of another run.',
    argument: { meaning: 'look-ups', default: '1', kind: 'integer' },
    ...ofWorkflow,
  },
  {
    name: 'code-mismatch',
    summary: 'The status has this code, whatever its name.',
    argument: { meaning: 'the code', default: '3', kind: 'integer' },
    ...ofWorkflow,
  },
  {
    name: 'status-only',
    summary: 'background-jobs shows the code of the status and no name, or the name and no code.',
    argument: { meaning: 'what it shows', default: 'code', kind: 'word', words: ['code', 'name'] },
    ...ofWorkflow,
  },
  {
    name: 'several-workflows',
    summary:
      'The create starts as many workflows as the argument has statuses, and each ends with its own; the work is that of the first.',
    argument: { meaning: 'statuses, `-` between them', default: 'COMPLETED-FAILED', kind: 'word' },
    ...ofWorkflow,
  },
  {
    name: 'joins-workflow',
    summary:
      'The create starts no workflow where one of its route runs in the workspace: it names that one, which does the work of both.',
    ...ofWorkflow,
  },
  {
    name: 'completed-without-effect',
    summary: 'The workflow says `COMPLETED`, but the resource shows nothing of it for n seconds more; 0 means forever.',
    argument: { meaning: 'seconds', default: '0', kind: 'integer' },
    ...ofWorkflow,
  },
  // What the answers hold.
  {
    name: 'reply-ids',
    summary: 'The answer to the create names its workflow in this way, whatever the settings say.',
    argument: {
      meaning: 'the field',
      default: 'none',
      kind: 'word',
      words: ['workflowId', 'workflowIds', 'none'],
    },
    ...ofWorkflow,
  },
  {
    name: 'knowledge-runs-as',
    summary: 'The knowledge shows this status while it is processed.',
    argument: { meaning: 'the status', default: 'QUEUED', kind: 'word' },
    ...ofKnowledge,
  },
  {
    name: 'knowledge-ends-as',
    summary: 'The knowledge shows this status when it has been processed.',
    argument: { meaning: 'the status', default: 'PROCESSED', kind: 'word' },
    ...ofKnowledge,
  },
  {
    name: 'old-reply-shape',
    summary: 'background-jobs answers in its old shape: an object with `jobs`, status words, no `runId`.',
    ...vendor,
    routes: ['background-jobs'],
    scope: 'request',
    markerTimes: 1,
  },
  // Tokens and uploads.
  {
    name: 'tokens-revoked',
    summary: 'Every token given out so far is dead from this request on: 401, also here.',
    ...vendor,
    routes: 'any',
    scope: 'request',
    markerTimes: 1,
  },
  {
    name: 'rbac-refused',
    summary: '401: the token has no role, and RBAC wants one.',
    ...vendor,
    routes: 'any',
    scope: 'request',
    markerTimes: 'always',
  },
  {
    name: 'upload-cut',
    summary: 'The connection is reset when this many bytes of the upload have come; nothing is stored.',
    argument: { meaning: 'bytes', default: '1000', kind: 'integer' },
    ...vendor,
    routes: ['knowledge-upload'],
    scope: 'request',
    markerTimes: 1,
  },
];

export const sharelyFaults: readonly FaultDefinition[] = [
  ...commonFaults,
  ...workFaults(sharelyCreateRoutes),
  ...ownFaults,
  ...rowFaults(['background-jobs']),
];
