import { z } from 'zod';
import { readChange } from '../vendor-settings.ts';
import { sharelyCreateRoutes, type SharelyOperation } from './faults.ts';

const operation = z.enum(sharelyCreateRoutes);
const ids = z.enum(['workflowId', 'workflowIds', 'none']);
const success = z.union([z.literal(200), z.literal(201), z.literal(202), z.literal(204)]);

const schema = z.strictObject({
  /** Life of a token, seconds. */
  tokenSeconds: z.number().min(0.05).max(31_536_000),
  /** What the JWT says of its end: the truth, nothing, or something that is not a number. */
  tokenExp: z.enum(['present', 'absent', 'unreadable']),
  /** True: a raw API key is taken in place of a token, as one page of the vendor says. */
  acceptsRawKey: z.boolean(),
  /** The only organization that is taken. Null: any UUID. */
  organizationId: z.guid().nullable(),
  rbacStatus: z.enum(['ACTIVE', 'INACTIVE']),
  /** True: with RBAC active, tokens without a role are refused with 401. */
  rbacRefusesRoleless: z.boolean(),
  /** Error bodies below /v1: `{error, errorId}` or `{error, message}`. */
  errorShape: z.enum(['new', 'old']),
  /** Where the answer to a create names its workflow, by route. */
  replyIds: z.partialRecord(operation, ids),
  /** Status of that answer, by route. An upsert that updates says 200 always. */
  replyStatus: z.partialRecord(operation, success),
  /** Length of a workflow in work ms, by route. */
  workflowMs: z.partialRecord(operation, z.number().min(0)),
  /** When role creates, updates and upserts show: with the answer, or when the workflow has ended. */
  roleEffect: z.enum(['at-once', 'at-end']),
  /** Wall-clock ms from the end of a workflow until reads show what it did. */
  readDelayMs: z.number().min(0).max(3_600_000),
  /** What an empty `jobIds` means. */
  emptyJobIds: z.enum(['all', 'none', 'refuse']),
  /** Most ids of one background-jobs request; more get 400. Null: no limit, none is documented. */
  maxJobIds: z.number().int().min(1).nullable(),
  /** Refusal of a second role with the same `customerRoleId`. */
  duplicateStatus: z.union([z.literal(400), z.literal(409)]),
  /** Refusal of a delete of knowledge that has children. */
  childrenStatus: z.union([z.literal(400), z.literal(409), z.literal(422)]),
  /** Status words of knowledge under way, done and failed. */
  knowledgeStatus: z.strictObject({ running: z.string(), done: z.string(), failed: z.string() }),
  /** What an upload's answer says: both ids alike, `id` of the upload's metadata, or one of them alone. */
  uploadIds: z.enum(['same', 'different', 'only-id', 'only-knowledge-id']),
  maxUploadBytes: z.number().int().min(1),
  /** Requests of one key per minute; more get 429. Null: no limit, no number is documented. */
  requestsPerMinute: z.number().int().min(1).nullable(),
  /** Length of that minute, ms. */
  minuteMs: z.number().int().min(50).max(3_600_000),
  /** Where a 429 tells the wait. */
  throttleHint: z.enum(['header', 'body', 'both', 'none']),
});

type ById<T> = Record<SharelyOperation, T>;

export type SharelySettings = Omit<z.infer<typeof schema>, 'replyIds' | 'replyStatus' | 'workflowMs'> & {
  readonly replyIds: ById<z.infer<typeof ids>>;
  readonly replyStatus: ById<z.infer<typeof success>>;
  readonly workflowMs: ById<number>;
};

export const defaultSharelySettings: SharelySettings = {
  tokenSeconds: 86_400,
  tokenExp: 'present',
  acceptsRawKey: false,
  organizationId: null,
  rbacStatus: 'ACTIVE',
  rbacRefusesRoleless: false,
  errorShape: 'new',
  replyIds: {
    'role-create': 'workflowId',
    'role-update': 'workflowId',
    'role-upsert': 'workflowId',
    'role-delete': 'workflowId',
    'roles-assign': 'workflowIds',
    'roles-unassign': 'workflowIds',
    'knowledge-delete': 'none',
    'children-delete': 'workflowId',
    'knowledge-upload': 'none',
    'knowledge-create': 'none',
    'taxonomy-publish': 'workflowId',
  },
  replyStatus: {
    'role-create': 201,
    'role-update': 200,
    'role-upsert': 201,
    'role-delete': 200,
    'roles-assign': 202,
    'roles-unassign': 202,
    'knowledge-delete': 204,
    'children-delete': 202,
    'knowledge-upload': 201,
    'knowledge-create': 201,
    'taxonomy-publish': 202,
  },
  workflowMs: {
    'role-create': 2_000,
    'role-update': 2_000,
    'role-upsert': 2_000,
    'role-delete': 3_000,
    'roles-assign': 3_000,
    'roles-unassign': 3_000,
    'knowledge-delete': 3_000,
    'children-delete': 8_000,
    'knowledge-upload': 10_000,
    'knowledge-create': 6_000,
    'taxonomy-publish': 6_000,
  },
  roleEffect: 'at-once',
  readDelayMs: 0,
  emptyJobIds: 'all',
  maxJobIds: null,
  duplicateStatus: 409,
  childrenStatus: 409,
  knowledgeStatus: { running: 'PROCESSING', done: 'COMPLETED', failed: 'FAILED' },
  uploadIds: 'same',
  maxUploadBytes: 300 * 1_048_576,
  requestsPerMinute: null,
  minuteMs: 60_000,
  throttleHint: 'header',
};

/**
 * The settings after a change; `replyIds`, `replyStatus` and `workflowMs` are changed route by route.
 * @throws VendorSettingError on an unknown name or value
 */
export function changedSharelySettings(current: SharelySettings, change: Record<string, unknown>): SharelySettings {
  const { replyIds, replyStatus, workflowMs, ...rest } = readChange(schema.partial(), change);
  return {
    ...current,
    ...(Object.fromEntries(
      Object.entries(rest).filter(([, value]) => value !== undefined),
    ) as Partial<SharelySettings>),
    replyIds: { ...current.replyIds, ...replyIds },
    replyStatus: { ...current.replyStatus, ...replyStatus },
    workflowMs: { ...current.workflowMs, ...workflowMs },
  };
}
