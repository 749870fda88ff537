import { createHash, randomUUID } from 'node:crypto';
import { DueQueue } from '../due-queue.ts';
import { traitOf } from '../faults/traits.ts';
import type { WorkClock } from '../work-clock.ts';
import type { Workflow } from './model.ts';
import type { SharelySettings } from './settings.ts';

export type NewWorkflow = Pick<Workflow, 'operation' | 'workspaceId' | 'targetId' | 'source' | 'faults' | 'effect'> &
  Partial<Pick<Workflow, 'ending' | 'siblings'>>;

/**
 * Starts workflows and brings them to their ends. Ends lie in work time, effects that reads see later in wall time;
 * both are carried out by the first request that comes after them, so nothing here sets a timer.
 */
export class Workflows {
  readonly #clock: WorkClock;
  readonly #settings: () => SharelySettings;
  readonly #byId = new Map<string, Workflow>();
  readonly #ends = new DueQueue<Workflow>();
  readonly #effects = new DueQueue<() => void>();

  constructor(clock: WorkClock, settings: () => SharelySettings) {
    this.#clock = clock;
    this.#settings = settings;
  }

  start(fields: NewWorkflow): Workflow {
    const workflow: Workflow = {
      ending: null,
      siblings: [],
      joined: [],
      ...fields,
      id: randomUUID(),
      runId: randomUUID(),
      source: fields.source.slice(0, 300),
      createdAtMs: Date.now(),
      endedAs: null,
      endedAtMs: null,
      lookups: 0,
      shown: 0,
    };
    this.#byId.set(workflow.id, workflow);
    if (traitOf(workflow.faults, 'done-after') === undefined) {
      const usual = this.#settings().workflowMs[workflow.operation] * (0.75 + fraction(workflow.source) * 0.5);
      const lengthMs = Number(traitOf(workflow.faults, 'duration') ?? usual);
      this.#ends.add(this.#clock.workAt(Date.now()) + lengthMs, workflow);
    }
    return workflow;
  }

  /** The newest one like this that has not ended. */
  running({ workspaceId, operation }: Pick<Workflow, 'workspaceId' | 'operation'>): Workflow | undefined {
    return this.newestFirst().find(
      (one) => one.workspaceId === workspaceId && one.operation === operation && one.endedAs === null,
    );
  }

  get(id: string): Workflow | undefined {
    return this.#byId.get(id);
  }

  newestFirst(): Workflow[] {
    return [...this.#byId.values()].reverse();
  }

  /** Carries out everything whose instant has come. Called before anything is read. */
  settle(): void {
    const nowMs = Date.now();
    const workMs = this.#clock.workAt(nowMs);
    for (let due = this.#ends.next(workMs); due !== undefined; due = this.#ends.next(workMs)) {
      const workflow = due.item;
      if (workflow.endedAs !== null || traitOf(workflow.faults, 'workflow-stays-as') !== undefined) continue;
      this.end(workflow, Math.min(nowMs, this.#clock.wallAt(due.at)));
    }
    for (let due = this.#effects.next(nowMs); due !== undefined; due = this.#effects.next(nowMs)) due.item();
  }

  /** Counts one look-up, which may be the one that ends the workflow. */
  look(workflow: Workflow): void {
    workflow.lookups += 1;
    const wanted = traitOf(workflow.faults, 'done-after');
    if (wanted === undefined || workflow.endedAs !== null || workflow.lookups < Number(wanted)) return;
    if (traitOf(workflow.faults, 'workflow-stays-as') === undefined) this.end(workflow, Date.now());
    this.settle();
  }

  /**
   * Ends a workflow. What it does to its resource follows at once, after the read delay, or never.
   * @param forced - an end asked for by a control route; wins over faults
   */
  end(workflow: Workflow, atMs: number, forced?: string): void {
    const { faults } = workflow;
    const effects = [workflow.effect, ...workflow.joined];
    const fail = (): void => effects.forEach((effect) => effect.fail?.());
    const halfWay = traitOf(faults, 'workflow-ends-half-way');
    const ending = forced ?? workflow.ending ?? halfWay ?? traitOf(faults, 'workflow-ends-as') ?? 'COMPLETED';
    workflow.endedAs = ending;
    workflow.endedAtMs = atMs;
    const apply = (share: 'all' | 'half') => {
      for (const effect of effects) effect.apply(share);
      if (share === 'half') fail();
    };
    if (forced === undefined && halfWay !== undefined) this.#applyAt(atMs, () => apply('half'));
    else if (ending !== 'COMPLETED' || isWithheld(workflow)) fail();
    else {
      const seconds = Number(traitOf(faults, 'completed-without-effect') ?? 0);
      this.#applyAt(atMs + seconds * 1_000, () => apply('all'));
    }
  }

  /** Drops a workflow; what it was to do happens all the same. */
  forget(id: string): void {
    this.#byId.delete(id);
  }

  clear(): void {
    this.#byId.clear();
    this.#ends.clear();
    this.#effects.clear();
  }

  #applyAt(atMs: number, act: () => void): void {
    const { readDelayMs } = this.#settings();
    this.#effects.add(atMs + readDelayMs, act);
  }
}

/** True when the work will never be done, though the workflow may end as COMPLETED. */
export function isWithheld({ faults }: Pick<Workflow, 'faults'>): boolean {
  return traitOf(faults, 'completed-without-effect') === '0' || traitOf(faults, 'vanish') === 'without-effect';
}

/** True when a fault keeps the work from showing before the workflow has ended. */
export function isHeldBack({ faults }: Pick<Workflow, 'faults'>): boolean {
  return (
    isWithheld({ faults }) ||
    ['completed-without-effect', 'workflow-ends-as', 'workflow-ends-half-way', 'several-workflows'].some(
      (name) => traitOf(faults, name) !== undefined,
    )
  );
}

/** A number from 0 to 1 that belongs to a text. */
function fraction(text: string): number {
  return createHash('sha1').update(text).digest().readUInt32BE(0) / 4_294_967_296;
}
