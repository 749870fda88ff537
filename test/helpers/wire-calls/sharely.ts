import { sharely } from '../../../src/vendors/sharely/adapter.ts';
import {
  isSame,
  other,
  own,
  rows,
  textOf,
  third,
  uuid,
  vendorJob,
  when,
  type Good,
  type Served,
  type WireCall,
} from './wire-call.ts';

const workspace = '11111111-2222-4333-8444-555555555555';
const root = `/v1/workspaces/${workspace}`;
const ids = { organizationId: third, workspaceId: workspace };
const common = { adapter: sharely, account: { accessToken: 'x.y.z', ...ids } };
const intent = { attempt: 1, at: Date.parse(when), fingerprint: '0' };

const workflowReplies = (rest: object = {}): unknown[] => [
  { workflowId: uuid, ...rest },
  { workflowIds: [uuid, other], ...rest },
  { ...rest, message: 'on its way' },
  [uuid, { workflowId: other }],
];
/** Ids of workflows, wherever an answer may carry them. */
const workflowIds = ({ json }: Served): unknown[] => [
  own(json, 'workflowId'),
  ...rows(own(json, 'workflowIds')),
  ...rows(json),
  ...rows(json).map((row) => own(row, 'workflowId')),
];

const done = (kind: string, extra: object = {}) =>
  vendorJob(uuid, kind, { vendorStatus: 'COMPLETED', extra: { workspaceId: workspace, ...extra } });

interface Change {
  operation: string;
  input: Record<string, unknown>;
  submit: string;
  bodies: unknown[];
  /** The request that reads the resource back, a good answer that says "as asked", and what says so. */
  read: string;
  readBodies: unknown[];
  says: (served: Served) => boolean;
  extra?: object;
  snapshot?: object;
  others?: Record<string, Good>;
  variant?: string;
}

/** A submit and the reading back that decides how it ended. */
function change({ operation, input, submit, bodies, read, readBodies, says, extra, ...rest }: Change): WireCall[] {
  const variant = rest.variant === undefined ? {} : { variant: rest.variant };
  const { snapshot, others } = rest;
  return [
    {
      ...common,
      ...variant,
      step: `${operation}.submit`,
      route: submit.replace(' /', ` ${root}/`),
      bodies: () => bodies,
      context: () => ({ input, ...(snapshot === undefined ? {} : { snapshot: snapshot as never }) }),
      names: (served) => [...workflowIds(served), own(own(served.json, 'role'), 'id')],
      ownIds: [...Object.values(input).map(String), 'role'],
      isEmptyTaken: true,
    },
    {
      ...common,
      ...variant,
      step: `${operation}.confirm`,
      route: read.replace(' /', ` ${root}/`),
      bodies: () => readBodies,
      ...(others === undefined ? {} : { others: () => others }),
      context: () => ({ input, jobs: [done('workflow', extra)] }),
      says,
    },
  ];
}

const role = {
  id: uuid,
  name: 'Reader',
  description: 'reads',
  customerRoleId: 'reader',
  createdAt: when,
  updatedAt: when,
};
const values = { name: 'Reader', description: 'reads', customerRoleId: 'reader' };
const isRole = (row: unknown): boolean =>
  Object.entries(values).every(([field, value]) => textOf(own(row, field)).trim() === value);
const isGone = ({ status }: Served): boolean => status === 404;
const assigned = ({ json }: Served): unknown[] => rows(Array.isArray(json) ? json : own(json, 'roles'));
const isRoleList = ({ json }: Served): boolean => Array.isArray(json) || Array.isArray(own(json, 'roles'));
const isAssigned = (served: Served): boolean => assigned(served).some((row) => isSame(own(row, 'id'), other));

