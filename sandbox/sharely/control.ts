import { z } from 'zod';
import { json } from '../http/reply.ts';
import type { VendorControl } from '../vendor-double.ts';
import { VendorSettingError } from '../vendor-settings.ts';
import { addKnowledge, addRole, addTaxonomy, knowledgeText, roleText, taxonomyText } from './estate.ts';
import { sharelyCreateRoutes } from './faults.ts';
import { shownStatus } from './background-jobs.ts';
import { shownKnowledge } from './knowledge.ts';
import type { Workflow } from './model.ts';
import type { SharelyParts } from './parts.ts';
import { shownRole } from './roles.ts';
import { shownTaxonomy } from './taxonomies.ts';

const workspaceId = z.guid();
const count = z.number().int().min(1).max(10_000).default(1);
const text = z.string().min(1);

const newRoles = z.strictObject({
  workspaceId,
  count,
  name: text.default('Seeded role'),
  description: z.string().nullable().default(null),
  customerRoleId: z.string().nullable().default(null),
  isInUse: z.boolean().default(false),
});

const newKnowledge = z.strictObject({
  workspaceId,
  count,
  title: text.default('Seeded knowledge'),
  description: z.string().nullable().default(null),
  type: z.string().default('TEXT'),
  status: z.string().optional(),
  parentId: z.string().nullable().default(null),
  roleIds: z.array(z.string()).default([]),
  /** Children that each item gets. */
  children: z.number().int().min(0).max(1_000).default(0),
});

const newTaxonomies = z.strictObject({
  workspaceId,
  count,
  name: text.default('Seeded taxonomy'),
  description: z.string().nullable().default(null),
  published: z.boolean().default(false),
  roleIds: z.array(z.string()).default([]),
});

const newWorkflows = z.strictObject({
  workspaceId,
  count,
  operation: z.enum(sharelyCreateRoutes).default('roles-assign'),
  source: z.string().default('Workflow that was started elsewhere'),
});

const workflowChange = z.strictObject({
  /** Ends it with this status. COMPLETED does its work. */
  status: text.optional(),
  /** Forgets it: background-jobs never shows it again. */
  isForgotten: z.boolean().optional(),
  runId: text.optional(),
});

const newToken = z.strictObject({
  workspaceId,
  seconds: z.number().min(0.05).optional(),
  roleId: z.string().nullable().default(null),
  apiKey: z.string().default('sk-sharely-control'),
});

/** Control routes of Sharely alone: things that are simply there, as if another client had made them. */
export function sharelyControls(parts: SharelyParts): Record<string, VendorControl> {
  const { estate, workflows, tokens, marks, settings } = parts;
  const times = <T>(number: number, make: (index: number) => T): T[] =>
    Array.from({ length: number }, (_none, index) => make(index));
  const numbered = (name: string, index: number, of: number) => (of === 1 ? name : `${name} ${index + 1}`);
  return {
    'POST /_control/sharely/roles': (body) => {
      const { workspaceId, count, ...fields } = newRoles.parse(body);
      const workspace = estate.workspace(workspaceId);
      const roles = times(count, (index) => {
        const { customerRoleId } = fields;
        const named = {
          ...fields,
          name: numbered(fields.name, index, count),
          customerRoleId: customerRoleId === null || count === 1 ? customerRoleId : `${customerRoleId}-${index + 1}`,
        };
        return addRole(workspace, { ...named, faults: marks.forLater(roleText(named)) });
      });
      return json(201, { roles: roles.map(shownRole) });
    },
    'POST /_control/sharely/knowledge': (body) => {
      const asked = newKnowledge.parse(body);
      const workspace = estate.workspace(asked.workspaceId);
      const status = asked.status ?? settings().knowledgeStatus.done;
      const seed = (title: string, parentId: string | null) =>
        addKnowledge(workspace, {
          title,
          description: asked.description,
          type: asked.type,
          status,
          parentId,
          roleIds: new Set(asked.roleIds),
          processedAtMs: status === settings().knowledgeStatus.done ? Date.now() : null,
          faults: marks.forLater(knowledgeText({ title, description: asked.description, file: null })),
        });
      const items = times(asked.count, (index) => {
        const item = seed(numbered(asked.title, index, asked.count), asked.parentId);
        const children = times(asked.children, (n) => seed(`Child ${n + 1}`, item.id));
        return { ...shownKnowledge(workspace, item), childIds: children.map((child) => child.id) };
      });
      return json(201, { knowledge: items });
    },
    'GET /_control/sharely/knowledge/:id': (_body, call, id) => {
      workflows.settle();
      const workspace = estate.workspace(workspaceId.parse(call.query.get('workspaceId')));
      const item = workspace.knowledge.get(id);
      if (item === undefined) throw new VendorSettingError(`no knowledge '${id}' in this workspace`);
      return json(200, { ...shownKnowledge(workspace, item), isDeleted: item.isDeleted, file: item.file });
    },
    'POST /_control/sharely/taxonomies': (body) => {
      const { workspaceId, count, roleIds, ...fields } = newTaxonomies.parse(body);
      const workspace = estate.workspace(workspaceId);
      const taxonomies = times(count, (index) => {
        const named = { ...fields, name: numbered(fields.name, index, count) };
        return addTaxonomy(workspace, {
          ...named,
          roleIds: new Set(roleIds),
          faults: marks.forLater(taxonomyText(named)),
        });
      });
      return json(201, { taxonomies: taxonomies.map(shownTaxonomy) });
    },
    'POST /_control/sharely/workflows': (body) => {
      const { workspaceId, count, operation, source } = newWorkflows.parse(body);
      const own = marks.of(source).filter(({ definition }) => definition.scope === 'job');
      const faults = [...own, ...marks.forLater(source)];
      const effect = { apply: () => undefined };
      const started = times(count, () =>
        workflows.start({ operation, workspaceId, targetId: '', source, faults, effect }),
      );
      return json(201, { workflows: started.map(workflowLine) });
    },
    'POST /_control/sharely/workflows/:id': (body, _call, id) => {
      workflows.settle();
      const workflow = workflows.get(id);
      if (workflow === undefined) throw new VendorSettingError(`no workflow '${id}'`);
      const { status, isForgotten, runId } = workflowChange.parse(body);
      if (runId !== undefined) workflow.runId = runId;
      if (status !== undefined && workflow.endedAs !== null) {
        throw new VendorSettingError(`workflow '${id}' has ended already`);
      }
      if (status !== undefined) workflows.end(workflow, Date.now(), status);
      workflows.settle();
      if (isForgotten === true) workflows.forget(id);
      return json(200, workflowLine(workflow));
    },
    'POST /_control/sharely/tokens': (body) => {
      const { workspaceId, seconds, roleId, apiKey } = newToken.parse(body);
      const { tokenSeconds, tokenExp } = settings();
      return json(201, { token: tokens.issue({ workspaceId, apiKey, roleId }, seconds ?? tokenSeconds, tokenExp) });
    },
    'POST /_control/sharely/tokens/revoke': () => json(200, { revoked: tokens.revoke() }),
  };
}

function workflowLine(workflow: Workflow) {
  const { id, runId, operation, targetId } = workflow;
  return { workflowId: id, runId, operation, targetId, status: shownStatus(workflow) };
}
