import { randomUUID } from 'node:crypto';
import type { BoundFault } from '../faults/definition.ts';
import type { Knowledge, Role, Taxonomy } from './model.ts';

/** What one workspace holds. Any UUID is a workspace, made when it is first named. */
export interface Workspace {
  readonly id: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly roles: Map<string, Role>;
  readonly knowledge: Map<string, Knowledge>;
  readonly taxonomies: Map<string, Taxonomy>;
  /** Knowledge by the id of its upload's metadata. */
  readonly uploads: Map<string, Knowledge>;
}

type Seed<T, K extends keyof T> = Pick<T, K> & { readonly faults: readonly BoundFault[] } & Partial<T>;

/** All workspaces. */
export class Estate {
  readonly #workspaces = new Map<string, Workspace>();

  workspace(id: string): Workspace {
    let workspace = this.#workspaces.get(id);
    if (workspace === undefined) {
      workspace = {
        id,
        name: 'Sandbox workspace',
        createdAtMs: Date.now(),
        roles: new Map(),
        knowledge: new Map(),
        taxonomies: new Map(),
        uploads: new Map(),
      };
      this.#workspaces.set(id, workspace);
    }
    return workspace;
  }

  clear(): void {
    this.#workspaces.clear();
  }
}

export function addRole(workspace: Workspace, fields: Seed<Role, 'name'>): Role {
  const now = Date.now();
  const role: Role = {
    description: null,
    customerRoleId: null,
    metadata: {},
    createdAtMs: now,
    updatedAtMs: now,
    isVisible: true,
    isInUse: false,
    ...fields,
    id: fields.id ?? randomUUID(),
  };
  workspace.roles.set(role.id, role);
  return role;
}

export function addKnowledge(workspace: Workspace, fields: Seed<Knowledge, 'title' | 'type' | 'status'>): Knowledge {
  const now = Date.now();
  const knowledge: Knowledge = {
    description: null,
    language: null,
    metadata: {},
    parentId: null,
    roleIds: new Set(),
    createdAtMs: now,
    updatedAtMs: now,
    processedAtMs: null,
    isDeleted: false,
    file: null,
    ...fields,
    id: fields.id ?? randomUUID(),
  };
  workspace.knowledge.set(knowledge.id, knowledge);
  return knowledge;
}

export function addTaxonomy(workspace: Workspace, fields: Seed<Taxonomy, 'name'>): Taxonomy {
  const now = Date.now();
  const taxonomy: Taxonomy = {
    description: null,
    published: false,
    roleIds: new Set(),
    createdAtMs: now,
    updatedAtMs: now,
    ...fields,
    id: fields.id ?? randomUUID(),
  };
  workspace.taxonomies.set(taxonomy.id, taxonomy);
  return taxonomy;
}

/** Children of an item that still exist. */
export function childrenOf(workspace: Workspace, id: string): Knowledge[] {
  return [...workspace.knowledge.values()].filter((item) => item.parentId === id && !item.isDeleted);
}

/** The texts of each kind of resource that may hold markers. */
export function roleText(role: Pick<Role, 'name' | 'description' | 'customerRoleId'>): string {
  return [role.name, role.description, role.customerRoleId].filter((text) => text !== null).join(' ');
}

export function knowledgeText(item: Pick<Knowledge, 'title' | 'description' | 'file'>): string {
  return [item.title, item.description, item.file?.name].filter((text) => typeof text === 'string').join(' ');
}

export function taxonomyText(taxonomy: Pick<Taxonomy, 'name' | 'description'>): string {
  return [taxonomy.name, taxonomy.description].filter((text) => text !== null).join(' ');
}
