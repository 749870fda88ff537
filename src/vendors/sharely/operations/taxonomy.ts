import { defineOperation } from '../../define-vendor.ts';
import { readOrGone, type SharelyAccount } from '../account.ts';
import { taxonomyPublishInput, watchInput } from '../input.ts';
import { taxonomy, taxonomyList } from '../wire.ts';
import { confirmGraceMs, graceMs, longPoll, settleOn, start, toJobs, workspaceOf } from './workflows.ts';

const operation = defineOperation<SharelyAccount>();

/**
 * Publishes a taxonomy. The page for this call is in no copy of the documentation: method and path follow the other
 * taxonomy calls.
 * @see docs/vendors/sharely.md
 */
export const taxonomyPublish = operation({
  summary: 'Publishes a taxonomy.',
  input: taxonomyPublishInput,
  // It sets a flag. Publishing once more what was edited meanwhile is what the caller asked for, too.
  resend: 'safe',
  poll: longPoll,
  graceMs,
  confirmGraceMs,

  async submit(context) {
    const { taxonomyId } = context.input;
    const workspaceId = workspaceOf(context);
    const path = `taxonomy/${encodeURIComponent(taxonomyId)}/publish`;
    const reply = await start(context, workspaceId, { method: 'POST', path, json: {} });
    return toJobs(reply, { workspaceId, resourceId: taxonomyId });
  },

  confirm: (context) =>
    settleOn(context, async () => {
      const { taxonomyId } = context.input;
      const details = { taxonomyId };
      // No page tells of a way to read a single one.
      const rows = (await readOrGone(context, workspaceOf(context), 'taxonomy', taxonomyList)) ?? [];
      const found = rows.flatMap((row) => {
        const parsed = taxonomy.safeParse(row);
        return parsed.success && parsed.data.id.toLowerCase() === taxonomyId.toLowerCase() ? [parsed.data] : [];
      })[0];
      if (found === undefined) return { is: 'different', why: `there is no taxonomy ${taxonomyId}`, details };
      if (found.published !== true) return { is: 'different', why: `taxonomy ${taxonomyId} is not published`, details };
      return { is: 'as-asked', result: { taxonomyId, name: found.name ?? null, published: true } };
    }),
});

/** Nothing is known of what these workflows work on, so their status is all there is to go by. */
export const watch = operation({
  summary: 'Watches workflows that were started elsewhere; their status is the outcome.',
  input: watchInput,
  resend: 'safe',
  adopts: true,
  poll: longPoll,
  graceMs,
  async submit(context) {
    const workspaceId = context.input.workspaceId ?? context.account.workspaceId;
    return { jobs: context.input.workflowIds.map((id) => ({ id, kind: 'workflow', extra: { workspaceId } })) };
  },
});
