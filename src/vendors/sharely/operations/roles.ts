import type { JsonObject } from '../../../core/json.ts';
import type { Intent } from '../../../core/submission.ts';
import type { ReconcileReply } from '../../../ports/vendor-adapter.ts';
import { defineOperation } from '../../define-vendor.ts';
import { parseTimestamp } from '../../timestamps.ts';
import { readById, readOrGone, type Context, type SharelyAccount } from '../account.ts';
import {
  roleCreateInput,
  roleDeleteInput,
  roleUpdateInput,
  roleUpsertInput,
  type RoleCreateInput,
  type RoleUpdateInput,
  type RoleUpsertInput,
} from '../input.ts';
import { role, roleList, type WireRole } from '../wire.ts';
import {
  confirmGraceMs,
  factOf,
  graceMs,
  settleOn,
  shortPoll,
  standIn,
  start,
  startDelete,
  toJobs,
  workspaceOf,
  type Reading,
} from './workflows.ts';

/** Roles. @see docs/vendors/sharely.md */

const operation = defineOperation<SharelyAccount>();
const common = { poll: shortPoll, graceMs, confirmGraceMs } as const;
/** Clocks differ, and a role that is a little older than its create may still be the one. */
const clockSkewMs = 10 * 60_000;

type RoleValues = Partial<Pick<RoleUpdateInput, 'name' | 'description' | 'customerRoleId'>>;

export const roleCreate = operation({
  ...common,
  summary: 'Creates a role. Set a customerRoleId: without one, an ambiguous create cannot be looked up.',
  input: roleCreateInput,
  resend: ({ customerRoleId }) => (customerRoleId === undefined ? 'none' : 'lookup'),

  async submit(context) {
    const workspaceId = workspaceOf(context);
    const reply = await start(context, workspaceId, { method: 'POST', path: 'role', json: valuesOf(context.input) });
    const { role: created } = reply.body;
    // Under an id of the caller's, another submission may ask for the same: say whose role this is.
    if (created !== undefined && context.input.customerRoleId !== undefined) await context.claim(created.id);
    return toJobs(reply, { workspaceId, resourceId: created?.id ?? 'role', facts: toFacts(created) });
  },

  reconcile: findByCustomerId,

  confirm: (context) =>
    settleOn(context, async () => compare(await readRole(context, context.input), valuesOf(context.input))),
});

export const roleUpdate = operation({
  ...common,
  summary: 'Changes a role: given fields are set, omitted fields stay as they are.',
  input: roleUpdateInput,
  resend: 'safe',

  async submit(context) {
    const workspaceId = workspaceOf(context);
    const { roleId } = context.input;
    const path = `role/${encodeURIComponent(roleId)}`;
    const reply = await start(context, workspaceId, { method: 'PUT', path, json: valuesOf(context.input) });
    return toJobs(reply, { workspaceId, resourceId: roleId, facts: { roleId } });
  },

  confirm: (context) =>
    settleOn(context, async () => compare(await readRole(context, context.input), valuesOf(context.input))),
});

export const roleUpsert = operation({
  ...common,
  summary: 'Creates or changes the role with this customerRoleId; the vendor calls it safe to repeat.',
  input: roleUpsertInput,
  resend: 'safe',

  async submit(context) {
    const workspaceId = workspaceOf(context);
    const reply = await start(context, workspaceId, {
      method: 'POST',
      path: 'role/upsert',
      json: valuesOf(context.input),
    });
    const { role: stored, created } = reply.body;
    const facts = { ...toFacts(stored), ...(created === undefined ? {} : { created }) };
    return toJobs(reply, { workspaceId, resourceId: stored?.id ?? context.input.customerRoleId, facts });
  },

  confirm: (context) =>
    settleOn(context, async () => compare(await readRole(context, context.input), valuesOf(context.input), context)),
});

