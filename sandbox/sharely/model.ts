import type { BoundFault } from '../faults/definition.ts';
import type { SharelyOperation } from './faults.ts';

export interface Role {
  readonly id: string;
  name: string;
  description: string | null;
  customerRoleId: string | null;
  readonly metadata: Record<string, unknown>;
  readonly createdAtMs: number;
  updatedAtMs: number;
  /** False while only its workflow knows it. */
  isVisible: boolean;
  /** Taxonomies or users hold it: it cannot be deleted. */
  isInUse: boolean;
  readonly faults: readonly BoundFault[];
}

export interface Knowledge {
  readonly id: string;
  readonly title: string;
  readonly description: string | null;
  readonly type: string;
  status: string;
  readonly language: string | null;
  readonly metadata: Record<string, unknown>;
  /** The item that this one is a child of. */
  readonly parentId: string | null;
  readonly roleIds: Set<string>;
  readonly createdAtMs: number;
  updatedAtMs: number;
  processedAtMs: number | null;
  isDeleted: boolean;
  /** What an upload brought. */
  readonly file: { readonly name: string; readonly bytes: number; readonly sha256: string } | null;
  readonly faults: readonly BoundFault[];
}

export interface Taxonomy {
  readonly id: string;
  readonly name: string;
  readonly description: string | null;
  published: boolean;
  readonly roleIds: Set<string>;
  readonly createdAtMs: number;
  updatedAtMs: number;
  readonly faults: readonly BoundFault[];
}

/**
 * One background workflow: RUNNING, then an end. What background-jobs shows of it may differ, if faults say so.
 * What it does to its resource happens at the end, or `readDelayMs` later.
 */
export interface Workflow {
  readonly id: string;
  runId: string;
  readonly operation: SharelyOperation;
  readonly workspaceId: string;
  readonly targetId: string;
  /** Name, title or the like of what it works on. */
  readonly source: string;
  readonly createdAtMs: number;
  /** Null while it runs. */
  endedAs: string | null;
  endedAtMs: number | null;
  faults: readonly BoundFault[];
  lookups: number;
  /** Look-ups that showed it. */
  shown: number;
  readonly effect: WorkflowEffect;
  /** How a fault wants it to end; null: as its other faults say. */
  readonly ending: string | null;
  /** Ids of further workflows of the same create. */
  readonly siblings: readonly string[];
  /** What creates that joined it are to do. */
  readonly joined: WorkflowEffect[];
}

/** What a workflow does to its resource. */
export interface WorkflowEffect {
  /** Does the work, or its first half. */
  readonly apply: (share: 'all' | 'half') => void;
  /** Tidies up when the work will never be done. */
  readonly fail?: () => void;
}
