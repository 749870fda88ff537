import { VendorRejectedError } from '../../../core/errors.ts';
import type { JsonObject } from '../../../core/json.ts';
import type { ReconcileReply, SubmitReply } from '../../../ports/vendor-adapter.ts';
import { defineOperation } from '../../define-vendor.ts';
import { readById, readOrGone, type Context, type SharelyAccount } from '../account.ts';
import { knowledgeDeleteInput, knowledgeRolesInput, type KnowledgeRolesInput } from '../input.ts';
import { id, knowledge, knowledgeRoles, type WireKnowledge } from '../wire.ts';
import {
  confirmGraceMs,
  factOf,
  graceMs,
  longPoll,
  settleOn,
  shortPoll,
  standIn,
  start,
  startDelete,
  toJobs,
  workspaceOf,
  type Reading,
} from './workflows.ts';

/** Knowledge items: their roles, and their end. @see docs/vendors/sharely.md */

const operation = defineOperation<SharelyAccount>();
/** Children that are looked after once a cascade is over: a sample shows what went half-way. */
const maxChildren = 5;

type RolesContext = Context<KnowledgeRolesInput>;

/** Assigning and unassigning are one request with two methods, and one question read two ways. */
function changeRoles(method: 'POST' | 'DELETE', summary: string) {
  const isWanted = method === 'POST';
  return operation({
    summary,
    input: knowledgeRolesInput,
    // Sets that are added to and taken from may be repeated, but a repeat beside a running workflow is not documented.
    resend: 'lookup',
    poll: shortPoll,
    graceMs,
    confirmGraceMs,
    async submit(context): Promise<SubmitReply> {
      const { knowledgeId, roleIds } = context.input;
      const workspaceId = workspaceOf(context);
      const path = `knowledge/${encodeURIComponent(knowledgeId)}/role`;
      const reply = await start(context, workspaceId, { method, path, json: { roleIds } });
      return toJobs(reply, { workspaceId, resourceId: knowledgeId });
    },
    async reconcile(context): Promise<ReconcileReply> {
      const reading = await readRoles(context, isWanted);
      if (reading.is !== 'as-asked') return { found: 'absent' };
      const { knowledgeId } = context.input;
      return { found: standIn('FOUND', { workspaceId: workspaceOf(context), resourceId: knowledgeId }) };
    },
    confirm: (context) => settleOn(context, () => readRoles(context, isWanted)),
  });
}

export const knowledgeAssignRoles = changeRoles('POST', 'Gives roles access to a knowledge item.');
export const knowledgeUnassignRoles = changeRoles('DELETE', 'Takes access to a knowledge item from roles.');

async function readRoles(context: RolesContext, isWanted: boolean): Promise<Reading> {
  const { knowledgeId, roleIds } = context.input;
  const path = `knowledge/${encodeURIComponent(knowledgeId)}/role`;
  const rows = await readOrGone(context, workspaceOf(context), path, knowledgeRoles);
  if (rows === undefined) {
    return { is: 'different', why: `knowledge item ${knowledgeId} does not exist`, details: { knowledgeId } };
  }
  const present = new Set(rows.map((row) => row.id.toLowerCase()));
  const wrong = roleIds.filter((roleId) => present.has(roleId.toLowerCase()) !== isWanted);
  if (wrong.length === 0) return { is: 'as-asked', result: { knowledgeId, roleIds: rows.map((row) => row.id) } };
  const state = isWanted ? 'not assigned' : 'still assigned';
  const why = `${wrong.length} of ${roleIds.length} roles are ${state} to ${knowledgeId}`;
  return { is: 'different', why, details: { knowledgeId, roleIds: wrong } };
}

export const knowledgeDelete = operation({
  summary: 'Deletes a knowledge item; with `cascade`, its children too.',
  input: knowledgeDeleteInput,
  resend: 'safe',
  poll: longPoll,
  graceMs,
  confirmGraceMs,

  /** Once the parent is gone, nobody can say any more which children it had. */
  async preflight(context) {
    if (!context.input.cascade) return undefined;
    const { knowledgeId } = context.input;
    const item = await readById(context, workspaceOf(context), 'knowledge', knowledgeId, knowledge);
    if (item === undefined) {
      throw new VendorRejectedError(`there is no knowledge item ${knowledgeId}`, { httpStatus: 404 });
    }
    return { children: childrenOf(item) };
  },

  async submit(context) {
    const { knowledgeId, cascade } = context.input;
    const workspaceId = workspaceOf(context);
    const path = `knowledge/${encodeURIComponent(knowledgeId)}${cascade ? '/children' : ''}`;
    const reply = await startDelete(context, workspaceId, path);
    return toJobs(reply, { workspaceId, resourceId: knowledgeId, facts: (context.snapshot ?? {}) as JsonObject });
  },

  confirm: (context) =>
    settleOn(context, async () => {
      const { knowledgeId } = context.input;
      const children = factOf(context, 'children');
      const ids = [knowledgeId, ...(Array.isArray(children) ? children.map(String) : [])];
      for (const one of ids) {
        if ((await readById(context, workspaceOf(context), 'knowledge', one, knowledge)) === undefined) continue;
        const why = `${one === knowledgeId ? 'knowledge item' : 'its child'} ${one} still exists`;
        return { is: 'different', why, details: { knowledgeId: one } };
      }
      return { is: 'as-asked', result: { knowledgeId, deleted: true, childrenChecked: ids.length - 1 } };
    }),
});

function childrenOf(item: WireKnowledge): string[] {
  const ids = (item.children ?? []).flatMap((child) => {
    const value = typeof child === 'object' && child !== null ? (child as { id?: unknown }).id : child;
    const parsed = id.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
  return ids.slice(0, maxChildren);
}