export const roleDelete = operation({
  ...common,
  summary: 'Deletes a role permanently. The vendor refuses it while taxonomies or users have the role.',
  input: roleDeleteInput,
  resend: 'safe',

  async submit(context) {
    const workspaceId = workspaceOf(context);
    const { roleId } = context.input;
    const reply = await startDelete(context, workspaceId, `role/${encodeURIComponent(roleId)}`);
    return toJobs(reply, { workspaceId, resourceId: roleId });
  },

  confirm: (context) =>
    settleOn(context, async () => {
      const { roleId } = context.input;
      const found = await readById(context, workspaceOf(context), 'role', roleId, role);
      if (found === undefined) return { is: 'as-asked', result: { roleId, deleted: true } };
      return { is: 'different', why: `role ${roleId} still exists`, details: { roleId } };
    }),
});

function valuesOf(input: RoleCreateInput | RoleUpdateInput | RoleUpsertInput): JsonObject {
  const { name, description, customerRoleId } = input;
  return {
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description }),
    ...(customerRoleId === undefined ? {} : { customerRoleId }),
  };
}

function toFacts(found: WireRole | undefined): JsonObject {
  return found === undefined ? {} : { roleId: found.id };
}

/** By its id; by the caller's id where the answer had none; by its name as the last way to tell. */
async function readRole(
  context: Context,
  input: RoleValues & { roleId?: string; workspaceId?: string | undefined },
): Promise<WireRole | undefined> {
  const workspaceId = workspaceOf({ ...context, input });
  const roleId = factOf(context, 'roleId') ?? input.roleId;
  if (typeof roleId === 'string') return readById(context, workspaceId, 'role', roleId, role);
  if (input.customerRoleId !== undefined) return readByCustomerId(context, workspaceId, input.customerRoleId);
  const rows = (await readOrGone(context, workspaceId, 'role', roleList)) ?? [];
  const named = rows.flatMap((row) => {
    const parsed = role.safeParse(row);
    return parsed.success && isSame(input.name, parsed.data.name) ? [parsed.data] : [];
  });
  return named.find((one) => isYoung(one, context.enqueuedAt));
}

async function readByCustomerId(context: Context, workspaceId: string, id: string): Promise<WireRole | undefined> {
  return readOrGone(context, workspaceId, `role/by-customer-role-id/${encodeURIComponent(id)}`, role);
}

function compare(found: WireRole | undefined, asked: RoleValues, context?: Context): Reading {
  if (found === undefined) return { is: 'different', why: 'there is no such role' };
  const fields = (['name', 'description', 'customerRoleId'] as const).filter(
    (field) => !isSame(asked[field], found[field]),
  );
  const shown = {
    id: found.id,
    name: found.name ?? null,
    description: found.description ?? null,
    customerRoleId: found.customerRoleId ?? null,
  };
  if (fields.length > 0) {
    const why = `role ${found.id} has another ${fields.join(' and ')} than asked for`;
    return { is: 'different', why, details: { roleId: found.id, fields } };
  }
  const created = context === undefined ? undefined : factOf(context, 'created');
  return { is: 'as-asked', result: { role: shown, ...(created === undefined ? {} : { created }) } };
}

/** A vendor may trim; what was not asked for may be anything. */
function isSame(asked: string | undefined, found: string | undefined): boolean {
  return asked === undefined || asked.trim() === (found ?? '').trim();
}

/**
 * Looks for the role of a create of unknown fate. One that is older, is different or belongs to another submission is
 * what makes the vendor refuse this create: sending it again costs nothing and brings the vendor's own word for that.
 */
async function findByCustomerId(context: Context<RoleCreateInput>, intent: Intent): Promise<ReconcileReply> {
  const { customerRoleId } = context.input;
  const workspaceId = workspaceOf(context);
  if (customerRoleId === undefined) return { found: 'unknowable', reason: 'the role has no customerRoleId' };
  const found = await readByCustomerId(context, workspaceId, customerRoleId);
  if (found === undefined) return { found: 'absent' };
  const isOurs =
    isYoung(found, intent.at) &&
    compare(found, valuesOf(context.input)).is === 'as-asked' &&
    (await context.claim(found.id));
  if (!isOurs) return { found: 'unusable', reason: `${customerRoleId} belongs to another role, ${found.id}` };
  return { found: standIn('FOUND', { workspaceId, resourceId: found.id, facts: toFacts(found) }) };
}

function isYoung(found: WireRole, since: number): boolean {
  const createdAt = parseTimestamp(found.createdAt);
  return createdAt === undefined || createdAt >= since - clockSkewMs;
}