const roles: WireCall[] = [
  ...change({
    operation: 'role.create',
    input: values,
    submit: 'POST /role',
    bodies: workflowReplies({ role }),
    read: 'GET /role/*',
    readBodies: [role],
    extra: { roleId: uuid },
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isRole(json),
  }),
  {
    ...common,
    step: 'role.create.confirm',
    variant: 'by the id of the caller',
    route: `GET ${root}/role/by-customer-role-id/*`,
    bodies: () => [role],
    context: () => ({ input: values, jobs: [done('workflow')] }),
    says: ({ json }) => isRole(json),
  },
  {
    ...common,
    step: 'role.create.confirm',
    variant: 'by its name',
    route: `GET ${root}/role`,
    bodies: () => [{ roles: [{ ...role, name: 'Writer' }, role], total: 2 }, [role]],
    context: () => ({ input: { name: 'Reader' }, jobs: [done('workflow')] }),
    says: ({ json }) =>
      rows(Array.isArray(json) ? json : own(json, 'roles')).some((row) => textOf(own(row, 'name')).trim() === 'Reader'),
  },
  {
    ...common,
    step: 'role.create.reconcile',
    route: `GET ${root}/role/by-customer-role-id/*`,
    bodies: () => [role],
    context: () => ({ input: values }),
    intent,
    says: ({ json }) => isRole(json),
  },
  ...change({
    operation: 'role.update',
    input: { roleId: uuid, ...values },
    submit: 'PUT /role/*',
    bodies: workflowReplies({ role }),
    read: 'GET /role/*',
    readBodies: [role],
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isRole(json),
  }),
  ...change({
    operation: 'role.upsert',
    input: values,
    submit: 'POST /role/upsert',
    bodies: workflowReplies({ role, created: true }),
    read: 'GET /role/by-customer-role-id/*',
    readBodies: [role],
    says: ({ json }) => isRole(json),
  }),
  ...change({
    operation: 'role.delete',
    input: { roleId: uuid },
    submit: 'DELETE /role/*',
    bodies: workflowReplies({ message: 'deleted' }),
    read: 'GET /role/*',
    readBodies: [role],
    says: isGone,
  }),
];

const item = {
  id: uuid,
  title: 'a.md',
  description: '[jobferry:mark] text',
  type: 'FILE',
  status: 'PROCESSED',
  createdAt: when,
  children: [{ id: other }, third],
};
const isProcessed = (row: unknown): boolean =>
  /^(PROCESSED|COMPLETED)$/i.test(textOf(own(row, 'status'))) ||
  /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}/.test(textOf(own(row, 'processedAt')));
const roleChange = { knowledgeId: uuid, roleIds: [other] };
const rolesOfItem = [[{ id: other, name: 'Reader' }], { roles: [{ id: other }] }];
const upload = { input: { file: 'a.md' }, snapshot: { mark: 'jobferry:mark', size: 10 } };
const isMarked = (row: unknown): boolean => textOf(own(row, 'description')).includes('[jobferry:mark]');

const knowledge: WireCall[] = [
  ...change({
    operation: 'knowledge.assignRoles',
    input: roleChange,
    submit: 'POST /knowledge/*/role',
    bodies: workflowReplies(),
    read: 'GET /knowledge/*/role',
    readBodies: rolesOfItem,
    says: isAssigned,
  }),
  ...change({
    operation: 'knowledge.unassignRoles',
    input: roleChange,
    submit: 'DELETE /knowledge/*/role',
    bodies: workflowReplies(),
    read: 'GET /knowledge/*/role',
    readBodies: [[{ id: third }], ...rolesOfItem],
    says: (served) => isRoleList(served) && !isAssigned(served),
  }),
  ...(['knowledge.assignRoles', 'knowledge.unassignRoles'] as const).map((operation): WireCall => ({
    ...common,
    step: `${operation}.reconcile`,
    route: `GET ${root}/knowledge/*/role`,
    bodies: () => [[{ id: third }], ...rolesOfItem],
    context: () => ({ input: roleChange }),
    intent,
    says: (served) => isRoleList(served) && isAssigned(served) === (operation === 'knowledge.assignRoles'),
  })),
  ...change({
    operation: 'knowledge.delete',
    input: { knowledgeId: uuid },
    submit: 'DELETE /knowledge/*',
    bodies: workflowReplies(),
    read: 'GET /knowledge/*',
    readBodies: [item],
    says: isGone,
  }),
  ...change({
    operation: 'knowledge.delete',
    variant: 'with children',
    input: { knowledgeId: uuid, cascade: true },
    snapshot: { children: [other] },
    submit: 'DELETE /knowledge/*/children',
    bodies: workflowReplies(),
    read: 'GET /knowledge/*',
    readBodies: [item],
    extra: { children: [other] },
    says: isGone,
  }),
  {
    ...common,
    step: 'knowledge.delete.preflight',
    route: `GET ${root}/knowledge/*`,
    bodies: () => [item],
    context: () => ({ input: { knowledgeId: uuid, cascade: true } }),
  },
  {
    ...common,
    step: 'knowledge.upload.submit',
    route: `POST ${root}/knowledge/file`,
    status: 201,
    bodies: () => [
      { ...item, knowledgeId: uuid },
      { id: uuid, status: 'PROCESSING' },
      ...workflowReplies({ id: uuid }),
    ],
    context: () => upload,
    names: (served) => [...workflowIds(served), own(served.json, 'knowledgeId'), own(served.json, 'id')],
    says: ({ json }) => isProcessed(json),
  },
  {
    ...common,
    step: 'knowledge.upload.reconcile',
    route: `GET ${root}/knowledge`,
    bodies: () => [
      { knowledge: [{ ...item, id: third, description: 'foreign' }, item], total: 2 },
      { knowledge: [{ ...item, id: third, description: 'foreign' }], total: 1 },
    ],
    others: () => ({ [`GET ${root}/knowledge/*`]: { json: { ...item, description: 'foreign' } } }),
    context: () => upload,
    intent,
    says: ({ json }) => rows(own(json, 'knowledge')).some(isMarked),
  },
  {
    ...common,
    step: 'knowledge.upload.reconcile',
    variant: 'item by item',
    route: `GET ${root}/knowledge/*`,
    bodies: () => [item, { ...item, description: 'foreign' }],
    others: () => ({ [`GET ${root}/knowledge`]: { json: { knowledge: [{ ...item, description: null }], total: 1 } } }),
    context: () => upload,
    intent,
    says: ({ json }) => isMarked(json),
  },
  {
    ...common,
    step: 'knowledge.upload.confirm',
    route: `GET ${root}/knowledge/*`,
    bodies: () => ['PROCESSED', 'PROCESSING', 'FAILED'].map((status) => ({ ...item, status, processedAt: undefined })),
    context: () => ({ ...upload, jobs: [done('workflow', { knowledgeId: uuid })] }),
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isProcessed(json),
  },
];

const statusNames = ['', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'TERMINATED', 'CONTINUED_AS_NEW', 'TIMED_OUT'];
const workflowRows = [1, 2, 3, 4, 5, 6, 7].map((code) => [
  { workflowId: other, status: { code: 2, name: 'COMPLETED' }, runId: other },
  { workflowId: uuid, status: { code, name: statusNames[code] }, runId: other },
]);
const taxonomy = { id: uuid, name: 'Tree', published: true };

export const sharelyCalls: WireCall[] = [
  ...roles,
  ...knowledge,
  ...change({
    operation: 'taxonomy.publish',
    input: { taxonomyId: uuid },
    submit: 'POST /taxonomy/*/publish',
    bodies: workflowReplies(),
    read: 'GET /taxonomy',
    readBodies: [[{ ...taxonomy, id: third }, taxonomy], { taxonomies: [taxonomy] }],
    says: ({ json }) =>
      rows(Array.isArray(json) ? json : own(json, 'taxonomies')).some(
        (row) => isSame(own(row, 'id'), uuid) && own(row, 'published') === true,
      ),
  }),
  {
    ...common,
    step: 'lookups.workflow',
    route: `POST ${root}/background-jobs`,
    bodies: () => workflowRows,
    jobs: [{ id: uuid, extra: undefined }],
    says: ({ json }) =>
      rows(json).some((row) => own(row, 'workflowId') === uuid && isSame(own(own(row, 'status'), 'name'), 'COMPLETED')),
  },
  {
    ...common,
    step: 'lookups.workflow',
    variant: 'of a workspace that is closed',
    route: `GET ${root}`,
    bodies: () => [{ id: workspace, name: 'ours' }],
    others: () => ({ [`POST /v1/workspaces/${third}/background-jobs`]: { status: 403, json: { error: 'no' } } }),
    jobs: [{ id: uuid, extra: { workspaceId: third } }],
    isHopeless: true,
  },
  {
    ...common,
    step: 'lookups.knowledge',
    route: `GET ${root}/knowledge/*`,
    bodies: () => ['PROCESSED', 'PROCESSING', 'COMPLETED', 'ERROR', 'QUEUED'].map((status) => ({ ...item, status })),
    jobs: [{ id: uuid, extra: undefined }],
    says: ({ json }) => isSame(own(json, 'id'), uuid) && isProcessed(json),
  },
  {
    ...common,
    account: { apiKey: 'sk-sharely-x', ...ids },
    step: 'http.credential',
    route: `POST /workspaces/${workspace}/generate-access-key-token`,
    bodies: () =>
      ['x.y.z', `x.${Buffer.from('{"exp":4102444800}').toString('base64url')}.z`].map((token) => ({ token })),
    others: () => ({ [`PUT ${root}/role/*`]: { json: { workflowId: uuid, role } } }),
    context: () => ({ input: { roleId: uuid, ...values } }),
    names: () => [uuid],
  },
];

export const sharelyErrors = [
  { error: 'no', errorId: third },
  { error: 'Bad Request', message: 'no', details: { field: 'name' } },
];

/** Steps that make no request. */
export const sharelySilent = [
  { step: 'watch.submit', context: { input: { workflowIds: [uuid] } } },
  { step: 'knowledge.upload.preflight', context: { input: { file: 'a.md' } } },
];
